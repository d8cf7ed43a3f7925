"""Backups and restoring: through SQLite's backup API and PostgreSQL's own tools, because a copied file of a database in use is broken.

A backup holds ciphertexts and never the encryption key: keep that somewhere else, or the providers' keys are lost with it.
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
# Between pieces others may write, and a write begins the copy anew: without an end to that, a busy desk would never have a backup.
PAGES_PER_STEP, MAX_RESTARTS = 2_000, 3


class BackupRefused(ModeldeskError):
    """A file is no backup, or one of another kind."""

    status = 422
    code = "no_backup"


@dataclass(frozen=True, slots=True)
class BackupContents:
    """What a backup holds, to be said before and after."""

    migration: str
    revision: int
    models: int
    users: int
    bytes: int


def back_up(settings: Settings, target: Path, *, replace: bool = False) -> BackupContents:
    """Writes a checked backup, readable by its owner only. Raises `Conflict` if the file exists, `Unavailable` if it cannot be made."""
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
    """The copy began anew too often."""


class _RestartCounter:
    """Watches a copy in pieces, and ends it when it has begun anew too often."""

    def __init__(self) -> None:
        self.left, self.restarts = 0, 0

    def __call__(self, _status: int, left: int, _total: int) -> None:
        self.restarts += left > self.left > 0
        self.left = left
        if self.restarts >= MAX_RESTARTS:
            raise _TooManyRestarts


def _copy_pages(live: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    """In pieces if it can be, so that nobody waits; else in one, while writers wait for about a second per 100 MB."""
    try:
        live.backup(copy, pages=PAGES_PER_STEP, progress=_RestartCounter())
    except _TooManyRestarts:
        live.backup(copy, pages=-1)


def _copy_sqlite(source: Path, target: Path) -> BackupContents:
    try:
        with closing(_open_live(source)) as live, closing(sqlite3.connect(target)) as copy:
            _copy_pages(live, copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # One file, with nothing beside it.
    except sqlite3.Error as error:
        raise Unavailable(f"The database cannot be read: {error}. Run `doctor`.") from error
    return inspect_backup(target)


def _open_live(path: Path) -> sqlite3.Connection:
    """Read-only if that is enough. What a crash left half written can be taken back only by somebody who may write."""
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
    """What an SQLite backup holds. Raises `BackupRefused` unless it is a whole database of Modeldesk."""
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


# What the migrations make: a row of history is never changed or removed. Any other trigger or view would be somebody else's code.
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
    """`sqlite` or `postgresql`, by the first bytes. Raises `BackupRefused`."""
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
    """The schema that a backup has, of either kind. Raises `BackupRefused`."""
    if kind_of(path) == "sqlite":
        return inspect_backup(path).migration
    try:
        told = _run_command(["pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(path)], {}).stdout
    except Unavailable as error:
        raise BackupRefused(f"{path.name} cannot be read. {error.detail}") from error
    found = re.search(r"^COPY [^\n]*alembic_version[^\n]*;\n([0-9a-z_]+)\n", told, re.MULTILINE | re.ASCII)
    if found is None:
        raise BackupRefused(f"{path.name} is no dump of a Modeldesk: it holds no version of its tables.")
    return found[1]


def restore_sqlite(source: Path, target: Path, *, replace: bool, now: datetime | None = None) -> Path | None:
    """Puts a backup in the place of the database, which is kept beside it; gives that path. Every worker notices the new file.

    Raises `Conflict` if there is a database and `replace` was not said.
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
    kept = None
    if target.exists():
        kept = replaced_database_path(target, now)
        for suffix in ("", "-wal", "-shm", "-journal"):  # What lies beside it belongs to it, and to nothing else.
            beside = target.with_name(f"{target.name}{suffix}")
            if beside.exists():
                beside.replace(f"{kept}{suffix}")
    partial.replace(target)
    return kept


def replaced_database_path(target: Path, now: datetime | None = None) -> Path:
    """Where what is there now is kept when a backup takes its place."""
    return target.with_name(f"{target.name}{BEFORE_RESTORE}{now or datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def _dump_postgresql(database_url: str, target: Path) -> BackupContents:
    _run_tool("pg_dump", database_url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    listed = _run_command(["pg_restore", "--list", str(target)], {}).stdout
    if "registry_state" not in listed:
        raise BackupRefused("The dump holds no tables of Modeldesk. Check DATABASE_URL.")
    return BackupContents("", 0, 0, 0, target.stat().st_size)


def restore_postgresql(source: Path, database_url: str) -> None:
    """Replaces every table of the database by those of the dump, in one transaction: all of it or nothing."""
    options = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
    _run_tool("pg_restore", database_url, *options, f"--dbname={make_url(database_url).database}", str(source))


def _run_tool(name: str, database_url: str, *options: str) -> None:
    """One of PostgreSQL's tools. The password goes by the environment: everybody can read a command line."""
    url = make_url(database_url)
    query = {key: value for key, value in url.query.items() if isinstance(value, str)}
    given = {
        "PGHOST": url.host or query.get("host"),
        "PGPORT": url.port or query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    _run_command([name, *options], {key: str(value) for key, value in given.items() if value})


def _run_command(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(  # noqa: S603 # PostgreSQL's own tools, from the path of whoever runs this
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed: install PostgreSQL's client tools, and put them into PATH.") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:300]
        raise Unavailable(f"{command[0]} failed: {said}")
    return done
