"""The registry's revision: locked first by every writer, moved in the same transaction as the change."""

from weakref import ref

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.models import RegistryState

BUMPED_IN = "registry_changed_in"


def lock(session: Session) -> RegistryState:
    """Waits for other writers of the registry, so that rules over several rows (one default, one primary) hold without races."""
    state = session.execute(select(RegistryState).with_for_update()).scalar_one_or_none()
    if state is None:
        raise DatabaseUnreachable("The database is not set up: run `make run` or `.venv/bin/flask --app wsgi prepare`.")
    return state


def bump(session: Session) -> RegistryState:
    """Locks the registry and moves its revision. To be called first by whatever changes something that a snapshot can see.

    Once in a transaction is enough: it becomes visible as a whole. Taking over a catalogue calls this thousands of times.
    """
    transaction, known = session.get_transaction(), session.info.get(BUMPED_IN)
    if known and known[0]() is transaction and transaction is not None:
        state: RegistryState = known[1]
        return state
    state = lock(session)
    state.revision += 1
    started = session.get_transaction()
    if started is not None:
        session.info[BUMPED_IN] = (ref(started), state)
    return state
