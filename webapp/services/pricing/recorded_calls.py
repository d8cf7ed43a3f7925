"""Recorded calls of a model (usage records and runs), for repricing."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from webapp.domain.pricing.repricing import RecordedCall, attributes_of, service_tier_of
from webapp.domain.pricing.usage import Usage
from webapp.extensions.row_blocks import Key, read_in_blocks
from webapp.models import Run, UsageRecord

MAX_CALLS = 100_000  # More calls would take too long for a page. The newest ones are used.


def iterate_calls(session: Session, ref: str, since: datetime, until: datetime) -> Iterator[RecordedCall]:
    """Yield usage records, then runs, each newest first. Only what was sent has a cost: cached responses and refused runs are left out."""
    record = UsageRecord
    reported = select(
        record.project, record.at, record.usage, record.service_tier, record.cost, record.currency, record.cost_total, record.complete
    )
    reported = reported.where(record.model_ref == ref, record.at >= since, record.at < until)
    for project, at, usage, tier, cost, currency, total, complete, *_ in _newest(session, reported, record.at, record.id):
        yield RecordedCall(project or "", at, Usage.of(usage), tier, attributes_of(cost), currency, total if complete else None)
    runs = select(Run.project, Run.created_at, Run.usage, Run.cost, Run.currency, Run.cost_total)
    runs = runs.where(Run.model_ref == ref, Run.created_at >= since, Run.created_at < until, Run.sent)
    for project, at, usage, cost, currency, total, *_ in _newest(session, runs, Run.created_at, Run.id):
        known = total if cost and cost.get("complete") else None
        call_usage = Usage.of(usage) if usage else None
        yield RecordedCall(project or "", at, call_usage, service_tier_of(cost), attributes_of(cost), currency, known)


def _newest(session: Session, query: Select[*tuple[Any, ...]], *keys: Key) -> Iterator[Row[*tuple[Any, ...]]]:
    return islice(read_in_blocks(session, query, *keys, newest_first=True), MAX_CALLS)
