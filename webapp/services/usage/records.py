"""Usage reported by applications: recorded once per idempotency key, priced at the time of the call, and summed exactly."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.domain.pricing.costs import Cost
from webapp.domain.pricing.serializers import cost_document
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Conflict
from webapp.domain.shared.timestamps import format_timestamp
from webapp.domain.usage.usage_summary import ReportedCall, UsageSummary, summarize_usage
from webapp.extensions.row_blocks import read_in_blocks
from webapp.models import ApiToken, UsageRecord


@dataclass(frozen=True, slots=True)
class UsageReport:
    """A priced report of one token. `body` contains the request bytes, to recognize a repeated report."""

    token_id: int
    key: str
    body: bytes
    model_ref: str
    usage: Usage
    cost: Cost


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used for a different report."""

    code = "idempotency_key_reused"


def find_repeated_or_none(session: Session, token_id: int, key: str, body: bytes) -> UsageRecord | None:
    """Return the record of an earlier report with this key, or None. Raises `IdempotencyKeyReused` if that report was a different one."""
    query = select(UsageRecord).where(UsageRecord.token_id == token_id, UsageRecord.idempotency_key == key)
    record = session.execute(query).scalar_one_or_none()
    if record is not None:
        _require_same_report(record, hashlib.sha256(body).digest())
    return record


def _require_same_report(record: UsageRecord, digest: bytes) -> None:
    if record.body_digest != digest:
        when = format_timestamp(record.created_at)
        raise IdempotencyKeyReused(
            f"This Idempotency-Key was used for another report at {when}. Nothing was recorded; use a new key for each call."
        )


def store_report(session: Session, report: UsageReport) -> tuple[UsageRecord, bool]:
    """Return the record and whether it is new. A repeated report returns the first record.

    Raises `IdempotencyKeyReused` if the key was used for a different report.
    """
    digest = hashlib.sha256(report.body).digest()
    project = session.execute(select(ApiToken.project).where(ApiToken.id == report.token_id)).scalar_one_or_none()
    cost = report.cost
    values = {
        "public_id": f"use_{secrets.token_hex(12)}",
        "token_id": report.token_id,
        "project": project,
        "idempotency_key": report.key,
        "body_digest": digest,
        "model_ref": report.model_ref,
        "usage": report.usage.document(),
        "service_tier": cost.service_tier,
        "at": cost.at,
        "cost": cost_document(cost),
        "cost_total": cost.total,
        "currency": cost.currency,
        "complete": cost.complete,
        "price_id": cost.price_id,
    }
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    # One statement decides which request is first. A concurrent request waits for it and then reads its row.
    insert = dialect.insert(UsageRecord).values(values).on_conflict_do_nothing(index_elements=["token_id", "idempotency_key"])
    is_new = session.execute(insert.returning(UsageRecord.id)).scalar_one_or_none() is not None
    same_key = (UsageRecord.token_id == report.token_id, UsageRecord.idempotency_key == report.key)
    record = session.execute(select(UsageRecord).where(*same_key)).scalar_one()
    _require_same_report(record, digest)
    return record, is_new


def usage_record_document(record: UsageRecord) -> dict[str, Any]:
    """Return a `UsageRecord` as a document of the HTTP API."""
    return {
        "id": record.public_id,
        "model": record.model_ref,
        "project": record.project,
        "usage": record.usage,
        "at": format_timestamp(record.at),
        "cost": record.cost,
        "created_at": format_timestamp(record.created_at),
    }


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A selection of records: from `since` (inclusive) to `until` (exclusive), optionally of one model and project."""

    since: datetime
    until: datetime
    group_by: str
    model_ref: str | None = None
    project: str | None = None


def summarize(session: Session, selection: UsageQuery) -> tuple[dict[str, UsageSummary], UsageSummary]:
    """Return the sums by group, and the total. Records that are added after the start are not counted (`extensions/row_blocks.py`)."""
    return summarize_usage(_read_rows(session, selection))


def _read_rows(session: Session, selection: UsageQuery) -> Iterator[ReportedCall]:
    record = UsageRecord
    query = (
        select(_group_column(session, selection.group_by), record.usage, record.currency, record.cost_total, record.complete)
        .join(ApiToken, ApiToken.id == record.token_id)
        .where(record.at >= selection.since, record.at < selection.until)
    )
    if selection.model_ref is not None:
        query = query.where(record.model_ref == selection.model_ref)
    if selection.project is not None:
        query = query.where(record.project == selection.project)
    for group, usage, currency, total, complete, *_ in read_in_blocks(session, query, record.at, record.id):
        yield ReportedCall(group or "", usage, currency, total, complete)


def _group_column(session: Session, name: str) -> ColumnElement[str | None]:
    if name == "day":
        on_postgresql = session.get_bind().dialect.name == "postgresql"
        return func.to_char(func.timezone("UTC", UsageRecord.at), "YYYY-MM-DD") if on_postgresql else func.date(UsageRecord.at)
    columns: dict[str, ColumnElement[Any]] = {
        "model": UsageRecord.model_ref.expression,
        "project": UsageRecord.project.expression,
        "token": ApiToken.name.expression,
    }
    return columns[name]
