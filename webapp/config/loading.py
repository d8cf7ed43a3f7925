"""Loading of the settings from the environment. An invalid value stops the start with one sentence that names the variable."""

from collections.abc import Mapping
from pathlib import Path

from webapp.config import parsers
from webapp.config.reader import ConfigError, SettingsReader
from webapp.config.settings import DEFAULT_DATABASE, LOOPBACK, ROOT, Settings, sqlite_path
from webapp.domain.accounts.openid import OpenId
from webapp.domain.accounts.weak_secrets import is_weak
from webapp.domain.credentials.environment_keys import BINDINGS_SETTING, parse_bindings, read_environment_keys
from webapp.domain.shared.setting_parsers import (
    integer_parser,
    parse_hosts,
    parse_label,
    parse_storage,
    parse_switch,
    seconds_parser,
    word_parser,
)

NO_NAMES: tuple[str, ...] = ()
NO_BINDINGS: dict[str, frozenset[str]] = {}
SECRET_KEY_FILE = "secret-key"
ENCRYPTION_KEYS_FILE = "encryption-keys"
MIN_SECRET = 32
OPENID_REQUIRED = ("MODELDESK_OIDC_ISSUER", "MODELDESK_OIDC_CLIENT_ID", "MODELDESK_OIDC_CLIENT_SECRET")
OPENID_OPTIONAL = ("MODELDESK_OIDC_NAME", "MODELDESK_OIDC_CREATE", "MODELDESK_OIDC_ROLE_CLAIM", "MODELDESK_OIDC_ROLES")
# Settings of the server (webapp/server): default and maximum.
SERVER_SETTINGS = {"PORT": (8000, 65_535), "WEB_CONCURRENCY": (2, 1_000), "WEB_THREADS": (8, 1_000)}
UNREADABLE = "a file that cannot be read"  # Not a valid key, so it locks the vault.


def load(environment: Mapping[str, str]) -> Settings:
    """Load the settings from environment variables, or from the files named by `NAME_FILE`. Raises `ConfigError`."""
    reader = SettingsReader(environment)
    instance = Path(reader.text("MODELDESK_INSTANCE_PATH") or ROOT / "instance").absolute()
    database_url = reader.parse("DATABASE_URL", DEFAULT_DATABASE, parsers.parse_database_url)
    embedded = sqlite_path(database_url) is not None
    openid = _openid(reader)
    secret_key, encryption_keys = _secret_key(reader, instance, embedded=embedded), _encryption_keys(reader, instance, embedded=embedded)
    _require_distinct_keys(secret_key, encryption_keys)
    server_settings = {name: server_setting(reader, name) for name in SERVER_SETTINGS}
    return Settings(
        database_url=database_url,
        secret_key=secret_key,
        encryption_keys=encryption_keys,
        encryption_keys_source=_encryption_keys_source(reader, embedded=embedded),
        trusted_hosts=reader.parse("MODELDESK_TRUSTED_HOSTS", LOOPBACK, parse_hosts),
        outbound_allow=frozenset(reader.parse("MODELDESK_OUTBOUND_ALLOW", NO_NAMES, parse_hosts)),
        cache_ttl=reader.parse("MODELDESK_CACHE_TTL", 300.0, seconds_parser(1, 86_400)),
        revision_poll=reader.parse("MODELDESK_REVISION_POLL", 0.25, seconds_parser(0.05, 0.5)),
        base_url=reader.parse("MODELDESK_BASE_URL", _default_base_url(environment), parsers.parse_public_url),
        base_url_configured=bool(reader.text("MODELDESK_BASE_URL")),
        sqlite_wal=reader.parse("MODELDESK_SQLITE_WAL", True, parse_switch),
        rate_limit_storage=reader.parse("MODELDESK_RATE_LIMIT_STORAGE", "database", parse_storage),
        four_eyes=reader.parse("MODELDESK_FOUR_EYES", True, parse_switch),
        sync_percent=reader.parse("MODELDESK_SYNC_PERCENT", 50, integer_parser(1, 1_000)),
        stale_price_days=reader.parse("MODELDESK_STALE_PRICE_DAYS", 90, integer_parser(1, 3_650)),
        second_factor_roles=reader.parse("MODELDESK_SECOND_FACTOR_ROLES", frozenset(), parsers.parse_roles),
        openid=openid,
        password_sign_in=_password_sign_in(reader, openid),
        proxies=reader.parse("MODELDESK_PROXIES", 0, integer_parser(0, 5)),
        threads=server_settings["WEB_THREADS"],
        access_log=reader.parse("MODELDESK_ACCESS_LOG", False, parse_switch),
        instance_path=instance,
        secret_files=_secret_files(reader, instance, embedded=embedded),
        environment=read_environment_keys(environment, reader.parse(BINDINGS_SETTING, NO_BINDINGS, parse_bindings)),
    )


def server_setting(reader: SettingsReader, name: str) -> int:
    """Return one of the `SERVER_SETTINGS`. Raises `ConfigError`."""
    default, maximum = SERVER_SETTINGS[name]
    return reader.parse(name, default, integer_parser(1, maximum))


def _openid(reader: SettingsReader) -> OpenId | None:
    """Return the OpenID settings, or None. Raises `ConfigError` for a partial configuration, which would reject users at sign-in."""
    present = [name for name in (*OPENID_REQUIRED, *OPENID_OPTIONAL) if reader.text(name)]
    if not present:
        return None
    missing = [name for name in OPENID_REQUIRED if name not in present]
    if missing:
        raise ConfigError(f"{present[0]} is set, but not {', '.join(missing)}: signing in through an identity provider needs all of them.")
    no_roles: dict[str, str] = {}
    roles = reader.parse("MODELDESK_OIDC_ROLES", no_roles, parsers.parse_role_mapping)
    claim = reader.parse("MODELDESK_OIDC_ROLE_CLAIM", "", word_parser(100)) or None
    if bool(roles) != bool(claim):
        raise ConfigError("MODELDESK_OIDC_ROLE_CLAIM and MODELDESK_OIDC_ROLES go together: set both or neither.")
    return OpenId(
        issuer=reader.parse("MODELDESK_OIDC_ISSUER", "", parsers.parse_issuer),
        client_id=reader.parse("MODELDESK_OIDC_CLIENT_ID", "", word_parser(500)),
        client_secret=reader.parse("MODELDESK_OIDC_CLIENT_SECRET", "", word_parser(2_000)),
        name=reader.parse("MODELDESK_OIDC_NAME", "single sign-on", parse_label),
        create=reader.parse("MODELDESK_OIDC_CREATE", False, parse_switch),
        role_claim=claim,
        roles=roles,
    )


def _password_sign_in(reader: SettingsReader, openid: OpenId | None) -> bool:
    allowed = reader.parse("MODELDESK_PASSWORD_SIGN_IN", True, parse_switch)
    if not allowed and openid is None:
        raise ConfigError("MODELDESK_PASSWORD_SIGN_IN is off, but there is no other way in: set MODELDESK_OIDC_ISSUER and what it needs.")
    return allowed


def _default_base_url(environment: Mapping[str, str]) -> str:
    host = environment.get("HOST", "127.0.0.1")
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{environment.get('PORT', '8000')}"  # noqa: S104 # compared only, not bound


def _secret_key(reader: SettingsReader, instance: Path, *, embedded: bool) -> str:
    configured = reader.text("MODELDESK_SECRET_KEY")
    key = configured or _stored_secret(instance / SECRET_KEY_FILE, embedded=embedded)
    if key is None:
        hint = f" This desk's own lies in {instance / SECRET_KEY_FILE}." if (instance / SECRET_KEY_FILE).is_file() else ""
        raise ConfigError(f"MODELDESK_SECRET_KEY is not set; it is created by itself only for the embedded database.{hint}")
    if len(key) < MIN_SECRET or len(set(key)) < 8 or is_weak(key):
        raise ConfigError(f"MODELDESK_SECRET_KEY must be at least {MIN_SECRET} random characters, and no example that others know.")
    return key


def _require_distinct_keys(secret_key: str, encryption_keys: str | None) -> None:
    """Raise `ConfigError` if both settings share a key: a leak of one must not expose the other."""
    if secret_key in [key.strip() for key in (encryption_keys or "").split(",")]:
        raise ConfigError("MODELDESK_SECRET_KEY is one of MODELDESK_ENCRYPTION_KEYS. Each needs a value of its own.")


def _encryption_keys(reader: SettingsReader, instance: Path, *, embedded: bool) -> str | None:
    """Return the encryption keys. An unreadable file locks the vault but does not stop the start: features that need no key still work."""
    try:
        return reader.text("MODELDESK_ENCRYPTION_KEYS") or _stored_secret(instance / ENCRYPTION_KEYS_FILE, embedded=embedded)
    except ConfigError:
        return UNREADABLE


def _encryption_keys_source(reader: SettingsReader, *, embedded: bool) -> str:
    """Describe the source of the encryption keys. Users who never set the variable need to know about the file."""
    name = "MODELDESK_ENCRYPTION_KEYS"
    if reader.environment.get(name, "").strip():
        return name
    if reader.environment.get(f"{name}_FILE"):
        return f"the file that {name}_FILE names"
    return f"the file {ENCRYPTION_KEYS_FILE} in the instance folder" if embedded else name


def _secret_files(reader: SettingsReader, instance: Path, *, embedded: bool) -> tuple[Path, ...]:
    """Return the files from which secrets are read."""
    paths = []
    for name, default_name in (("MODELDESK_SECRET_KEY", SECRET_KEY_FILE), ("MODELDESK_ENCRYPTION_KEYS", ENCRYPTION_KEYS_FILE)):
        configured = reader.environment.get(f"{name}_FILE")
        stored = instance / default_name if embedded and not reader.environment.get(name, "").strip() else None
        if path := Path(configured) if configured else stored:
            paths.append(path)
    return tuple(paths)


def _stored_secret(path: Path, *, embedded: bool) -> str | None:
    """Return a secret that an earlier start created for the embedded database, or None."""
    if not embedded or not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {path.name} in MODELDESK_INSTANCE_PATH cannot be read.") from error
