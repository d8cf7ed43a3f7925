"""The transaction of every change. Only this module commits: once when a change succeeds, never when it fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from webapp.config.storage_errors import StorageError, classify
from webapp.domain.shared.errors import Conflict, DatabaseUnreachable, DiskFull, Invalid, ModeldeskError, Stale, Unavailable
from webapp.extensions import db, migration_guard
from webapp.extensions.engine import WRITING
from webapp.registry import revision
from webapp.runtime import container


@contextmanager
def writing(*, refresh: bool = True) -> Iterator[Session]:
    """Open a write transaction: committed when the block ends, rolled back when it raises.

    Earlier reads of the request are rolled back first, so that the block sees one state of the database. After the commit, this process's
    registry is refreshed so that the author sees the change immediately, unless `refresh` is false.
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


@contextmanager
def comparing() -> Iterator[Session]:
    """Open a session that plans changes in memory and stores nothing: a dry run without a write transaction, which blocks no writer.

    The services check the same rules as in `writing()`. Nothing is locked: what the block found holds until the revision moves.
    """
    session: Session = db.session()
    session.rollback()
    session.info[revision.COMPARING] = True
    try:
        with session.no_autoflush:
            yield session
    except SQLAlchemyError as error:
        raise translate_database_error(error) from error
    finally:
        session.rollback()
        session.info.pop(revision.COMPARING)


class _Rollback(Exception):
    """Signal to roll back a dry run."""


@contextmanager
def dry_run_transaction() -> Iterator[Session]:
    """Run the block in a write transaction and always roll back (dry run)."""
    try:
        with writing(refresh=False) as session:
            yield session
            raise _Rollback
    except _Rollback:
        pass


def translate_database_error(error: SQLAlchemyError) -> ModeldeskError:
    """Return the user-facing error for a database error, without its SQL or values."""
    if isinstance(error, StaleDataError):
        return Stale("Somebody else changed this row meanwhile. Load it again and repeat your change.")
    if isinstance(error, IntegrityError):
        return Conflict("This clashes with what is stored already. Load the page again and look at what changed.")
    if isinstance(error, DataError):  # PostgreSQL only: SQLite accepts a NUL character and finds nothing.
        return Invalid("A value holds something that the database cannot take, such as a NUL character. Nothing was stored.")
    match classify(error):
        case StorageError.DISK_FULL:
            return DiskFull()
        case StorageError.BUSY:
            return Unavailable("The database is busy with another change. Nothing was stored; try again shortly.", code="database_busy")
        case StorageError.READ_ONLY:
            return Unavailable("The database may only be read just now. Nothing was stored.", code="database_read_only")
        case None:
            return DatabaseUnreachable()
