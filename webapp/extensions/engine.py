"""Database connections: SQLite's pragmas and transactions, and the guard that detects a moved or replaced file."""

import atexit
import logging
import os
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, PoolProxiedConnection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import ORMExecuteState, Session, scoped_session
from sqlalchemy.pool import ConnectionPoolEntry

from webapp.config.sqlite_driver import LIBRARY, ROLLBACK, WAL, is_wal_safe, is_writable, open_read_only, sqlite
from webapp.config.storage_errors import StorageError, classify, has_room
from webapp.domain.shared.errors import DatabaseUnreachable, DiskFull, Unavailable
from webapp.extensions.database_file import BUSY_TIMEOUT_MS, UNSAFE_WAL, current_journal_mode, file_identity, require_own_journal
from webapp.models.text_search import SQLITE_FUNCTION, fold_case

log = logging.getLogger(__name__)
# Execution options: a session declares that it will write, and a reader that it needs one consistent state.
WRITING = "modeldesk_writing"
CONSISTENT_READ = "modeldesk_one_moment"
MAX_IDLE_JOURNAL_BYTES = 64_000_000  # A WAL that a large import made longer is cut to this size when it is reused.


def log_journal_mode(path: Path) -> None:
    """Log which SQLite runs and in which journal mode the database is, with the reason if it is not WAL."""
    try:
        with closing(connection_factory(path)()) as connection:
            mode = current_journal_mode(connection)
    except (sqlite.Error, Unavailable):
        return  # The state of the database is logged elsewhere.
    log.info("%s: journal mode %s, because %s", LIBRARY, mode, journal_reason(mode))


def journal_reason(mode: str) -> str:
    """Explain why the database is in this journal mode."""
    if mode == WAL:
        return "readers and writers then do not wait for each other, and this version is free of the defect that could damage a database"
    if is_wal_safe():
        return "MODELDESK_SQLITE_WAL is off, or other processes used the database when it was prepared"
    return "this version of SQLite has a defect that could damage a database in WAL mode when two processes write"


def engine_options(sqlite_file: Path | None) -> dict[str, Any]:
    """Return the options for SQLAlchemy's engine. Errors never show parameters, because they can contain secrets."""
    if sqlite_file is None:
        timeouts = "-c lock_timeout=5000 -c statement_timeout=30000 -c idle_in_transaction_session_timeout=120000"
        return {"hide_parameters": True, "pool_pre_ping": True, "connect_args": {"connect_timeout": 3, "options": timeouts}}
    return {"hide_parameters": True, "module": sqlite, "creator": connection_factory(sqlite_file)}


def connection_factory(path: Path) -> Callable[[], sqlite.Connection]:
    """Return a function that opens an existing file. It never creates one, because a new empty file would hide the loss of the old one."""

    def open_file() -> sqlite.Connection:
        require_own_journal(path)
        try:
            return _open(path)
        except sqlite.OperationalError as error:
            # SQLite reports an I/O error if there is no room for the shared memory file.
            if path.exists() and not has_room(path.parent):
                raise DiskFull from error
            raise

    return open_file


def _open(path: Path) -> sqlite.Connection:
    if not is_writable(path):
        return _configure(open_read_only(path, check_same_thread=False))
    connection = sqlite.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False, isolation_level=None
    )
    try:
        if current_journal_mode(connection) == ROLLBACK:
            connection.execute(f"PRAGMA journal_mode={ROLLBACK}")
        elif not is_wal_safe():
            raise DatabaseUnreachable(UNSAFE_WAL)
        return _configure(connection)
    except BaseException:
        connection.close()
        raise


def _configure(connection: sqlite.Connection) -> sqlite.Connection:
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",  # Otherwise INSERT OR REPLACE removes a row without asking the trigger that forbids it.
        "mmap_size=0",
        "trusted_schema=OFF",
        "cache_spill=OFF",  # In a rollback journal, a long transaction that writes pages early would block readers before it ends.
        f"journal_size_limit={MAX_IDLE_JOURNAL_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function(SQLITE_FUNCTION, 1, fold_case, deterministic=True)
    return connection


def create_file(path: Path) -> None:
    """Create the empty file of a new embedded database, with access for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def guard_engine(engine: Engine, sqlite_file: Path | None) -> None:
    """Attach the guards to every connection of an SQLite engine. PostgreSQL does not need them."""
    if sqlite_file is None:
        return

    event.listen(engine, "begin", begin_transaction)
    _close_at_exit(engine)
    _reopen_when_writable(engine, sqlite_file)

    @event.listens_for(engine, "connect")
    def remember_the_file(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = file_identity(sqlite_file)

    @event.listens_for(engine, "checkout")
    def refuse_a_lost_file(_: object, entry: ConnectionPoolEntry, __: PoolProxiedConnection) -> None:
        # An open connection survives the deletion of its file, and its writes are lost. So each use compares the file with the opened one.
        if entry.info.get("file") != file_identity(sqlite_file):
            raise DisconnectionError("the database file was moved, deleted or replaced")

    @event.listens_for(engine, "commit")
    def commit(connection: Connection) -> None:
        if connection.connection.info.get("file") != file_identity(sqlite_file):
            raise DatabaseUnreachable


def _close_at_exit(engine: Engine) -> None:
    """Close the connections of a command when it ends: only then does SQLite apply and remove the WAL."""
    reference = weakref.ref(engine)

    def close() -> None:
        if (open_engine := reference()) is not None:
            open_engine.dispose()

    atexit.register(close)
    weakref.finalize(engine, atexit.unregister, close).atexit = False


def _reopen_when_writable(engine: Engine, sqlite_file: Path) -> None:
    @event.listens_for(engine, "handle_error")
    def close_read_only_connections(context: ExceptionContext) -> None:
        # All connections of a process share SQLite's view of the shared memory file, and so whether it is read-only.
        if classify(context.original_exception) is StorageError.READ_ONLY and is_writable(sqlite_file):
            context.is_disconnect = True
            engine.dispose()


def begin_transaction(connection: Connection) -> None:
    """Begin an SQLite transaction in the mode that its execution options declare."""
    options = connection.get_execution_options()
    if options.get(WRITING):
        # If another connection wrote in between, a deferred transaction fails at its first write. This one waits for the lock.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif options.get(CONSISTENT_READ):
        connection.exec_driver_sql("BEGIN")
    # Other readers open no transaction. With a rollback journal, an open read transaction blocks every writer. A thread that holds one
    # while it reads through a second connection would deadlock with a waiting writer.


def require_write_transaction(session: scoped_session[Any]) -> None:
    """Reject changes outside of a transaction that is declared as `WRITING`.

    On SQLite, such a change would be stored statement by statement: readers could see a part of it, and the rest could be missing. On
    PostgreSQL it would be lost. The most likely cause is a rollback within `writing()`.
    """

    @event.listens_for(session, "before_flush")
    def flush(changed: Session, *_: object) -> None:
        if changed.new or changed.dirty or changed.deleted:
            _check_is_writing(changed)

    @event.listens_for(session, "do_orm_execute")
    def execute(state: ORMExecuteState) -> None:
        if state.is_insert or state.is_update or state.is_delete:
            _check_is_writing(state.session)


def _check_is_writing(session: Session) -> None:
    if not session.connection().get_execution_options().get(WRITING):
        raise RuntimeError("a change outside of writing(), or after a rollback within it")
