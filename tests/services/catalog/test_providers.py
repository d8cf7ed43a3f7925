"""Providers and their keys in a real database."""

import json

import pytest
from environment import by_hand
from factories import model_values, provider_values
from sqlalchemy import select, text, update

from webapp.domain.shared.errors import Conflict, InUse, Invalid, KeysLocked, NotFound, Stale
from webapp.extensions import db
from webapp.models import AuditEvent, Credential, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.urlguard import OutboundPolicy
from webapp.security.vault import Vault
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials

KEY = "sk-a-key-that-nobody-may-see-0123456789"


def made(**more) -> Provider:
    with writing() as session:
        return providers.create(session, provider_values(**more), actor="ann")


def store(provider, key=KEY) -> None:
    with writing() as session:
        credentials.store(session, session.get_one(Provider, provider.id), key, vault=container.vault(), actor="ann")


def change(provider, **values) -> None:
    with writing() as session:
        providers.update(session, provider.id, values, actor="bob", policy=OutboundPolicy(frozenset({"api.acme.example"})))


def key_of(provider) -> str | None:
    return credentials.reveal(db.session(), db.session.get_one(Provider, provider.id), vault=container.vault())


def trail() -> list[AuditEvent]:
    return list(db.session.execute(select(AuditEvent).order_by(AuditEvent.id)).scalars())


def test_a_slug_is_taken_once(app):
    made()
    with pytest.raises(Conflict):
        made()
    second = made(slug="other")
    with pytest.raises(Conflict):
        change(second, slug="acme")


@pytest.mark.parametrize(
    "values", [{"driver": "carrier-pigeon"}, {"base_url": "https://user:pw@x.example"}, {"base_url": "https://x.example/?a=b"}]
)
def test_a_driver_or_an_address_that_makes_no_sense_is_refused(app, values):
    with pytest.raises(Invalid) as refused:
        made(**values)
    assert refused.value.errors[0].field in values


def test_an_edit_of_an_older_version_is_refused(app):
    provider = made()
    change(provider, description="new")
    with pytest.raises(Stale), writing() as session:
        providers.update(session, provider.id, {"description": "x"}, actor="bob", version=1)


@pytest.mark.parametrize("number", [0, 10**9, 2**63])
def test_a_provider_that_is_not_there_is_not_found(app, number):
    with pytest.raises(NotFound), writing() as session:
        providers.delete(session, number, actor="ann")


def test_a_provider_with_models_is_not_deleted_and_names_them(app):
    provider = made()
    with writing() as session:
        models.create(session, model_values(provider="acme"), actor="ann")
    with pytest.raises(InUse) as refused, writing() as session:
        providers.delete(session, provider.id, actor="ann")
    assert list(refused.value.users) == ["acme/test-model"]


def test_deleting_a_provider_removes_its_key_with_a_trace(either_app):
    provider = made()
    store(provider)
    with writing() as session:
        providers.delete(session, provider.id, actor="ann")
    assert db.session.execute(select(Credential.id)).all() == []
    assert [event.action for event in trail()][-2:] == ["registry:credential:remove", "registry:provider:delete"]


# Primary


def test_there_is_one_primary_and_it_is_neither_stopped_nor_deleted(either_app):
    first, second = made(), made(slug="two")
    for provider in (first, second, second):
        with writing() as session:
            providers.set_primary(session, provider.id, actor="ann")
    assert container.registry().snapshot.primary.slug == "two"
    stops = (lambda s: providers.set_active(s, second.id, False, actor="a"), lambda s: providers.delete(s, second.id, actor="a"))
    for stop in (*stops, lambda s: providers.update(s, second.id, {"active": False}, actor="a")):
        with pytest.raises(InUse), writing() as session:
            stop(session)
    with writing() as session:
        providers.clear_primary(session, actor="ann")
    assert container.registry().snapshot.primary is None


def test_an_inactive_provider_does_not_become_primary(app):
    provider = made(active=False)
    with pytest.raises(Conflict, match="inactive"), writing() as session:
        providers.set_primary(session, provider.id, actor="ann")


def test_a_provider_of_a_default_model_is_not_stopped(app):
    provider = made()
    with writing() as session:
        models.create(session, model_values(provider="acme", default=True), actor="ann")
    with pytest.raises(InUse, match="default for text"), writing() as session:
        providers.set_active(session, provider.id, actor="ann")


def test_a_stopped_providers_models_are_not_supported(app):
    provider = made()
    with writing() as session:
        models.create(session, model_values(provider="acme"), actor="ann")
    with writing() as session:
        providers.set_active(session, provider.id, actor="ann")
    assert container.registry().get_model("test-model").unsupported_because == "provider_inactive"


# Keys


def test_a_key_reads_back_and_is_nowhere_in_clear(either_app):
    provider = made()
    store(provider)
    assert key_of(provider) == KEY
    row = db.session.execute(text("SELECT * FROM credentials")).mappings().one()
    assert KEY not in str(dict(row))
    assert (row["last_four"], row["origin"]) == (KEY[-4:], "https://api.acme.example")
    assert container.registry().snapshot.providers["acme"].has_key


def test_neither_the_key_nor_a_part_of_it_is_in_the_trail(app):
    provider = made()
    store(provider)
    store(provider, KEY + "-another")
    with writing() as session:
        credentials.remove(session, session.get_one(Provider, provider.id), actor="ann")
    texts = json.dumps([[event.before, event.after, event.target_name] for event in trail()])
    assert KEY[:12] not in texts
    assert KEY[-4:] not in texts
    assert texts.count("fingerprint") == 4


def test_two_keys_have_two_fingerprints_and_one_key_has_one(app):
    provider = made()
    fingerprints = []
    for key in (KEY, KEY + "x", KEY):
        store(provider, key)
        fingerprints.append(db.session.execute(select(Credential.fingerprint)).scalar_one())
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"base_url": "https://api.acme.example/v2"}, True),
        ({"base_url": "https://API.acme.example:443/v1"}, True),
        ({"description": "x"}, True),
        ({"slug": "renamed"}, True),
        ({"base_url": "https://api.acme.example:8443/v1"}, False),
        ({"base_url": "http://api.acme.example/v1"}, False),
        ({"base_url": "https://evil.example/v1"}, False),
        ({"base_url": None}, False),
    ],
)
def test_a_key_stays_with_the_address_that_it_was_entered_for(app, values, kept):
    provider = made()
    store(provider)
    change(provider, **values)
    assert key_of(provider) == (KEY if kept else None)
    removed = [event for event in trail() if event.action == "registry:credential:remove"]
    assert [event.actor for event in removed] == ([] if kept else ["bob"])


def test_another_driver_without_a_base_url_leads_elsewhere_and_removes_the_key(app):
    provider = made(base_url=None)
    store(provider)
    change(provider, driver="grok")
    assert key_of(provider) is None


def test_other_edits_leave_the_ciphertext_byte_for_byte(app):
    provider = made()
    store(provider)
    before = db.session.execute(text("SELECT ciphertext FROM credentials")).scalar_one()
    change(provider, display_name="New", timeout_seconds=5)
    assert db.session.execute(text("SELECT ciphertext FROM credentials")).scalar_one() == before


def test_a_ciphertext_moved_to_another_row_does_not_decrypt(either_app):
    first, second = made(), made(slug="two")
    store(first)
    store(second, KEY + "-two")
    ciphertexts = {row.provider_id: row.ciphertext for row in db.session.execute(text("SELECT provider_id, ciphertext FROM credentials"))}
    with by_hand() as session:
        for provider, source in ((first, second), (second, first)):
            session.execute(update(Credential).where(Credential.provider_id == provider.id).values(ciphertext=ciphertexts[source.id]))
    for provider in (first, second):
        with pytest.raises(KeysLocked, match="another provider"):
            key_of(provider)


def test_an_address_changed_behind_our_back_makes_the_key_useless(app):
    provider = made()
    store(provider)
    with writing() as session:
        session.execute(text("UPDATE providers SET base_url = 'https://evil.example' WHERE slug = 'acme'"))
    with pytest.raises(KeysLocked):
        key_of(provider)


def test_a_wrong_vault_stores_nothing_over_what_another_key_encrypted(app):
    provider = made()
    wrong = Vault("n1H1VsSWEHF8cWxLZJQyLZf1WxTjC1n0R0d8tbbSx0E=")
    with pytest.raises(KeysLocked), writing() as session:
        credentials.store(session, session.get_one(Provider, provider.id), KEY, vault=wrong, actor="ann")
    assert db.session.execute(select(Credential.id)).all() == []


@pytest.mark.parametrize("key", ["", "short key with spaces", "key\nkey", 5, None])
def test_what_is_no_key_is_refused_without_repeating_it(app, key):
    provider = made()
    with pytest.raises(Invalid) as refused:
        store(provider, key)
    assert "spaces with" not in refused.value.detail


def test_removing_a_key_that_is_not_there_is_not_found(app):
    provider = made()
    with pytest.raises(NotFound), writing() as session:
        credentials.remove(session, session.get_one(Provider, provider.id), actor="ann")


def test_moving_a_provider_leaves_its_headers_behind_like_its_key(app):
    with writing() as session:
        values = provider_values(config={"extra_headers": {"X-Team": "ops"}, "auth_header": "X-Api-Key"})
        provider = providers.create(session, values, actor="ann")
        providers.update(session, provider.id, {"base_url": "https://elsewhere.example/v1"}, actor="ann")
        assert provider.config == {"auth_header": "X-Api-Key"}


def test_an_active_provider_without_an_address_of_its_driver_needs_a_base_url(app):
    with writing() as session, pytest.raises(Invalid, match="base_url is required"):
        providers.create(session, provider_values(driver="custom", base_url=None), actor="ann")
    with writing() as session:
        ollama = providers.create(session, provider_values(slug="mine", driver="ollama", base_url=None), actor="ann").id
        proposed = providers.create(session, provider_values(driver="custom", base_url=None, active=False), actor="ann").id
    for change in (
        lambda session: providers.update(session, ollama, {"driver": "custom"}, actor="ann"),
        lambda session: providers.update(session, proposed, {"active": True}, actor="ann"),
        lambda session: providers.set_active(session, proposed, True, actor="ann"),
    ):
        with pytest.raises(Invalid, match="base_url is required"), writing() as session:
            change(session)
    with writing() as session:
        providers.update(session, proposed, {"active": True, "base_url": "https://acme.example/v1"}, actor="ann")
        providers.update(session, proposed, {"display_name": "Renamed"}, actor="ann")
