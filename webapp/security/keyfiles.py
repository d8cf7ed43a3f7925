"""Creation of the secrets for the embedded database: once, readable only by their owner, and never if ciphertext exists already."""

import glob
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

from webapp.config.loading import ENCRYPTION_KEYS_FILE, SECRET_KEY_FILE
from webapp.config.reader import ConfigError, SettingsReader
from webapp.config.settings import BEFORE_RESTORE, DEFAULT_DATABASE, ROOT, last_good_path, sqlite_path
from webapp.config.sqlite_driver import open_read_only, sqlite
from webapp.config.storage_errors import is_disk_full

# All columns that the vault encrypts. A test compares them with the tables.
ENCRYPTED_COLUMNS = (("credentials", "ciphertext"), ("registry_state", "key_check"), ("users", "totp_pending"), ("users", "totp_secret"))


def ensure(environment: Mapping[str, str]) -> None:
    """Create missing secrets for the embedded database. Other databases must bring their own. Raises `ConfigError`."""
    read = SettingsReader(environment)
    url = read.text("DATABASE_URL") or DEFAULT_DATABASE
    database = sqlite_path(url)
    if database is None:
        return
    instance = Path(read.text("MODELDESK_INSTANCE_PATH") or ROOT / "instance")
    # First, so that an interrupted start does not leave an instance that seems to have lost its encryption key.
    if not _is_set(environment, "MODELDESK_ENCRYPTION_KEYS") and not _was_key_used(database, last_good_path(instance, url)):
        _create_file(instance / ENCRYPTION_KEYS_FILE, Fernet.generate_key().decode())
    if not _is_set(environment, "MODELDESK_SECRET_KEY"):
        _create_file(instance / SECRET_KEY_FILE, secrets.token_urlsafe(48))


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def _create_file(path: Path, secret: str) -> None:
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        if path.exists():
            return  # Another process created it first.
        raise _creation_error(path, error) from error
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secret}\n")
    except OSError as error:
        path.unlink()  # A later start would take an empty file for the secret.
        raise _creation_error(path, error) from error


def _creation_error(path: Path, error: OSError) -> ConfigError:
    if is_disk_full(error):
        return ConfigError(
            f"disk_full: MODELDESK_INSTANCE_PATH is on a full disk. {path.name} cannot be created there. Free some space and start again."
        )
    return ConfigError(f"MODELDESK_INSTANCE_PATH is a folder that cannot be written to, so {path.name} cannot be created there.")


def exposure_warnings(files: Iterable[Path]) -> list[str]:
    """Return a warning for each secret file that other users of this server can read."""
    modes = [(path, path.stat().st_mode & 0o777) for path in files if path.is_file()]
    return [
        f"{path} holds a secret and can be read by others on this machine (mode {mode:o}). Run `chmod 600` on it."
        for path, mode in modes
        if mode & 0o077
    ]


def _was_key_used(database: Path, last_good: Path) -> bool:
    """Return whether an earlier key was in use here. If so, a new key would make its ciphertext unreadable."""
    database_exists = database.is_file() and database.stat().st_size > 0
    return holds_ciphertext(database) if database_exists else bool(list_leftovers(database, last_good))


def list_leftovers(database: Path, last_good: Path) -> list[Path]:
    """Return the files that are left of a missing database.

    The database might be restored, so nothing may replace it or its key automatically. The file `secret-key` does not count: an
    interrupted first start can leave it, and then no ciphertext exists.
    """
    backups = sorted(database.parent.glob(f"{glob.escape(database.name)}{BEFORE_RESTORE}*"))
    return [last_good, *backups] if last_good.exists() else backups


def holds_ciphertext(database: Path) -> bool:
    """Return whether the database holds any ciphertext. An unreadable database counts, because it might."""
    try:
        with closing(open_read_only(database)) as connection:
            return any(_has_values(connection, table, column) for table, column in ENCRYPTED_COLUMNS)
    except sqlite.Error:
        return True


def _has_values(connection: sqlite.Connection, table: str, column: str) -> bool:
    if column not in {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}:
        return False  # An older or empty database, in which nothing is encrypted yet.
    rows = connection.execute(f"SELECT 1 FROM {table} WHERE {column} IS NOT NULL LIMIT 1")  # noqa: S608 - both are constants
    return rows.fetchone() is not None
