"""The one way to write the trail: in the transaction of the change, so that neither exists without the other."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Update, select, text
from sqlalchemy.orm import Session

from webapp.models import AuditEvent
from webapp.observability.context import request_id

GENESIS = "0" * 64
# Any constant will do: it names the lock under which PostgreSQL's writers take their turn at the end of the chain.
CHAIN_LOCK = 724_001


@dataclass(frozen=True, slots=True)
class Target:
    """What was acted on."""

    kind: str
    id: int | None
    name: str


Values = Mapping[str, Any] | None


def now() -> datetime:
    return datetime.now(UTC)


def record(session: Session, action: str, *, actor: str, target: Target, change: tuple[Values, Values] = (None, None)) -> AuditEvent:
    """Adds an event: `action` is `scope:resource:action`, `change` the values before and after (only those that differ are kept)."""
    session.flush()  # The row's own number must be known, and a refused change must leave no trail.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CHAIN_LOCK})
    previous = session.execute(select(AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)).scalar() or GENESIS
    before, after = differing(*change)
    event = AuditEvent(
        actor=actor, action=action, target_kind=target.kind, target_id=target.id, target_name=target.name,
        before=before, after=after, request_id=request_id.get(), previous_hash=previous, created_at=now(),
    )  # fmt: skip
    event.hash = digest(event)
    session.add(event)
    session.flush()
    return event


def unrecorded(session: Session, change: Update) -> None:
    """Makes a change that nobody decided and that its own row tells, such as when a key was last used.

    It goes past the session, which stores no other change without a line in the trail (`extensions/trail.py`).
    """
    session.flush()
    session.connection().execute(change)


def first_break(session: Session) -> int | None:
    """The number of the first event that was changed, or whose predecessor was changed or removed; None if the chain is whole."""
    previous = GENESIS
    with session.execute(select(AuditEvent).order_by(AuditEvent.id).execution_options(yield_per=500)) as found:
        for event in found.scalars():
            if event.previous_hash != previous or event.hash != digest(event):
                return event.id
            previous = event.hash
    return None


def differing(before: Values, after: Values) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Only the values that changed; everything for a new or removed row."""
    if before is None or after is None:
        return (dict(before) if before is not None else None, dict(after) if after is not None else None)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in changed}, {name: after.get(name) for name in changed}


def digest(event: AuditEvent) -> str:
    """The hash that chains this event to the one before it."""
    content = [
        event.previous_hash, event.actor, event.action, event.target_kind, event.target_id, event.target_name,
        event.before, event.after, event.request_id, event.created_at.astimezone(UTC).isoformat(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
