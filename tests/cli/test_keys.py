"""Rotation of the encryption key: nothing is lost, nothing else changes, and an interrupted rotation can run again."""

import pytest
from cryptography.fernet import Fernet
from environment import ENCRYPTION_KEY, PASSWORD, running
from factories import Visitor
from sqlalchemy import Text, select, text

from webapp.config.settings import Settings
from webapp.extensions import db
from webapp.models import AuditEvent, Credential, Provider
from webapp.models.base import Ciphertext
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.vault import Vault
from webapp.services.credentials import credentials, rotation

NEW = Fernet.generate_key().decode()
SLUGS = ("openai", "claude", "gemini", "mistral", "grok")


def with_keys(settings: Settings, keys: str) -> Settings:
    return Settings(**{name: getattr(settings, name) for name in settings.__slots__} | {"encryption_keys": keys})


def run(app, *arguments):
    return app.test_cli_runner().invoke(args=["keys", *arguments])


def store_keys(vault: Vault) -> None:
    with writing() as session:
        for provider in session.execute(select(Provider).where(Provider.driver.in_(SLUGS))).scalars():
            credentials.store(session, provider, f"sk-secret-of-{provider.driver}", vault=vault, actor="ann")


def secrets_of(vault: Vault) -> set[str]:
    session = db.session()
    rows = session.execute(select(Provider).where(Provider.driver.in_(SLUGS))).scalars()
    return {credentials.reveal(session, provider, vault=vault) for provider in rows}


def everything_else() -> list[tuple]:
    columns = [column for column in Credential.__table__.c if column.name not in ("ciphertext", "key_id")]
    with db.engine.connect() as connection:
        return list(connection.execute(select(*columns).order_by(Credential.id)).all())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def stored(request):
    """Return the settings of an app with five keys under the old encryption key, and its rows without their ciphertexts."""
    settings = request.getfixturevalue("settings" if request.param == "sqlite" else "postgresql_settings")
    for _ in running(settings):
        store_keys(container.vault())
        rows = everything_else()
    return settings, rows


def test_t23_every_secret_is_readable_with_the_new_key_alone_and_nothing_else_changed(stored):
    settings, rows = stored
    for app in running(with_keys(settings, f"{NEW},{ENCRYPTION_KEY}")):
        before = run(app, "status")
        assert "Older keys are still needed" in before.stdout
        result = run(app, "rotate")
        assert (result.exit_code, result.stdout.splitlines()[0].split(" with")[0]) == (0, "Re-encrypted 6")  # Five keys and the key check.
        status = run(app, "status").stdout
        assert ("No other one is needed" in status, f"Behind it: {Vault(ENCRYPTION_KEY).key_id}" in status) == (True, True)
        assert everything_else() == rows
        assert run(app, "rotate").stdout.startswith("Re-encrypted 0")
    for _ in running(with_keys(settings, NEW)):
        assert not container.vault().locked
        assert secrets_of(container.vault()) == {f"sk-secret-of-{slug}" for slug in SLUGS}


def test_t23_a_rotation_that_was_stopped_goes_on_where_it_was(settings, monkeypatch):
    for _ in running(settings):
        store_keys(container.vault())
    monkeypatch.setattr(rotation, "BATCH_SIZE", 2)
    for app in running(with_keys(settings, f"{NEW},{ENCRYPTION_KEY}")):
        column = next(column for column in rotation.encrypted_columns() if column.name == "ciphertext")
        with writing() as session:
            assert rotation.rotate_batch(session, container.vault(), column).rotated == 2
        # Half of the keys use the new encryption key, half the old one. All can be read.
        assert len(secrets_of(container.vault())) == len(SLUGS)
        assert run(app, "rotate").stdout.startswith("Re-encrypted 4")
        query = select(AuditEvent.after).where(AuditEvent.action == "operations:keys:rotate").order_by(AuditEvent.id)
        start_event, end_event = db.session.execute(query).scalars()
        assert ("begun_at" in start_event, end_event["rotated"]) == (True, 4)  # An interrupted rotation leaves an audit event too.


def test_a_key_that_is_replaced_meanwhile_is_not_put_back(settings):
    for _ in running(settings):
        store_keys(container.vault())
    for _ in running(with_keys(settings, f"{NEW},{ENCRYPTION_KEY}")):
        vault = container.vault()
        column = next(column for column in rotation.encrypted_columns() if column.name == "ciphertext")
        with writing() as session:
            row_id, old = session.execute(select(Credential.id, column).limit(1)).one()
            session.execute(text("UPDATE credentials SET ciphertext = 'replaced' WHERE id = :id"), {"id": row_id})
            change = rotation.Reencryption(row_id, old, "renewed", vault.key_id)
            assert rotation._compare_and_set(session, column, change) == 0
            assert session.execute(select(column).where(Credential.id == row_id)).scalar_one() == "replaced"


def test_a_row_that_no_key_reads_is_named_and_stops_nothing(settings):
    for _ in running(settings):
        store_keys(container.vault())
        with writing() as session:
            session.execute(text("UPDATE credentials SET ciphertext = 'gAAAA-broken' WHERE id = 2"))
    for app in running(with_keys(settings, f"{NEW},{ENCRYPTION_KEY}")):
        result = run(app, "rotate")
        assert result.exit_code == 1
        assert result.stdout.startswith("Re-encrypted 5")
        with app.app_context():
            name = db.session.get_one(Credential, 2).provider.display_name
        assert f"No key reads the shared key of {name}." in result.stderr
        assert "1" in run(app, "status").stdout


def test_a_locked_vault_rotates_nothing_and_says_what_to_do(settings):
    for _ in running(settings):
        store_keys(container.vault())
        rows = everything_else()
    for app in running(with_keys(settings, NEW)):
        for command in ("status", "rotate"):
            result = run(app, command)
            assert (result.exit_code, "doctor" in result.stderr, result.stdout) == (1, True, "")
        assert everything_else() == rows


def test_t23_a_new_encrypted_column_is_covered_by_its_type():
    names = {f"{column.table.name}.{column.name}" for column in rotation.encrypted_columns()}
    assert {"credentials.ciphertext", "registry_state.key_check"} <= names
    assert isinstance(Ciphertext().impl_instance, Text)


def test_a_lost_key_is_given_up_in_words_and_the_desk_works_with_a_new_one(stored):
    settings, rows = stored
    for app in running(with_keys(settings, NEW)):
        assert container.vault().locked
        unconfirmed = run(app, "accept")
        assert (unconfirmed.exit_code, "say --yes. Nothing was changed" in unconfirmed.stderr) == (1, True)
        assert "No key reads the shared key of OpenAI." in unconfirmed.stderr
        assert "No key reads the check by which a start knows the right key." in unconfirmed.stderr
        container.registry().refresh()
        assert container.vault().locked
        confirmed = run(app, "accept", "--yes")
        assert (confirmed.exit_code, "Enter the providers' keys again" in confirmed.stdout) == (0, True)
        assert not container.vault().locked
        assert everything_else() == rows  # Nothing is deleted.
        status, doctor = run(app, "status"), app.test_cli_runner().invoke(args=["doctor"])
        assert "What no key reads has to be entered again" in status.stdout
        assert (doctor.exit_code, "No encryption key reads the shared key of" in doctor.stdout) == (1, True)
        see_what_is_lost(app)
        provider_id = db.session.execute(select(Provider).where(Provider.driver == "openai")).scalar_one().id
        with writing() as session:
            credentials.store(
                session, session.get_one(Provider, provider_id), "sk-entered-again-0123", vault=container.vault(), actor="ann"
            )
        assert (
            credentials.reveal(db.session(), db.session.get_one(Provider, provider_id), vault=container.vault()) == "sk-entered-again-0123"
        )
    for _ in running(with_keys(settings, f"{NEW},{ENCRYPTION_KEY}")):  # The old key is available again.
        assert secrets_of(container.vault()) == {"sk-entered-again-0123"} | {f"sk-secret-of-{slug}" for slug in SLUGS if slug != "openai"}


def see_what_is_lost(app):
    """Check that no page shows an unreadable key as usable."""
    ann = Visitor(app, "ann@example.com", PASSWORD)
    provider_id = db.session.execute(select(Provider.id).where(Provider.driver == "openai")).scalar_one()
    assert "The key of OpenAI cannot be read" in ann.get("/admin/").text
    assert "unreadable key" in ann.get("/admin/provider/").text
    page = ann.get(f"/admin/provider/details/?id={provider_id}").text
    assert ("Not usable by you" in page, "Unreadable" in page, "Enter it again" in page) == (True, True, True)
    assert "It cannot be read" in ann.get(f"/admin/provider/edit/?id={provider_id}").text


def test_a_key_that_is_not_lost_is_not_given_up_and_none_is_no_key(stored):
    settings, _ = stored
    for app in running(settings):
        assert "nothing is lost" in run(app, "accept", "--yes").stderr
    for app in running(with_keys(settings, "")):
        assert "There is no new key" in run(app, "accept", "--yes").stderr
        assert container.vault().locked
