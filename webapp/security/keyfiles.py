"""Creates the secrets of the embedded database once, readable by their owner only; never over existing ciphertext."""

import os
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

from webapp.config import DEFAULT_DATABASE, ENCRYPTION_KEYS_FILE, ROOT, SECRET_KEY_FILE, ConfigError, Reader, sqlite_path


def ensure(environment: Mapping[str, str]) -> None:
    """Makes what is missing for the embedded database. Other databases must bring their own secrets. Raises `ConfigError`."""
    read = Reader(environment)
    database = sqlite_path(read.text("DATABASE_URL") or DEFAULT_DATABASE)
    if database is None:
        return
    instance = Path(read.text("MODELDESK_INSTANCE_PATH") or ROOT / "instance")
    if not _given(environment, "MODELDESK_SECRET_KEY"):
        _create(instance / SECRET_KEY_FILE, secrets.token_urlsafe(48))
    if not _given(environment, "MODELDESK_ENCRYPTION_KEYS") and not holds_ciphertext(database):
        _create(instance / ENCRYPTION_KEYS_FILE, Fernet.generate_key().decode())


def _given(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def _create(path: Path, secret: str) -> None:
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        if path.exists():
            return  # Another process was quicker.
        raise ConfigError(
            f"MODELDESK_INSTANCE_PATH is a folder that cannot be written to, so {path.name} cannot be created there."
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secret}\n")


def holds_ciphertext(database: Path) -> bool:
    """Whether an earlier key was in use here; then a new one would make what it encrypted unreadable."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM credentials) + (SELECT count(*) FROM registry_state WHERE key_check IS NOT NULL)"
            )
            return bool(found.fetchone()[0])
    except sqlite3.Error as error:
        return "no such table" not in str(error)  # Without its tables nothing was ever encrypted; whatever else fails may hide something.
