"""The one way to write the trail: in the transaction of the change, so that neither exists without the other."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Update, select, text, update
from sqlalchemy.orm import Session

from webapp.models import AuditEvent, AuditState
from webapp.observability.request_id import request_id

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


class AuditChange(NamedTuple):
    """The values of a row before and after a change; None where the row did not exist."""

    before: Values = None
    after: Values = None


NO_CHANGE = AuditChange()


def now() -> datetime:
    return datetime.now(UTC)


def record(session: Session, action: str, *, actor: str, target: Target, change: AuditChange = NO_CHANGE) -> AuditEvent:
    """Adds an event: `action` is `scope:resource:action`, `change` the values before and after (only those that differ are kept)."""
    session.flush()  # The row's own number must be known, and a refused change must leave no trail.
    lock_chain(session)
    previous = _newest_hash(session)
    before, after = changed_values(*change)
    event = AuditEvent(
        actor=actor,
        action=action,
        target_kind=target.kind,
        target_id=target.id,
        target_name=target.name,
        before=before,
        after=after,
        request_id=request_id.get(),
        previous_hash=previous,
        created_at=now(),
    )
    event.hash = digest(event)
    session.add(event)
    update_without_audit(session, update(AuditState).values(events=AuditState.events + 1, hash=event.hash))
    return event


def lock_chain(session: Session) -> None:
    """Waits until nobody else is adding to the trail, and holds the others up until the transaction ends. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CHAIN_LOCK})


def _newest_hash(session: Session) -> str:
    """What the next line names as its predecessor: also when somebody removed that one, so that the hole stays to be seen."""
    end = _chain_end(session)
    if end is not None:
        return end[1]
    newest: str | None = session.execute(select(AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)).scalar()
    return newest or GENESIS


def _chain_end(session: Session) -> tuple[int, str] | None:
    """How many lines were written, and the hash of the newest. None if somebody removed that row: it is never made anew."""
    found = session.execute(select(AuditState.events, AuditState.hash)).one_or_none()
    return (found.events, found.hash) if found else None


def update_without_audit(session: Session, change: Update) -> None:
    """Makes a change that nobody decided and that its own row tells, such as when a key was last used.

    It goes past the session, which stores no other change without a line in the trail (`extensions/audit_guard.py`).
    """
    session.flush()
    session.connection().execute(change)


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where the trail was changed by hand, and how: at an event that is there, if there is one to name."""

    event_id: int | None
    message: str


def get_first_break_or_none(session: Session) -> ChainBreak | None:
    """The first place at which somebody changed, removed or added events by hand; None if the trail is whole.

    Its end is looked at before and after, because others may be writing lines meanwhile.
    """
    end = _chain_end(session)
    if end is None:
        return ChainBreak(None, "the row that tells its end (table audit_state) is missing")
    written, newest = end
    previous, seen, last = GENESIS, 0, None
    with session.execute(select(AuditEvent).order_by(AuditEvent.id).execution_options(yield_per=500)) as found:
        for event in found.scalars():
            if event.previous_hash != previous or event.hash != digest(event):
                return ChainBreak(event.id, f"event {event.id} was changed, or one before it was changed or removed")
            previous, seen, last = event.hash, seen + 1, event.id
            if seen == written and event.hash != newest:
                return ChainBreak(event.id, f"event {event.id} was changed together with its hash, or events before it were exchanged")
    if seen < written:
        gone = f"the newest {written - seen} of {written} events are missing; the last one left is event {last}"
        return ChainBreak(last, gone if seen else f"all {written} events are missing")
    now_written, _ = _chain_end(session) or end
    return ChainBreak(last, f"event {last} was added by hand") if seen > now_written else None


def changed_values(before: Values, after: Values) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Only the values that changed; everything for a new or removed row."""
    if before is None or after is None:
        return (dict(before) if before is not None else None, dict(after) if after is not None else None)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in changed}, {name: after.get(name) for name in changed}


def digest(event: AuditEvent) -> str:
    """The hash that chains this event to the one before it."""
    content = [
        event.previous_hash,
        event.actor,
        event.action,
        event.target_kind,
        event.target_id,
        event.target_name,
        event.before,
        event.after,
        event.request_id,
        event.created_at.astimezone(UTC).isoformat(),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
