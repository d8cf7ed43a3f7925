"""The SQLite library of this process: the one that `pysqlite3` bundles, or else that of the standard library (docs/adr/0029).

Every module takes it from here, because a process must use only one. If two copies of SQLite open the same file, closing it in one of them
releases the locks of the other.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    sqlite = sqlite3  # pysqlite3 has the same interface, but no types.
else:
    try:
        from pysqlite3 import dbapi2 as sqlite
    except ImportError:  # There are wheels for common platforms only.
        import sqlite3 as sqlite

LIBRARY = f"SQLite {sqlite.sqlite_version} ({sqlite.__name__.partition('.')[0]})"
WAL, ROLLBACK = "WAL", "TRUNCATE"
# Files that SQLite keeps next to a database. They belong to this database only, and a pending one contains committed changes.
WAL_FILE, SHARED_MEMORY_FILE, JOURNAL_FILE = "-wal", "-shm", "-journal"
COMPANIONS = (WAL_FILE, SHARED_MEMORY_FILE, JOURNAL_FILE)


def is_wal_safe(version: tuple[int, ...] = sqlite.sqlite_version_info) -> bool:
    """Return whether a version of SQLite is free of the defect with which two writers could corrupt a database in WAL mode.

    The defect is in every version before 3.51.3, and in the withdrawn 3.52.0 (security.md, finding 6).
    """
    return version >= (3, 51, 3) and version[:2] != (3, 52)


def companion(database: Path, suffix: str) -> Path:
    return database.with_name(f"{database.name}{suffix}")


def has_pending_changes(database: Path) -> bool:
    """Return whether a file next to the database contains changes that are not in the database file yet."""
    return any(_size(companion(database, suffix)) for suffix in (WAL_FILE, JOURNAL_FILE))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_writable(database: Path) -> bool:
    """Return whether this process can write to the file and to its folder, in which SQLite creates the journal."""
    return all(os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids) for path in (database, database.parent))


def open_read_only(database: Path, *, check_same_thread: bool = True) -> sqlite.Connection:
    """Open a database that other processes can change. Without write access and a journal, SQLite cannot open one in WAL mode otherwise."""
    return _connect(database, is_immutable=not is_writable(database), check_same_thread=check_same_thread)


def open_unused(database: Path) -> sqlite.Connection:
    """Open a database that no process changes, such as a backup, without creating a file next to it."""
    return _connect(database, is_immutable=True)


def _connect(database: Path, *, is_immutable: bool, check_same_thread: bool = True) -> sqlite.Connection:
    """Open a file read-only. An immutable one is opened without locks, unless there are changes to be read from its journal."""
    mode = "mode=ro&immutable=1" if is_immutable and not has_pending_changes(database) else "mode=ro"
    uri = f"{database.absolute().as_uri()}?{mode}"
    return sqlite.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=check_same_thread)
