"""Recorded calls of a model, reported ones and runs, for asking what they would have cost."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.pricing.repricing import RecordedCall, service_tier_of, usage_from
from webapp.models import Run, UsageRecord

BATCH_SIZE = 1_000
MAX_CALLS = 100_000  # More than that takes longer than anybody waits for a page; the newest count.


def iterate_calls(session: Session, ref: str, since: datetime, until: datetime) -> Iterator[RecordedCall]:
    """By project, the newest first; remembered answers cost nothing and are left out."""
    u = UsageRecord
    reported = select(u.project, u.at, u.usage, u.service_tier, u.currency, u.cost_total)
    reported = reported.where(u.model_ref == ref, u.at >= since, u.at < until).order_by(u.id.desc()).limit(MAX_CALLS)
    for project, at, usage, tier, currency, total in session.execute(reported.execution_options(yield_per=BATCH_SIZE)):
        yield RecordedCall(project or "", at, usage_from(usage), tier, currency, total)
    runs = select(Run.project, Run.created_at, Run.usage, Run.cost, Run.currency, Run.cost_total)
    runs = runs.where(Run.model_ref == ref, Run.created_at >= since, Run.created_at < until, Run.cached.is_(False), Run.usage.is_not(None))
    for project, at, usage, cost, currency, total in session.execute(runs.order_by(Run.id.desc()).limit(MAX_CALLS)):
        if usage:
            yield RecordedCall(project or "", at, usage_from(usage), service_tier_of(cost), currency, total)
