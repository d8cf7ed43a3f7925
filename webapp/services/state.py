"""The registry's revision: locked first by every writer, moved in the same transaction as the change."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.errors import DatabaseUnreachable
from webapp.models import RegistryState


def lock(session: Session) -> RegistryState:
    """Waits for other writers of the registry, so that rules over several rows (one default, one primary) hold without races."""
    state = session.execute(select(RegistryState).with_for_update()).scalar_one_or_none()
    if state is None:
        raise DatabaseUnreachable("The database is not set up: run `make run` or `flask --app wsgi prepare`.")
    return state


def changing(session: Session) -> RegistryState:
    """Locks the registry and moves its revision. To be called first by whatever changes something that a snapshot can see."""
    state = lock(session)
    state.revision += 1
    return state
