"""The immutable settings of one application, and the paths derived from them."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from webapp.domain.accounts.openid import OpenId
from webapp.domain.credentials.environment_keys import EnvironmentKeys

ROOT = Path(__file__).resolve().parent.parent.parent
LOOPBACK: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
DEFAULT_DATABASE = "sqlite:///instance/modeldesk.sqlite3"
BEFORE_RESTORE = ".before-restore-"  # Suffix of the database file that a restore replaced; it stays next to the database.


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Durations are in seconds."""

    database_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    encryption_keys: str | None = field(default=None, repr=False)
    encryption_keys_source: str = "MODELDESK_ENCRYPTION_KEYS"  # A description without a path, because pages show it.
    trusted_hosts: tuple[str, ...] = LOOPBACK
    outbound_allow: frozenset[str] = frozenset()
    cache_ttl: float = 300.0
    revision_poll: float = 0.25
    base_url: str = "http://127.0.0.1:8000"
    base_url_configured: bool = False  # Otherwise it is derived from HOST and PORT.
    four_eyes: bool = True
    sync_percent: int = 50
    stale_price_days: int = 90
    second_factor_roles: frozenset[str] = frozenset()
    openid: OpenId | None = None
    password_sign_in: bool = True
    proxies: int = 0
    threads: int = 8
    access_log: bool = False
    sqlite_wal: bool = True
    rate_limit_storage: str = "database"  # Storage for the counts of sign-in attempts.
    instance_path: Path = ROOT / "instance"
    secret_files: tuple[Path, ...] = ()
    environment: EnvironmentKeys = field(default_factory=EnvironmentKeys, repr=False)

    @property
    def ignored_settings(self) -> tuple[str, ...]:
        """Warnings about settings without effect, shown at each start and by `doctor`."""
        if self.rate_limit_storage == "database":
            return ()
        return ("MODELDESK_RATE_LIMIT_STORAGE names Redis, which is not asked: attempts to sign in are counted in the database.",)

    @property
    def sqlite_path(self) -> Path | None:
        """Path of the embedded database, or None on PostgreSQL."""
        return sqlite_path(self.database_url)

    @property
    def last_good_path(self) -> Path:
        """Path of the last-good copy, which is used when the database is unreachable. Each database has its own."""
        return last_good_path(self.instance_path, self.database_url)


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite URL, or None for other databases. Relative paths start at the project root."""
    if not url.startswith("sqlite:///"):
        return None
    return ROOT / url.removeprefix("sqlite:///")


def last_good_path(instance: Path, database_url: str) -> Path:
    return instance / f"last-good-{hashlib.sha256(database_url.encode()).hexdigest()[:16]}.json"
