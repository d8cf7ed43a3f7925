"""Recorded calls of a model (usage records and runs), for repricing."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.pricing.repricing import RecordedCall, attributes_of, service_tier_of
from webapp.domain.pricing.usage import Usage
from webapp.models import Run, UsageRecord

BATCH_SIZE = 1_000
MAX_CALLS = 100_000  # More calls would take too long for a page. The newest ones are used.


def iterate_calls(session: Session, ref: str, since: datetime, until: datetime) -> Iterator[RecordedCall]:
    """Yield usage records, then runs, each newest first. Only what was sent has a cost: cached responses and refused runs are left out."""
    record = UsageRecord
    reported = select(
        record.project, record.at, record.usage, record.service_tier, record.cost, record.currency, record.cost_total, record.complete
    )
    reported = reported.where(record.model_ref == ref, record.at >= since, record.at < until).order_by(record.id.desc()).limit(MAX_CALLS)
    for project, at, usage, tier, cost, currency, total, complete in session.execute(reported.execution_options(yield_per=BATCH_SIZE)):
        yield RecordedCall(project or "", at, Usage.of(usage), tier, attributes_of(cost), currency, total if complete else None)
    runs = select(Run.project, Run.created_at, Run.usage, Run.cost, Run.currency, Run.cost_total)
    runs = runs.where(Run.model_ref == ref, Run.created_at >= since, Run.created_at < until, Run.sent)
    for project, at, usage, cost, currency, total in session.execute(runs.order_by(Run.id.desc()).limit(MAX_CALLS)):
        known = total if cost and cost.get("complete") else None
        call_usage = Usage.of(usage) if usage else None
        yield RecordedCall(project or "", at, call_usage, service_tier_of(cost), attributes_of(cost), currency, known)
