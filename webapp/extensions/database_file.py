"""The file of the embedded database: its identity, its journal mode, and the check that the journal next to it is its own.

SQLite applies a journal that it finds next to a database without checking which database it belongs to. If a person replaces the database
and leaves the journal of the old one, the result is a corrupt mixture. So each database has a random token in its header (`user_version`),
and a small file next to it holds the token and the inode of the database that the journal belongs to.
"""

import os
import secrets
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from webapp.config.sqlite_driver import ROLLBACK, WAL, companion, has_pending_changes, is_wal_safe, is_writable, sqlite
from webapp.config.storage_errors import StorageError, classify, is_disk_full
from webapp.domain.shared.errors import DatabaseUnreachable, DiskFull

OWNER_FILE = "-owner"
BUSY_TIMEOUT_MS = 5000
FOREIGN_JOURNAL = (
    "The database file was replaced, but a file with the suffix -wal or -journal next to it belongs to the earlier one. Nothing was "
    "changed. Move the files with these suffixes and -shm away, or put the earlier file back. Use `restore` to replace a database."
)
UNSAFE_WAL = "The database is in WAL mode, which this SQLite cannot write safely. Stop the server and run `prepare`."
_TOKEN_OFFSET, _TOKEN_BYTES = 60, 4  # `user_version` in SQLite's file format.
MAX_PINNED_FILES = 8
_opened: dict[Path, "PinnedFile"] = {}  # The file that this process last opened at each path.
_opened_lock = threading.Lock()


class PinnedFile:
    """A file whose inode number is not given to another file while it is pinned. It cannot be read, and no lock depends on it."""

    def __init__(self, path: Path, device: int, inode: int) -> None:
        self.device, self.inode = device, inode
        # Linux only. macOS does not reuse inode numbers.
        self._descriptor = os.open(path, os.O_PATH) if hasattr(os, "O_PATH") else None

    def is_same(self, status: os.stat_result) -> bool:
        return (self.device, self.inode) == (status.st_dev, status.st_ino)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class Owner(NamedTuple):
    """The database that a journal belongs to."""

    token: int
    inode: int


def file_identity(path: Path) -> tuple[int, ...] | None:
    """Return the device and inode of the file at this path, or None.

    A file that cannot be written to is opened without locks, so for such a file the identity changes with the content too.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    identity = status.st_dev, status.st_ino
    return identity if is_writable(path) else (*identity, status.st_mtime_ns, status.st_size, int(has_pending_changes(path)))


def require_own_journal(path: Path) -> None:
    """Raise `DatabaseUnreachable` if the journal next to the database belongs to another database.

    The header is read only before this process has opened the file: closing any descriptor of a file releases the process's locks on it.
    """
    with _opened_lock:
        try:
            status = path.stat()
        except OSError:
            return
        if path in _opened and _opened[path].is_same(status):
            return
        pending, recorded = has_pending_changes(path), _read_owner(path)  # In this order: another process writes the owner first.
        owner = Owner(_read_token(path), status.st_ino)
        if pending and recorded and owner.token and not _is_owner(recorded, owner, was_replaced=path in _opened):
            raise DatabaseUnreachable(FOREIGN_JOURNAL)
        if owner.token and recorded != owner:
            _write_owner(path, owner)
        _pin(path, status)


def _pin(path: Path, status: os.stat_result) -> None:
    if path in _opened:
        _opened.pop(path).release()
    elif len(_opened) >= MAX_PINNED_FILES:
        _opened.pop(next(iter(_opened))).release()
    with suppress(OSError):
        _opened[path] = PinnedFile(path, status.st_dev, status.st_ino)


def _is_owner(recorded: Owner, owner: Owner, *, was_replaced: bool) -> bool:
    """Compare the inodes only if this process has seen the replacement. Otherwise the folder may have been moved to another disk."""
    return recorded.token == owner.token and (recorded.inode == owner.inode or not was_replaced)


def _read_token(path: Path) -> int:
    try:
        with path.open("rb") as file:
            file.seek(_TOKEN_OFFSET)
            return int.from_bytes(file.read(_TOKEN_BYTES), "big")
    except OSError:
        return 0


def _read_owner(path: Path) -> Owner | None:
    try:
        token, inode = companion(path, OWNER_FILE).read_text(encoding="ascii").split()
        return Owner(int(token), int(inode))
    except (OSError, ValueError):
        return None


def _write_owner(path: Path, owner: Owner) -> None:
    """Replace the owner file. Without one, any journal is accepted, so an outdated one must not remain if the new one cannot be written."""
    file, status = companion(path, OWNER_FILE), path.stat()
    with suppress(OSError):
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, status.st_mode & 0o777)
        with os.fdopen(descriptor, "w", encoding="ascii") as record:
            record.write(f"{owner.token} {owner.inode}\n")
        if os.geteuid() == 0:  # A command of root must not lock the server out. SQLite does the same with its files.
            os.chown(file, status.st_uid, status.st_gid)


def new_token() -> int:
    """Return a random token for a database file. It is never 0, which means that a file has none."""
    return secrets.randbelow(2**31 - 1) + 1


def journal_mode(*, wal: bool) -> str:
    """Return the journal mode to use. `wal` is false if a setting excludes WAL."""
    return WAL if wal and is_wal_safe() else ROLLBACK


def current_journal_mode(connection: sqlite.Connection) -> str:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    return WAL if mode == "wal" else ROLLBACK


def use_journal_mode(path: Path, mode: str) -> str:
    """Switch the database to a journal mode, and return its mode: the old one if other processes keep using the database.

    Only commands that prepare a database call this. A server uses the mode that it finds, and never changes a file that it cannot use.
    Raises `DatabaseUnreachable` or `DiskFull`.
    """
    require_own_journal(path)
    try:
        return _try_journal_mode(path, mode)
    except sqlite.Error as error:
        raise (DiskFull() if is_disk_full(error) else DatabaseUnreachable()) from error


def _try_journal_mode(path: Path, mode: str) -> str:
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    with closing(sqlite.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=1, isolation_level=None)) as connection:
        while current_journal_mode(connection) != mode:
            try:
                _switch(connection, path, mode)
                break
            except sqlite.OperationalError as error:
                # SQLite does not wait if two connections switch at the same time.
                if classify(error) is not StorageError.BUSY:
                    raise
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        return current_journal_mode(connection)


def _switch(connection: sqlite.Connection, path: Path, mode: str) -> None:
    if mode == WAL:
        _ensure_token(connection, path)
    connection.execute(f"PRAGMA journal_mode={mode}")


def _ensure_token(connection: sqlite.Connection, path: Path) -> None:
    """Give the file a token before it has a WAL: the header is compared as it is in the file, without the changes in the WAL."""
    (token,) = connection.execute("PRAGMA user_version").fetchone()
    if not token:
        token = new_token()
        connection.execute(f"PRAGMA user_version={token}")
    _write_owner(path, Owner(token, path.stat().st_ino))
