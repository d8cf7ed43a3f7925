"""The one place that commits: once when a change succeeds, never when it fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from webapp.domain.shared.errors import Conflict, DatabaseUnreachable, Invalid, ModeldeskError, Stale, Unavailable
from webapp.extensions import db, migration_guard
from webapp.extensions.engine import WRITING
from webapp.runtime import container

# PostgreSQL's words for it: serialization failure, deadlock, lock not available, statement cancelled after its time.
BUSY_SQLSTATES = ("40001", "40P01", "55P03", "57014")


@contextmanager
def writing(*, refresh: bool = True) -> Iterator[Session]:
    """A transaction that may write: committed when the block ends, rolled back when it raises.

    What the request has read so far is let go first, so that everything in the block sees one state of the database. Afterwards this
    process's registry is refreshed (unless told not to), so that whoever made the change sees it at once.
    """
    session: Session = db.session()
    session.rollback()
    try:
        migration_guard.require_current_version(session.connection(execution_options={WRITING: True}))
        yield session
        session.commit()
    except SQLAlchemyError as error:
        session.rollback()
        raise translate_database_error(error) from error
    except BaseException:
        session.rollback()
        raise
    if refresh:
        container.registry().refresh()


class _Rollback(Exception):
    """Takes a rehearsal back."""


@contextmanager
def dry_run_transaction() -> Iterator[Session]:
    """A transaction that is tried in earnest and then taken back: the most honest preview there is."""
    try:
        with writing(refresh=False) as session:
            yield session
            raise _Rollback
    except _Rollback:
        pass


def translate_database_error(error: SQLAlchemyError) -> ModeldeskError:
    """What the database's error means for the person who waits; never its SQL, never its values."""
    if isinstance(error, StaleDataError):
        return Stale("Somebody else changed this row meanwhile. Load it again and repeat your change.")
    if isinstance(error, IntegrityError):
        return Conflict("This clashes with what is stored already. Load the page again and look at what changed.")
    if isinstance(error, DataError):  # PostgreSQL's alone: SQLite takes a NUL character, and finds nothing.
        return Invalid("A value holds something that the database cannot take, such as a NUL character. Nothing was stored.")
    if isinstance(error, DBAPIError) and _is_busy(error):
        return Unavailable("The database is busy with another change. Nothing was stored; try again shortly.", code="database_busy")
    if isinstance(error, DBAPIError) and _is_read_only(error):
        return Unavailable("The database may only be read just now. Nothing was stored.", code="database_read_only")
    return DatabaseUnreachable()


def _is_read_only(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == "25006" or "readonly database" in str(error.orig)


def _is_busy(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in BUSY_SQLSTATES or "locked" in str(error.orig).lower()
