"""Usage that applications report: recorded once however often it is sent, priced at the moment of the call, and summed exactly."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.domain.catalog.serializers import cost_document
from webapp.domain.pricing.pricing import Cost
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Conflict
from webapp.domain.shared.timestamps import format_timestamp
from webapp.domain.usage.usage_summary import ReportedCall, UsageSummary, summarize_usage
from webapp.models import ApiToken, UsageRecord

BATCH_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What one token reports, priced already; `body` are the bytes that were sent, to know them again."""

    token_id: int
    key: str
    body: bytes
    model_ref: str
    usage: Usage
    cost: Cost


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used for something else."""

    code = "idempotency_key_reused"


def store_report(session: Session, report: UsageReport) -> tuple[UsageRecord, bool]:
    """The record, and whether it is new. Sent again, the same report gives the first record.

    Raises `IdempotencyKeyReused` for another one.
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
        "usage": report.usage.as_dict(),
        "service_tier": cost.service_tier,
        "at": cost.at,
        "cost": cost_document(cost),
        "cost_total": cost.total,
        "currency": cost.currency,
        "complete": cost.complete,
        "price_id": cost.price_id,
    }
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    # One statement decides who was first; whoever comes second waits for it, and then finds the row.
    insert = dialect.insert(UsageRecord).values(values).on_conflict_do_nothing(index_elements=["token_id", "idempotency_key"])
    new = session.execute(insert.returning(UsageRecord.id)).scalar_one_or_none() is not None
    mine = (UsageRecord.token_id == report.token_id, UsageRecord.idempotency_key == report.key)
    found = session.execute(select(UsageRecord).where(*mine)).scalar_one()
    if found.body_digest != digest:
        when = format_timestamp(found.created_at)
        raise IdempotencyKeyReused(
            f"This Idempotency-Key was used for another report at {when}. Nothing was recorded; use a new key for each call."
        )
    return found, new


def usage_record_document(found: UsageRecord) -> dict[str, Any]:
    """A UsageRecord as the HTTP API answers it."""
    return {
        "id": found.public_id,
        "model": found.model_ref,
        "project": found.project,
        "usage": found.usage,
        "at": format_timestamp(found.at),
        "cost": found.cost,
        "created_at": format_timestamp(found.created_at),
    }


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which records to sum: those from `since` to just before `until`, of a model and a project if these are named."""

    since: datetime
    until: datetime
    group_by: str
    model_ref: str | None = None
    project: str | None = None


def summarize(session: Session, question: UsageQuery) -> tuple[dict[str, UsageSummary], UsageSummary]:
    """The sums by group, and of all."""
    return summarize_usage(_read_rows(session, question))


def _read_rows(session: Session, question: UsageQuery) -> Iterator[ReportedCall]:
    u = UsageRecord
    query = (
        select(_group_column(session, question.group_by), u.usage, u.currency, u.cost_total, u.complete)
        .join(ApiToken, ApiToken.id == u.token_id)
        .where(u.at >= question.since, u.at < question.until)
        .order_by(u.id)
    )
    if question.model_ref is not None:
        query = query.where(u.model_ref == question.model_ref)
    if question.project is not None:
        query = query.where(u.project == question.project)
    for group, usage, currency, total, complete in session.execute(query.execution_options(yield_per=BATCH_SIZE)):
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
