"""Refusals of those who are known: a line in the trail for each, and never more than the trail can bear.

Nothing was changed, so such a line is no part of any change: it has a transaction of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.models import AuditEvent
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

ACTION = "access:request:deny"
# Of one caller in so long. An application that goes on with the wrong token must neither fill the database nor bury what others did.
MAX_DENIALS = ((timedelta(minutes=1), 10), (timedelta(hours=1), 60))


@dataclass(frozen=True, slots=True)
class DeniedRequest:
    """Who was refused what: the method and the template of the address. What was sent along may hold a secret, and stays out."""

    actor: str
    request: str


def remaining_quota(session: Session, actor: str, now: datetime) -> int:
    """How many lines more there may be about this caller, as of now. To be asked before a transaction that would keep writers waiting."""
    longest = max(window for window, _ in MAX_DENIALS)
    query = select(AuditEvent.created_at).where(
        AuditEvent.created_at > now - longest, AuditEvent.action == ACTION, AuditEvent.actor == actor
    )
    moments = session.execute(query).scalars().all()
    return min(most - sum(moment > now - window for moment in moments) for window, most in MAX_DENIALS)


def record_denial(session: Session, denied: DeniedRequest, now: datetime) -> None:
    """Writes the line, if there is room; the last one says that what comes next is left out."""
    audit_log.lock_chain(session)  # Counted in turn, or two at once would both be the last.
    left = remaining_quota(session, denied.actor, now)
    if left > 0:
        more = {"left_out": "further refusals of this caller, for up to an hour"} if left == 1 else None
        audit_log.record(
            session, ACTION, actor=denied.actor, target=Target("request", None, denied.request), change=AuditChange(None, more)
        )
