"""Settings: read once and validated. Errors name the setting, never its value."""

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from domain.accounts.test_weak_secrets import KNOWN

from webapp.config.loading import load
from webapp.config.reader import ConfigError
from webapp.config.settings import Settings
from webapp.config.sqlite_driver import sqlite
from webapp.security import keyfiles
from webapp.security.vault import Vault
from webapp.services.credentials.rotation import encrypted_columns
from webapp.services.operations.backups import replaced_database_path

SECRET = "an-honest-one-Hq7dV2xN9rTb4LkYw8sPz3JmC6fGu5Ea"
GOOD = {"MODELDESK_SECRET_KEY": SECRET}


def settings(**environment) -> Settings:
    return load(GOOD | environment)


def test_the_defaults_are_those_of_the_contract():
    defaults = settings()
    assert defaults.database_url == "sqlite:///instance/modeldesk.sqlite3"
    assert (defaults.cache_ttl, defaults.revision_poll, defaults.outbound_allow) == (300.0, 0.25, frozenset())
    assert defaults.trusted_hosts == ("localhost", "127.0.0.1", "[::1]")


def test_attempts_are_counted_in_the_database_and_whoever_asks_for_redis_is_told():
    assert settings(MODELDESK_RATE_LIMIT_STORAGE="database").ignored_settings == settings().ignored_settings == ()
    for url in ("redis://:hunter2@cache.example:6379/0", "rediss://cache.example"):
        (warning,) = settings(MODELDESK_RATE_LIMIT_STORAGE=url).ignored_settings
        assert ("MODELDESK_RATE_LIMIT_STORAGE" in warning, "counted in the database" in warning, "cache" in warning) == (True, True, False)


BAD = [
    ("DATABASE_URL", "mysql://root:hunter2@db/x"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("DATABASE_URL", "postgresql://u:hunter2@h/x"),
    ("DATABASE_URL", "postgresql+psycopg://u:hunter2@h:port/x"),
    ("DATABASE_URL", "hunter2"),
    ("DATABASE_URL", "postgresql+psycopg://u:hunter2@[::1/x"),
    ("MODELDESK_SECRET_KEY", "hunter2"),
    ("MODELDESK_SECRET_KEY", "hunter2" * 10),
    ("MODELDESK_SECRET_KEY", "a" * 64),
    ("MODELDESK_SECRET_KEY", "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET"),
    ("MODELDESK_SECRET_KEY", "dev"),
    ("MODELDESK_TRUSTED_HOSTS", "a b"),
    ("MODELDESK_TRUSTED_HOSTS", "http://hunter2"),
    ("MODELDESK_OUTBOUND_ALLOW", "http://hunter2/x"),
    ("MODELDESK_CACHE_TTL", "0"),
    ("MODELDESK_CACHE_TTL", "hunter2"),
    ("MODELDESK_CACHE_TTL", "1e9"),
    ("MODELDESK_CACHE_TTL", "nan"),
    ("MODELDESK_CACHE_TTL", "-1"),
    ("MODELDESK_CACHE_TTL", "٣"),
    ("MODELDESK_SECOND_FACTOR_ROLES", "admin,hunter2"),
    ("MODELDESK_PROXIES", "hunter2"),
    ("MODELDESK_PROXIES", "6"),
    ("MODELDESK_SQLITE_WAL", "hunter2"),
    ("MODELDESK_REVISION_POLL", "0"),
    ("MODELDESK_REVISION_POLL", "60"),
    ("MODELDESK_RATE_LIMIT_STORAGE", "memory://hunter2"),
    ("MODELDESK_RATE_LIMIT_STORAGE", "redis://:hunter2@cache example"),
    ("MODELDESK_RATE_LIMIT_STORAGE", "redis://"),
    ("MODELDESK_BASE_URL", "ftp://hunter2"),
    ("MODELDESK_BASE_URL", "http://["),
    ("MODELDESK_BASE_URL", "https://user:hunter2@x.example"),
    ("MODELDESK_BASE_URL", "http://x\u2100.example"),
    ("MODELDESK_BASE_URL", "https://"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}-{number}" for number, (name, _) in enumerate(BAD)])
def test_a_setting_that_makes_no_sense_is_named_and_never_shown(name, value, tmp_path):
    (tmp_path / "file").write_text(value)
    for environment in ({name: value}, {f"{name}_FILE": str(tmp_path / "file"), name: ""}):
        with pytest.raises(ConfigError) as refused:
            settings(**environment)
        message = str(refused.value)
        assert (name in message, "hunter2" in message, len(value) > 9 and value in message, message.count("\n")) == (True, False, False, 0)


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://u:p%40ss@db.example:5432/x", "postgresql+psycopg:///x?host=/tmp", "sqlite:////var/x.sqlite3"]
)
def test_addresses_of_databases_are_taken(url):
    assert settings(DATABASE_URL=url).database_url == url


def test_a_setting_can_come_from_a_file(tmp_path):
    (tmp_path / "ttl").write_text(" 7.5\n")
    assert settings(MODELDESK_CACHE_TTL_FILE=str(tmp_path / "ttl")).cache_ttl == 7.5


@pytest.mark.parametrize("name", ["DATABASE_URL", "MODELDESK_SECRET_KEY", "MODELDESK_CACHE_TTL", "MODELDESK_TRUSTED_HOSTS"])
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        with pytest.raises(ConfigError, match=f"{name}_FILE"):
            settings(**{f"{name}_FILE": str(path)})


def test_no_secret_is_in_the_representation():
    loaded = settings(DATABASE_URL="postgresql+psycopg://u:hunter2@h/x", MODELDESK_ENCRYPTION_KEYS="hunter2", OPENAI_API_KEY="hunter2")
    assert "hunter2" not in repr(loaded)
    assert SECRET not in repr(loaded)


def test_each_database_has_its_own_copy():
    first, second = settings(), settings(DATABASE_URL="sqlite:///other.sqlite3")
    assert first.last_good_path != second.last_good_path
    assert "hunter2" not in str(settings(DATABASE_URL="postgresql+psycopg://u:hunter2@h/x").last_good_path)


@pytest.mark.parametrize("known", [*KNOWN, "a" * 64, "dev", "changeme", "sk-1234", "thisISaSECRET_1234"])
def test_t03_a_secret_key_that_others_know_is_refused_by_name_and_not_shown(known):
    with pytest.raises(ConfigError, match="MODELDESK_SECRET_KEY") as refused:
        settings(MODELDESK_SECRET_KEY=known)
    assert known not in str(refused.value)


def test_t03_one_value_is_not_both_the_secret_key_and_an_encryption_key(tmp_path):
    key = Fernet.generate_key().decode()
    (tmp_path / "keys").write_text(f"{Fernet.generate_key().decode()}, {key}\n")
    for keys in ({"MODELDESK_ENCRYPTION_KEYS": key}, {"MODELDESK_ENCRYPTION_KEYS_FILE": str(tmp_path / "keys")}):
        with pytest.raises(ConfigError, match="MODELDESK_SECRET_KEY is one of MODELDESK_ENCRYPTION_KEYS") as refused:
            settings(MODELDESK_SECRET_KEY=key, **keys)
        assert key not in str(refused.value)


# Keys never stop the start


@pytest.mark.parametrize("keys", ["no key", "é", ",", Fernet.generate_key().decode()[:-3]], ids=["words", "not ASCII", "comma", "cut off"])
def test_malformed_keys_lock_the_vault_and_do_not_stop_the_start(keys, tmp_path):
    loaded = settings(MODELDESK_ENCRYPTION_KEYS=keys, MODELDESK_INSTANCE_PATH=str(tmp_path))
    assert Vault(loaded.encryption_keys).locked


def test_a_key_file_that_cannot_be_read_locks_the_vault_and_does_not_stop_the_start(tmp_path):
    vault = Vault(settings(MODELDESK_ENCRYPTION_KEYS_FILE=str(tmp_path / "none")).encryption_keys)
    assert (vault.locked, "MODELDESK_ENCRYPTION_KEYS" in vault.reason) == (True, True)


# Generated secrets


@pytest.fixture
def home(tmp_path) -> dict[str, str]:
    return {"MODELDESK_INSTANCE_PATH": str(tmp_path / "instance"), "DATABASE_URL": f"sqlite:///{tmp_path / 'desk.sqlite3'}"}


def made(home) -> list[str]:
    folder = Path(home["MODELDESK_INSTANCE_PATH"])
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_the_embedded_database_gets_secrets_of_its_own_once_for_its_owner_only(home):
    keyfiles.ensure(home)
    first = load(home)
    keyfiles.ensure(home)
    assert (load(home).secret_key, load(home).encryption_keys) == (first.secret_key, first.encryption_keys)
    assert not Vault(first.encryption_keys).locked
    modes = [stat.S_IMODE((Path(home["MODELDESK_INSTANCE_PATH"]) / name).stat().st_mode) for name in made(home)]
    assert (made(home), modes) == (["encryption-keys", "secret-key"], [0o600, 0o600])


def test_any_other_database_must_bring_its_own(home, tmp_path):
    (tmp_path / "url").write_text("postgresql+psycopg://h/x")
    for database in ({"DATABASE_URL": "postgresql+psycopg://h/x"}, {"DATABASE_URL": "", "DATABASE_URL_FILE": str(tmp_path / "url")}):
        keyfiles.ensure(home | database)
        assert made(home) == []
        with pytest.raises(ConfigError, match="MODELDESK_SECRET_KEY"):
            load(home | database)


@pytest.mark.parametrize("given", ["DATABASE_URL", "DATABASE_URL_FILE"])
def test_no_key_is_made_over_what_another_key_encrypted(home, tmp_path, given):
    with closing(sqlite.connect(tmp_path / "desk.sqlite3")) as database:
        database.execute("CREATE TABLE credentials (id)")
        database.execute("CREATE TABLE registry_state (key_check)")
        database.execute("INSERT INTO registry_state VALUES ('encrypted')")
        database.commit()
    (tmp_path / "url").write_text(home["DATABASE_URL"])
    keyfiles.ensure(home if given == "DATABASE_URL" else home | {"DATABASE_URL": "", "DATABASE_URL_FILE": str(tmp_path / "url")})
    assert made(home) == ["secret-key"]
    assert Vault(load(home).encryption_keys).locked


@pytest.mark.parametrize(("table", "column"), keyfiles.ENCRYPTED_COLUMNS)
def test_t24_whatever_is_encrypted_keeps_a_new_key_from_being_made(home, tmp_path, table, column):
    with closing(sqlite.connect(tmp_path / "desk.sqlite3")) as database:
        database.execute(f"CREATE TABLE {table} ({column})")
        database.execute(f"INSERT INTO {table} VALUES (NULL)")
        database.commit()
        assert not keyfiles.holds_ciphertext(tmp_path / "desk.sqlite3")
        database.execute(f"INSERT INTO {table} VALUES ('encrypted')")
        database.commit()
    keyfiles.ensure(home)
    assert made(home) == ["secret-key"]


def test_t24_what_is_looked_for_is_all_that_the_tables_encrypt():
    assert sorted(keyfiles.ENCRYPTED_COLUMNS) == sorted((column.table.name, column.name) for column in encrypted_columns())


LEFT = {
    "its last-good copy": lambda home, _: load(home | GOOD).last_good_path,
    "what a restore replaced": lambda _, database: replaced_database_path(database),
}


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("database", ["gone", "an empty file"])
def test_t24_no_key_is_made_while_the_database_is_away(home, tmp_path, left, database):
    """The database might come back, and then a new key could not decrypt it."""
    path = tmp_path / "desk.sqlite3"
    (tmp_path / "instance").mkdir()
    LEFT[left](home, path).write_text("{}")
    if database == "an empty file":
        path.touch()
    keyfiles.ensure(home)
    assert "encryption-keys" not in made(home)
    assert Vault(load(home).encryption_keys).locked


def test_a_first_start_that_broke_off_after_either_file_goes_on(home, tmp_path):
    keyfiles.ensure(home)
    for name in ("encryption-keys", "secret-key"):
        (tmp_path / "instance" / name).unlink()
        keyfiles.ensure(home)
        assert made(home) == ["encryption-keys", "secret-key"]


def test_what_another_database_left_keeps_no_key_from_being_made(home):
    copy = load(home | GOOD | {"DATABASE_URL": "sqlite:////elsewhere/desk.sqlite3"}).last_good_path
    copy.parent.mkdir()
    copy.write_text("{}")
    keyfiles.ensure(home)
    assert "encryption-keys" in made(home)


def test_no_key_is_made_for_a_file_that_cannot_be_looked_into(home, tmp_path):
    (tmp_path / "desk.sqlite3").write_bytes(b"this is no database" * 1000)
    keyfiles.ensure(home)
    assert made(home) == ["secret-key"]


def test_given_secrets_are_not_written_down(home):
    keyfiles.ensure(home | GOOD | {"MODELDESK_ENCRYPTION_KEYS_FILE": "/none"})
    assert made(home) == []


def test_a_folder_that_cannot_be_written_to_is_named(home, tmp_path):
    (tmp_path / "instance").touch()
    with pytest.raises(ConfigError, match="MODELDESK_INSTANCE_PATH"):
        keyfiles.ensure(home)


OIDC = {
    "MODELDESK_OIDC_ISSUER": "https://id.example.com/realms/staff",
    "MODELDESK_OIDC_CLIENT_ID": "desk",
    "MODELDESK_OIDC_CLIENT_SECRET": "hunter2-hunter2",
}


def test_an_identity_provider_is_there_whole_or_not_at_all(tmp_path):
    assert settings().openid is None
    assert settings(**OIDC).openid.issuer == OIDC["MODELDESK_OIDC_ISSUER"]
    assert "hunter2" not in repr(settings(**OIDC))
    (tmp_path / "secret").write_text("from-a-file\n")
    from_file = {**OIDC, "MODELDESK_OIDC_CLIENT_SECRET": "", "MODELDESK_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    assert settings(**from_file).openid.client_secret == "from-a-file"
    for name in OIDC:
        with pytest.raises(ConfigError, match=f"not {name}"):
            settings(**{setting: value for setting, value in OIDC.items() if setting != name})
    with pytest.raises(ConfigError, match="MODELDESK_OIDC_NAME is set, but not MODELDESK_OIDC_ISSUER"):
        settings(MODELDESK_OIDC_NAME="Acme ID")


@pytest.mark.parametrize(
    "wrong",
    [
        {"MODELDESK_OIDC_ISSUER": "id.example.com"},
        {"MODELDESK_OIDC_ISSUER": "https://user:hunter2@id.example.com"},
        {"MODELDESK_OIDC_ISSUER": "https://id.example.com/?x"},
        {"MODELDESK_OIDC_CLIENT_ID": "a b"},
        {"MODELDESK_OIDC_NAME": "x" * 41},
        {"MODELDESK_OIDC_CREATE": "yes"},
        {"MODELDESK_OIDC_ROLE_CLAIM": "groups"},
        {"MODELDESK_OIDC_ROLES": "staff=viewer"},
        {"MODELDESK_OIDC_ROLES": "staff=root", "MODELDESK_OIDC_ROLE_CLAIM": "groups"},
        {"MODELDESK_OIDC_ROLES": "viewer", "MODELDESK_OIDC_ROLE_CLAIM": "groups"},
    ],
)
def test_a_setting_of_the_identity_provider_that_makes_no_sense_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
        settings(**(OIDC | wrong))
    assert "hunter2" not in str(caught.value)


def test_passwords_are_not_switched_off_where_there_is_no_other_way_in():
    with pytest.raises(ConfigError, match="MODELDESK_PASSWORD_SIGN_IN"):
        settings(MODELDESK_PASSWORD_SIGN_IN="off")
    assert settings(MODELDESK_PASSWORD_SIGN_IN="off", **OIDC).password_sign_in is False


@pytest.mark.parametrize(("name", "value"), [("PORT", "99999"), ("WEB_CONCURRENCY", "zero"), ("WEB_THREADS", "0")])
def test_what_the_server_would_stumble_over_is_said_before_in_one_sentence(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be a whole number from 1 to"):
        settings(**{name: value})
