"""Database connections: SQLite's pragmas and transactions, and the guard that detects a moved or replaced file."""

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, PoolProxiedConnection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import ORMExecuteState, Session, scoped_session
from sqlalchemy.pool import ConnectionPoolEntry

from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.models.text_search import SQLITE_FUNCTION, fold_case

log = logging.getLogger(__name__)
# Execution options: a session declares that it will write, and a reader that it needs one consistent state.
WRITING = "modeldesk_writing"
CONSISTENT_READ = "modeldesk_one_moment"
BUSY_TIMEOUT_MS = 5000


def journal_mode(version: tuple[int, ...]) -> tuple[str, str]:
    """Return the journal mode for a version of SQLite, and the reason.

    Before 3.51.3, and in the withdrawn 3.52.0, two writers could corrupt a database in WAL mode (security.md, finding 6).
    """
    if version >= (3, 51, 3) and version[:2] != (3, 52):
        return "WAL", "this version of SQLite is free of the defect that could damage a database in WAL mode"
    return "TRUNCATE", "this version of SQLite has a defect that could damage a database in WAL mode when two processes write"


JOURNAL_MODE, JOURNAL_REASON = journal_mode(sqlite3.sqlite_version_info)


def log_journal_mode() -> None:
    log.info("SQLite %s: journal mode %s, because %s", sqlite3.sqlite_version, JOURNAL_MODE, JOURNAL_REASON)


def engine_options(sqlite_file: Path | None) -> dict[str, Any]:
    """Return the options for SQLAlchemy's engine. Errors never show parameters, because they can contain secrets."""
    if sqlite_file is None:
        timeouts = "-c lock_timeout=5000 -c statement_timeout=30000 -c idle_in_transaction_session_timeout=120000"
        return {"hide_parameters": True, "pool_pre_ping": True, "connect_args": {"connect_timeout": 3, "options": timeouts}}
    return {"hide_parameters": True, "creator": connection_factory(sqlite_file)}


def connection_factory(path: Path) -> Callable[[], sqlite3.Connection]:
    """Return a function that opens an existing file. It never creates one, because a new empty file would hide the loss of the old one."""

    def open_file() -> sqlite3.Connection:
        uri = f"{path.as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False, isolation_level=None)
        for pragma in (
            f"journal_mode={JOURNAL_MODE}",
            "synchronous=FULL",
            "foreign_keys=ON",
            "recursive_triggers=ON",  # Otherwise INSERT OR REPLACE removes a row without asking the trigger that forbids it.
            "mmap_size=0",
            "trusted_schema=OFF",
            "cache_spill=OFF",  # A long transaction that writes pages early would block readers before it ends.
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function(SQLITE_FUNCTION, 1, fold_case, deterministic=True)
        return connection

    return open_file


def create_file(path: Path) -> None:
    """Create the empty file of a new embedded database, with access for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def guard_engine(engine: Engine, sqlite_file: Path | None) -> None:
    """Attach the guards to every connection of an SQLite engine. PostgreSQL does not need them."""
    if sqlite_file is None:
        return

    event.listen(engine, "begin", begin_transaction)

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


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file at this path, or None."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
