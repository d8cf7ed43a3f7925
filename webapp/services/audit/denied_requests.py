"""Audit events for denied requests of known callers, limited by a quota.

A denied request changes nothing, so its event belongs to no other change and has its own transaction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.models import AuditEvent
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

ACTION = "access:request:deny"
# Quotas per caller. An application that keeps using the wrong token must neither fill the database nor hide the events of others.
MAX_DENIALS = ((timedelta(minutes=1), 10), (timedelta(hours=1), 60))


@dataclass(frozen=True, slots=True)
class DeniedRequest:
    """The caller, and the method and URL template of the denied request. The request's content might hold a secret and is left out."""

    actor: str
    request: str


def remaining_quota(session: Session, actor: str, now: datetime) -> int:
    """Return how many more events this caller can have at `now`.

    Call it before a transaction that would make writers wait.
    """
    longest = max(window for window, _ in MAX_DENIALS)
    query = select(AuditEvent.created_at).where(
        AuditEvent.created_at > now - longest, AuditEvent.action == ACTION, AuditEvent.actor == actor
    )
    times = session.execute(query).scalars().all()
    return min(limit - sum(at > now - window for at in times) for window, limit in MAX_DENIALS)


def record_denial(session: Session, denied: DeniedRequest, now: datetime) -> None:
    """Write the event if the quota allows it. The last event of a quota notes that further ones are left out."""
    audit_log.lock_chain(session)  # Serializes the count; otherwise two concurrent requests could both be the last.
    remaining = remaining_quota(session, denied.actor, now)
    if remaining > 0:
        values = {"left_out": "further refusals of this caller, for up to an hour"} if remaining == 1 else None
        audit_log.record(
            session, ACTION, actor=denied.actor, target=Target("request", None, denied.request), change=AuditChange(None, values)
        )
