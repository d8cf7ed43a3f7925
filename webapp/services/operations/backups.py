"""Backup and restore through SQLite's backup API and PostgreSQL's tools, because a file copy of a database in use is corrupt.

A backup contains ciphertexts but never the encryption key. Store the key somewhere else, or the providers' keys are lost with it.
"""

import errno
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from webapp.config.settings import BEFORE_RESTORE, Settings
from webapp.config.sqlite_driver import COMPANIONS, ROLLBACK, companion, open_read_only, open_unused, sqlite
from webapp.config.storage_errors import is_disk_full
from webapp.domain.shared.errors import Conflict, DiskFull, ModeldeskError, Unavailable
from webapp.extensions.database_file import new_token, require_own_journal

SQLITE_HEADER = b"SQLite format 3\x00"
POSTGRESQL_HEADER = b"PGDMP"
TOOL_TIMEOUT_S = 3600
# Other connections can write between steps, and a write restarts the copy. Without a limit, a backup of a busy database might never end.
PAGES_PER_STEP, MAX_RESTARTS = 2_000, 3

NO_ROOM_FOR_BACKUP = "The disk is full, so no backup was made. Free some space, or name a file on another disk."


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
    try:
        with _partial_file(target) as partial:
            sqlite_path = settings.sqlite_path
            contents = _back_up_sqlite(sqlite_path, partial) if sqlite_path else _dump_postgresql(settings.database_url, partial)
            _sync(partial)
            partial.replace(target)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(NO_ROOM_FOR_BACKUP) from error
        raise Unavailable(
            f"The backup cannot be written: {error.strerror or type(error).__name__}. Check the folder and its space."
        ) from error
    return contents


@contextmanager
def _partial_file(target: Path) -> Iterator[Path]:
    """Create an empty file next to the target that only its owner can read. At the end nothing of it is left, unless it was moved."""
    partial = target.with_name(f".{target.name}.partial")
    leftovers = [partial, *(companion(partial, suffix) for suffix in COMPANIONS)]
    try:
        for path in leftovers:
            path.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield partial
    finally:
        for path in leftovers:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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


def _copy_pages(live: sqlite.Connection, copy: sqlite.Connection) -> None:
    """Copy in steps so that writers do not wait. Otherwise copy in one step, while writers wait for about a second per 100 MB."""
    try:
        live.backup(copy, pages=PAGES_PER_STEP, progress=_RestartCounter())
    except _TooManyRestarts:
        live.backup(copy, pages=-1)


def _back_up_sqlite(source: Path, target: Path) -> BackupContents:
    require_own_journal(source)
    try:
        with closing(_open_live(source)) as live:
            _copy_sqlite(live, target, "DELETE")
    except sqlite.Error as error:
        if is_disk_full(error):
            raise DiskFull(NO_ROOM_FOR_BACKUP) from error
        raise Unavailable(f"The database cannot be read: {error}. Run `doctor`.") from error
    return inspect_backup(target)


def _copy_sqlite(source: sqlite.Connection, target: Path, journal_mode: str) -> None:
    """Copy a database with the changes in its journal into one file, which no journal of the source belongs to."""
    with closing(sqlite.connect(target, isolation_level=None)) as copy:
        _copy_pages(source, copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # The token must be in the file itself, not in a WAL.
        copy.execute(f"PRAGMA user_version={new_token()}")
        copy.execute(f"PRAGMA journal_mode={journal_mode}")


def _open_live(path: Path) -> sqlite.Connection:
    """Open read-only if possible. Only a writable connection can roll back a transaction that a crash left incomplete."""
    connection = open_read_only(path)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite.OperationalError:
        connection.close()
        return sqlite.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)
    return connection


def inspect_backup(path: Path) -> BackupContents:
    """Return the contents of an SQLite backup. Raises `BackupRefused` unless it is a complete Modeldesk database."""
    try:
        with closing(open_unused(path)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise BackupRefused(f"{path.name} is damaged: {verdict[:200]}.")
            _require_known_triggers(connection, path)
            migration, revision, models, users = connection.execute(
                "SELECT (SELECT version_num FROM alembic_version), (SELECT revision FROM registry_state), "
                "(SELECT count(*) FROM models), (SELECT count(*) FROM users)"
            ).fetchone()
    except sqlite.Error as error:
        raise BackupRefused(f"{path.name} is no database of Modeldesk: {error}.") from error
    return BackupContents(migration, revision, models, users, path.stat().st_size)


# The migrations create only triggers that keep history rows immutable. Any other trigger or view would be foreign code.
_ALLOWED_TRIGGER = re.compile(
    r"CREATE TRIGGER (\w+)_no_(update|delete) BEFORE (UPDATE|DELETE) ON \"?\1\"? BEGIN SELECT RAISE\(ABORT, '[^']*'\); END", re.ASCII
)


def _require_known_triggers(connection: sqlite.Connection, path: Path) -> None:
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


def restore_sqlite(source: Path, target: Path, *, replace: bool, journal_mode: str = ROLLBACK, now: datetime | None = None) -> Path | None:
    """Replace the database with a backup, and return the path of the replaced database, if any. Every worker detects the new file.

    The journal of the replaced database moves with it, even if the database itself is gone already. Raises `Conflict` if there is a
    database and `replace` is false, and `DiskFull` if there is no room for the copy.
    """
    inspect_backup(source)
    if target.exists() and not replace:
        raise Conflict(
            f"There is a database at {target}. Say --replace to put the backup in its place; it is kept beside it.", code="exists"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with _partial_file(target) as partial:
        _copy_backup(source, partial, journal_mode)
        replaced = replaced_database_path(target, now) if target.exists() else None
        _move_database(target, replaced or replaced_database_path(target, now))
        partial.replace(target)
    return replaced


def _copy_backup(source: Path, partial: Path, journal_mode: str) -> None:
    try:
        with closing(open_unused(source)) as backup:
            _copy_sqlite(backup, partial, journal_mode)
        _sync(partial)
    except (sqlite.Error, OSError) as error:
        if is_disk_full(error):
            raise DiskFull("The disk is full, so nothing was restored. Free some space on the server, then try again.") from error
        raise Unavailable(f"The backup cannot be copied: {error}. Nothing was restored.") from error


def _move_database(database: Path, target: Path) -> None:
    """Move a database and the files that belong to it. The new database must not find any of them next to it."""
    for suffix in ("", *COMPANIONS):
        path = companion(database, suffix)
        if path.exists():
            path.replace(companion(target, suffix))


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
            command, env={**os.environ, "LC_ALL": "C", **environment}, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed: install PostgreSQL's client tools, and put them into PATH.") from None
    if process.returncode:
        message = " ".join(process.stderr.split())[:300]
        if os.strerror(errno.ENOSPC) in message:  # The tools have no exit code for it.
            raise DiskFull(f"{command[0]} found no room on a disk. Free some space, or name a file on another disk.")
        raise Unavailable(f"{command[0]} failed: {message}")
    return process
