"""The audit log writer. An event is written in the transaction of its change, so that neither exists without the other."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import Row, Table, Update, insert, select, text, update
from sqlalchemy.orm import Session

from webapp.extensions.row_blocks import read_in_blocks
from webapp.models import AuditEvent, AuditState
from webapp.observability.request_id import request_id

GENESIS = "0" * 64
# An arbitrary constant. It names the PostgreSQL lock that serializes writers at the end of the chain.
CHAIN_LOCK = 724_001
COLLECTED = "audit_events_collected"
# Every column but the id, which is the key of the blocks in which events are read.
_EVENT_COLUMNS = tuple(column for column in AuditEvent.__table__.columns if not column.primary_key)


@dataclass(frozen=True, slots=True)
class Target:
    """The object of an action."""

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


class _Entry(NamedTuple):
    """An event that is not written yet. Its target and its change can be functions, for ids that are not known yet."""

    action: str
    actor: str
    target: Target | Callable[[], Target]
    change: AuditChange | Callable[[], AuditChange]
    created_at: datetime


def record(
    session: Session,
    action: str,
    *,
    actor: str,
    target: Target | Callable[[], Target],
    change: AuditChange | Callable[[], AuditChange] = NO_CHANGE,
) -> AuditEvent | None:
    """Add an event. `action` is `scope:resource:action`. Of `change`, only the values that differ are stored.

    Return the event, or None while events are collected. A target or a change that needs the id of a new row is a function, which is
    called when the rows are stored.
    """
    entry = _Entry(action, actor, target, change, now())
    collected: list[_Entry] | None = session.info.get(COLLECTED)
    if collected is None:
        return _write(session, [entry])[-1]
    collected.append(entry)
    return None


@contextmanager
def collect(session: Session) -> Iterator[Callable[[], None]]:
    """Collect the events of the block instead of writing each of them. Yield the function that writes them together.

    It flushes all changes first. Events that are not written when the block ends are dropped. Blocks cannot be nested.
    """
    entries: list[_Entry] = []
    session.info[COLLECTED] = entries

    def write() -> None:
        if entries:
            _write(session, entries)
            entries.clear()

    try:
        yield write
    finally:
        session.info.pop(COLLECTED)


def _write(session: Session, entries: Sequence[_Entry]) -> list[AuditEvent]:
    """Append the events to the chain. The hashes are computed in memory, and the end of the chain is written once."""
    session.flush()  # The rows' ids must be known, and a rejected change must leave no event.
    lock_chain(session)
    previous, events = _newest_hash(session), []
    for entry in entries:
        events.append(_build_event(entry, previous))
        previous = events[-1].hash
    if len(events) == 1:
        session.add_all(events)
    else:
        columns = [column.key for column in _EVENT_COLUMNS if column.key != "updated_at"]
        session.execute(insert(cast(Table, AuditEvent.__table__)), [{name: getattr(event, name) for name in columns} for event in events])
    update_without_audit(session, update(AuditState).values(events=AuditState.events + len(events), hash=previous))
    return events


def _build_event(entry: _Entry, previous_hash: str) -> AuditEvent:
    target = entry.target() if callable(entry.target) else entry.target
    before, after = changed_values(*(entry.change() if callable(entry.change) else entry.change))
    event = AuditEvent(
        actor=entry.actor,
        action=entry.action,
        target_kind=target.kind,
        target_id=target.id,
        target_name=target.name,
        before=before,
        after=after,
        request_id=request_id.get(),
        previous_hash=previous_hash,
        created_at=entry.created_at,
    )
    event.hash = digest(event)
    return event


def lock_chain(session: Session) -> None:
    """Wait until no other transaction is writing events, then block other writers until this transaction ends.

    SQLite has only one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CHAIN_LOCK})


def _newest_hash(session: Session) -> str:
    """Return the hash that the next event stores as its predecessor.

    It is used even if that predecessor was removed by hand, so that the gap stays visible.
    """
    end = _chain_end(session)
    if end is not None:
        return end[1]
    newest: str | None = session.execute(select(AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)).scalar()
    return newest or GENESIS


def _chain_end(session: Session) -> tuple[int, str] | None:
    """Return the number of events written and the hash of the newest one.

    Returns None if the `audit_state` row was removed by hand. That row is never recreated.
    """
    state = session.execute(select(AuditState.events, AuditState.hash)).one_or_none()
    return (state.events, state.hash) if state else None


def update_without_audit(session: Session, change: Update) -> None:
    """Apply an update that is not a user's decision and that its own row documents, such as the last use of a key.

    It bypasses the session, which stores no other change without an audit event (`extensions/audit_guard.py`).
    """
    session.flush()
    session.connection().execute(change)


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """A manual change of the audit log: the event at which it shows, if there is one, and a description."""

    event_id: int | None
    message: str


def get_first_break_or_none(session: Session) -> ChainBreak | None:
    """Return the first place where events were changed, removed or added by hand, or None if the audit log is intact.

    The end of the chain is read before and after the scan, because other transactions might add events during the scan.
    """
    end = _chain_end(session)
    if end is None:
        return ChainBreak(None, "the row that tells its end (table audit_state) is missing")
    written, newest = end
    previous, count, last = GENESIS, 0, None
    for event in read_in_blocks(session, select(*_EVENT_COLUMNS), AuditEvent.id):
        if event.previous_hash != previous or event.hash != digest(event):
            return ChainBreak(event.id, f"event {event.id} was changed, or one before it was changed or removed")
        previous, count, last = event.hash, count + 1, event.id
        if count == written and event.hash != newest:
            return ChainBreak(event.id, f"event {event.id} was changed together with its hash, or events before it were exchanged")
    if count < written:
        message = f"the newest {written - count} of {written} events are missing; the last one left is event {last}"
        return ChainBreak(last, message if count else f"all {written} events are missing")
    now_written, _ = _chain_end(session) or end
    return ChainBreak(last, f"event {last} was added by hand") if count > now_written else None


def changed_values(before: Values, after: Values) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return only the values that changed, or all values of a new or removed row."""
    if before is None or after is None:
        return (dict(before) if before is not None else None, dict(after) if after is not None else None)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def digest(event: AuditEvent | Row[*tuple[Any, ...]]) -> str:
    """Return the hash that chains this event to the previous one."""
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
