"""The registry's revision: every writer locks it first and increases it in the transaction of the change."""

from weakref import ref

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.models import RegistryState

BUMPED_IN = "registry_changed_in"
COMPARING = "registry_comparing"  # In `session.info` while a comparison plans changes that are not stored.


def is_comparing(session: Session) -> bool:
    """Return whether the session only plans changes, without a write transaction (`runtime/transaction.py`)."""
    return COMPARING in session.info


def lock(session: Session) -> RegistryState:
    """Wait for other writers of the registry, so that rules over several rows (one default, one primary) hold without races.

    A comparison locks nothing. Its author looks at the revision again before anything is stored.
    """
    query = select(RegistryState)
    state = session.execute(query if is_comparing(session) else query.with_for_update()).scalar_one_or_none()
    if state is None:
        raise DatabaseUnreachable("The database is not set up: run `make run` or `.venv/bin/flask --app wsgi prepare`.")
    return state


def read(session: Session) -> int | None:
    """Return the current revision, without a lock."""
    revision: int | None = session.execute(select(RegistryState.revision)).scalar_one_or_none()
    return revision


def bump(session: Session) -> RegistryState:
    """Lock the registry and increase its revision. Call it before any change that is visible in a snapshot.

    One increase per transaction is enough, because the transaction becomes visible as a whole. Applying a catalog calls this thousands of
    times.
    """
    transaction, bumped = session.get_transaction(), session.info.get(BUMPED_IN)
    if bumped and bumped[0]() is transaction and transaction is not None:
        state: RegistryState = bumped[1]
        return state
    state = lock(session)
    state.revision += 1
    current = session.get_transaction()
    if current is not None:
        session.info[BUMPED_IN] = (ref(current), state)
    return state
