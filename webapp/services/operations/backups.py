"""Backup and restore through SQLite's backup API and PostgreSQL's tools, because a file copy of a database in use is corrupt.

A backup contains ciphertexts but never the encryption key. Store the key somewhere else, or the providers' keys are lost with it.
"""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from webapp.config.settings import BEFORE_RESTORE, Settings
from webapp.domain.shared.errors import Conflict, ModeldeskError, Unavailable

SQLITE_HEADER = b"SQLite format 3\x00"
POSTGRESQL_HEADER = b"PGDMP"
TOOL_TIMEOUT_S = 3600
# Other connections can write between steps, and a write restarts the copy. Without a limit, a backup of a busy database might never end.
PAGES_PER_STEP, MAX_RESTARTS = 2_000, 3


class BackupRefused(ModeldeskError):
    """A file that is not a usable Modeldesk backup."""

    status = 422
    code = "no_backup"


@dataclass(frozen=True, slots=True)
class BackupContents:
    """A summary of a backup's contents."""

    migration: str
    revision: int
    models: int
    users: int
    bytes: int


def back_up(settings: Settings, target: Path, *, replace: bool = False) -> BackupContents:
    """Write a verified backup that only its owner can read.

    Raises `Conflict` if the file exists, and `Unavailable` if the backup cannot be made.
    """
    if target.exists() and not replace:
        raise Conflict(f"{target.name} exists. Name another file, or say --replace.", code="exists")
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        contents = _copy_sqlite(settings.sqlite_path, partial) if settings.sqlite_path else _dump_postgresql(settings.database_url, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise Unavailable(
            f"The backup cannot be written: {error.strerror or type(error).__name__}. Check the folder and its space."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return contents


class _TooManyRestarts(Exception):
    """The copy restarted too often."""


class _RestartCounter:
    """Progress callback of a stepwise copy. It aborts a copy that restarts too often."""

    def __init__(self) -> None:
        self.remaining, self.restarts = 0, 0

    def __call__(self, _status: int, remaining: int, _total: int) -> None:
        self.restarts += remaining > self.remaining > 0
        self.remaining = remaining
        if self.restarts >= MAX_RESTARTS:
            raise _TooManyRestarts


def _copy_pages(live: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    """Copy in steps so that writers do not wait. Otherwise copy in one step, while writers wait for about a second per 100 MB."""
    try:
        live.backup(copy, pages=PAGES_PER_STEP, progress=_RestartCounter())
    except _TooManyRestarts:
        live.backup(copy, pages=-1)


def _copy_sqlite(source: Path, target: Path) -> BackupContents:
    try:
        with closing(_open_live(source)) as live, closing(sqlite3.connect(target)) as copy:
            _copy_pages(live, copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # A single file without a WAL file.
    except sqlite3.Error as error:
        raise Unavailable(f"The database cannot be read: {error}. Run `doctor`.") from error
    return inspect_backup(target)


def _open_live(path: Path) -> sqlite3.Connection:
    """Open read-only if possible. Only a writable connection can roll back a transaction that a crash left incomplete."""
    connection = _open_read_only(path)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)
    return connection


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def inspect_backup(path: Path) -> BackupContents:
    """Return the contents of an SQLite backup. Raises `BackupRefused` unless it is a complete Modeldesk database."""
    try:
        with closing(_open_read_only(path)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise BackupRefused(f"{path.name} is damaged: {verdict[:200]}.")
            _require_known_triggers(connection, path)
            migration, revision, models, users = connection.execute(
                "SELECT (SELECT version_num FROM alembic_version), (SELECT revision FROM registry_state), "
                "(SELECT count(*) FROM models), (SELECT count(*) FROM users)"
            ).fetchone()
    except sqlite3.Error as error:
        raise BackupRefused(f"{path.name} is no database of Modeldesk: {error}.") from error
    return BackupContents(migration, revision, models, users, path.stat().st_size)


# The migrations create only triggers that keep history rows immutable. Any other trigger or view would be foreign code.
_ALLOWED_TRIGGER = re.compile(
    r"CREATE TRIGGER (\w+)_no_(update|delete) BEFORE (UPDATE|DELETE) ON \"?\1\"? BEGIN SELECT RAISE\(ABORT, '[^']*'\); END", re.ASCII
)


def _require_known_triggers(connection: sqlite3.Connection, path: Path) -> None:
    for name, text in connection.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'view')"):
        if _ALLOWED_TRIGGER.fullmatch(text) is None:
            raise BackupRefused(
                f"{path.name} holds {name[:60]}, which no Modeldesk made: a trigger or view that would run with the desk's rights."
            )


def kind_of(path: Path) -> str:
    """Return `sqlite` or `postgresql`, according to the first bytes. Raises `BackupRefused`."""
    try:
        with path.open("rb") as file:
            start = file.read(len(SQLITE_HEADER))
    except OSError as error:
        raise BackupRefused(f"{path.name} cannot be read: {error.strerror}.") from error
    if start == SQLITE_HEADER:
        return "sqlite"
    if start.startswith(POSTGRESQL_HEADER):
        return "postgresql"
    raise BackupRefused(f"{path.name} is no backup of Modeldesk: it is neither an SQLite database nor a dump of pg_dump.")


def migration_of(path: Path) -> str:
    """Return the schema version of a backup of either kind. Raises `BackupRefused`."""
    if kind_of(path) == "sqlite":
        return inspect_backup(path).migration
    try:
        dump = _run_command(["pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(path)], {}).stdout
    except Unavailable as error:
        raise BackupRefused(f"{path.name} cannot be read. {error.detail}") from error
    match = re.search(r"^COPY [^\n]*alembic_version[^\n]*;\n([0-9a-z_]+)\n", dump, re.MULTILINE | re.ASCII)
    if match is None:
        raise BackupRefused(f"{path.name} is no dump of a Modeldesk: it holds no version of its tables.")
    return match[1]


def restore_sqlite(source: Path, target: Path, *, replace: bool, now: datetime | None = None) -> Path | None:
    """Replace the database with a backup, and return the path of the replaced database, if any. Every worker detects the new file.

    Raises `Conflict` if there is a database and `replace` is false.
    """
    inspect_backup(source)
    if target.exists() and not replace:
        raise Conflict(
            f"There is a database at {target}. Say --replace to put the backup in its place; it is kept beside it.", code="exists"
        )
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    shutil.copyfile(source, partial)
    replaced = None
    if target.exists():
        replaced = replaced_database_path(target, now)
        for suffix in ("", "-wal", "-shm", "-journal"):  # These files belong to the replaced database only.
            companion = target.with_name(f"{target.name}{suffix}")
            if companion.exists():
                companion.replace(f"{replaced}{suffix}")
    partial.replace(target)
    return replaced


def replaced_database_path(target: Path, now: datetime | None = None) -> Path:
    """Return the path to which a restore moves the current database."""
    return target.with_name(f"{target.name}{BEFORE_RESTORE}{now or datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def _dump_postgresql(database_url: str, target: Path) -> BackupContents:
    _run_tool("pg_dump", database_url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    contents = _run_command(["pg_restore", "--list", str(target)], {}).stdout
    if "registry_state" not in contents:
        raise BackupRefused("The dump holds no tables of Modeldesk. Check DATABASE_URL.")
    return BackupContents("", 0, 0, 0, target.stat().st_size)


def restore_postgresql(source: Path, database_url: str) -> None:
    """Replace every table of the database with those of the dump, in one transaction."""
    options = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
    _run_tool("pg_restore", database_url, *options, f"--dbname={make_url(database_url).database}", str(source))


def _run_tool(name: str, database_url: str, *options: str) -> None:
    """Run a PostgreSQL tool. The password goes through the environment, because every local user can read command lines."""
    url = make_url(database_url)
    query = {key: value for key, value in url.query.items() if isinstance(value, str)}
    environment = {
        "PGHOST": url.host or query.get("host"),
        "PGPORT": url.port or query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    _run_command([name, *options], {key: str(value) for key, value in environment.items() if value})


def _run_command(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        process = subprocess.run(  # noqa: S603 # PostgreSQL's tools, from the PATH of the user who runs this command.
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed: install PostgreSQL's client tools, and put them into PATH.") from None
    if process.returncode:
        message = " ".join(process.stderr.split())[:300]
        raise Unavailable(f"{command[0]} failed: {message}")
    return process
