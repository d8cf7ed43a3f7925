"""What an error of a database or a file system means. No other module reads the error codes of SQLite, PostgreSQL and the system."""

import errno
import os
from enum import StrEnum
from pathlib import Path

from webapp.config.sqlite_driver import sqlite

MIN_FREE_BYTES = 1_000_000  # Less than this counts as full: a change needs room for its journal, too.


class StorageError(StrEnum):
    """The kinds of errors that have their own message and code."""

    DISK_FULL = "disk_full"
    BUSY = "busy"
    READ_ONLY = "read-only"


# Primary result codes of SQLite: SQLITE_BUSY, SQLITE_LOCKED, SQLITE_READONLY, SQLITE_FULL.
_BY_SQLITE_CODE = {5: StorageError.BUSY, 6: StorageError.BUSY, 8: StorageError.READ_ONLY, 13: StorageError.DISK_FULL}
# The bundled library gives an error of a backup no code, only SQLite's fixed text for it.
_BY_SQLITE_TEXT = {
    "database is locked": StorageError.BUSY,
    "attempt to write a readonly database": StorageError.READ_ONLY,
    "database or disk is full": StorageError.DISK_FULL,
}
_BY_SQLSTATE = {
    "53100": StorageError.DISK_FULL,
    "25006": StorageError.READ_ONLY,
    "40001": StorageError.BUSY,  # Serialization failure.
    "40P01": StorageError.BUSY,  # Deadlock.
    "55P03": StorageError.BUSY,  # Lock not available.
    "57014": StorageError.BUSY,  # Statement canceled by its timeout.
}
_BY_ERRNO = {errno.ENOSPC: StorageError.DISK_FULL, errno.EDQUOT: StorageError.DISK_FULL, errno.EROFS: StorageError.READ_ONLY}


def classify(error: BaseException) -> StorageError | None:
    """Return what an error of a driver, of SQLAlchemy or of the operating system means, or None if it has no kind of its own."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError):
        return _BY_ERRNO.get(cause.errno or 0)
    if isinstance(cause, sqlite.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return _BY_SQLITE_TEXT.get(str(cause)) if code is None else _BY_SQLITE_CODE.get(code & 0xFF)  # The primary code of an extended one.
    return _BY_SQLSTATE.get(getattr(cause, "sqlstate", None) or "")


def is_disk_full(error: BaseException) -> bool:
    return classify(error) is StorageError.DISK_FULL


def has_room(folder: Path) -> bool:
    """Return whether the file system of this folder has room for changes. An unknown amount counts as room."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return True
    has_files = status.f_favail > 0 or status.f_files == 0  # Some file systems have no fixed number of files.
    return has_files and status.f_bavail * status.f_frsize >= MIN_FREE_BYTES
