"""The address of the running server, in the instance folder, for commands that print links.

The server holds a lock on the file as long as one of its processes lives, so that the file of a killed server is ignored.
"""

import fcntl
import os
from pathlib import Path

FILE_NAME = "server-address"


def publish(instance: Path, url: str) -> None:
    """Write the address, and keep the file locked until this process and its children end. Another running server keeps its own entry."""
    try:
        file = os.open(instance / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file, 0)
        os.write(file, f"{url}\n".encode())
    except OSError:
        return  # A folder that cannot be written to, or another server. Commands then use the settings.


def read(instance: Path) -> str | None:
    """Return the address of the server that runs on this instance folder, or None."""
    try:
        with (instance / FILE_NAME).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or None
    except OSError:
        pass
    return None
