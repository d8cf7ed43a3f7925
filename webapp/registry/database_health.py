"""The possible states of the database, each with a name and advice."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from webapp.config.sqlite_driver import is_writable
from webapp.config.storage_errors import StorageError, classify, has_room
from webapp.domain.shared.errors import DatabaseUnreachable, DiskFull
from webapp.extensions import migration_guard

OK, UNREACHABLE, EMPTY, OLDER, NEWER, CORRUPT = "ok", "unreachable", "empty", "older", "newer", "corrupt"
READ_ONLY, BUSY, DISK_FULL = "read-only", "busy", "disk_full"
ADVICE = {
    UNREACHABLE: (
        "It does not answer. Check DATABASE_URL and that the server runs, or put the file back; a backup can be restored. "
        "If the file was replaced by hand, move the files with the suffixes -wal, -shm and -journal away."
    ),
    EMPTY: "It is not set up: run `.venv/bin/flask --app wsgi prepare`.",
    OLDER: "Its tables are of an older version, so nothing is written. Run `.venv/bin/flask --app wsgi prepare`.",
    NEWER: "Its tables are of a newer version, so nothing is written. Start that version, or restore a backup from before.",
    CORRUPT: "Its file is damaged, or is no database. Restore a backup.",
    READ_ONLY: "It may only be read from here. Check the permissions of its file and folder, or that it is no standby.",
    DISK_FULL: "Free some space on its disk; changes are then accepted again without a restart.",
    BUSY: "Another process holds it. Look for a long-running transaction or a backup tool.",
}


class DatabaseHealth:
    """The last detected state, stored so that readers never wait for a database that hangs."""

    def __init__(self, engine: Engine, sqlite_file: Path | None) -> None:
        self._engine, self._file = engine, sqlite_file
        self.state = OK
        self.was_write_out_of_space = False  # Set after each report of this process. PostgreSQL does not show its disk otherwise.

    def check(self) -> str:
        """Detect and return the current state."""
        self.state = self._detect_state()
        return self.state

    def _detect_state(self) -> str:
        try:
            with self._engine.connect() as connection:
                return _schema_state(connection) or self._write_state(connection)
        except DiskFull:
            return DISK_FULL
        except (SQLAlchemyError, OSError, DatabaseUnreachable) as error:
            if classify(error) is StorageError.BUSY:
                return BUSY
            # For SQLite, `DatabaseError` itself means a damaged or foreign file. Its subclasses mean other errors.
            return CORRUPT if self._file is not None and type(error) is DatabaseError else UNREACHABLE

    def _write_state(self, connection: Connection) -> str:
        if self._is_read_only(connection):
            return READ_ONLY
        is_full = self.was_write_out_of_space or (self._file is not None and not has_room(self._file.parent))
        return DISK_FULL if is_full else OK

    def _is_read_only(self, connection: Connection) -> bool:
        if self._file is None:
            return bool(connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on")
        self._file.stat()  # Raises if the file was deleted after the connection was opened, because a missing file is not read-only.
        return not is_writable(self._file)


def _schema_state(connection: Connection) -> str | None:
    """Return the state of the schema, or None if it is current and set up."""
    version = (
        connection.execute(migration_guard.VERSION_QUERY).scalar_one_or_none() if inspect(connection).has_table("alembic_version") else None
    )
    if version is None:
        return EMPTY
    if version != migration_guard.KNOWN_VERSIONS[-1]:
        return NEWER if migration_guard.is_newer(version) else OLDER
    return None if connection.execute(text("SELECT count(*) FROM registry_state")).scalar_one() else EMPTY
