"""Tests of the seed: it runs once, never overwrites edits by staff, and copies keys only on request."""

import pytest
from factories import model_values
from sqlalchemy import func, select

from webapp.domain.catalog.builtin import catalog_document, constants
from webapp.domain.credentials.environment_keys import read_environment_keys
from webapp.domain.shared.errors import KeysLocked
from webapp.extensions import db
from webapp.models import AuditEvent, Credential, Model, Price, Provider, RegistryState
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security.vault import Vault
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.operations import seed

KEYS = {"OPENAI_API_KEY": "sk-openai-0123456789", "MISTRAL_API_KEY": " ", "GEMINI_API_KEY": "AIza-gemini-0123456789"}


def seeded() -> seed.SeedResult:
    with writing() as session:
        return seed.seed(session)


def with_keys(environment=KEYS, vault=None) -> seed.SeedResult:
    with writing() as session:
        return seed.update_keys(session, read_environment_keys(environment, {}), vault=vault or container.vault(), actor="ann")


def counts() -> list[int]:
    tables = (Provider, Model, Price, AuditEvent)
    return [db.session.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def revision() -> int:
    return db.session.execute(select(RegistryState.revision)).scalar_one()


def test_the_catalogue_comes_into_an_empty_database_whole(empty_app):
    result = seeded()
    assert (len(result.providers), len(result.models), result.notes) == (
        len(catalog_document()["providers"]),
        len(catalog_document()["models"]),
        [],
    )
    seeded_snapshot, expected = container.registry().snapshot, constants()
    assert {model.ref: [price.rates for price in model.prices] for model in seeded_snapshot.models} == {
        model.ref: [price.rates for price in model.prices] for model in expected.models
    }
    assert {model.ref: set(model.aliases) for model in seeded_snapshot.models} == {
        model.ref: set(model.aliases) for model in expected.models
    }
    assert seeded_snapshot.source == "database"


def test_seeding_again_changes_nothing_not_even_the_revision(either_app):
    before = (counts(), revision())
    result = seeded()
    assert (bool(result), (counts(), revision())) == (False, before)


def test_what_staff_edited_renamed_or_deleted_stays_so(app):
    registry = container.registry()
    ids = {ref: registry.get_model(ref).id for ref in ("openai/gpt-4o", "openai/gpt-4o-mini")}
    with writing() as session:
        models.update(session, ids["openai/gpt-4o"], {"display_name": "Ours", "active": False, "default": False}, actor="ann")
        models.update(session, ids["openai/gpt-4o-mini"], {"model_id": "renamed", "aliases": []}, actor="ann")
        providers.update(session, registry.snapshot.providers["mistral"].id, {"slug": "le-chat"}, actor="ann")
        providers.delete(session, registry.snapshot.providers["copilot"].id, actor="ann")
    before = revision()
    assert (bool(seeded()), revision()) == (False, before)
    assert (registry.get_model("openai/gpt-4o").display_name, registry.get_model("openai/gpt-4o").active) == ("Ours", False)
    assert registry.get_model("openai/gpt-4o-mini") is None
    assert not {"mistral", "copilot"} & registry.snapshot.providers.keys()


def test_a_new_model_of_a_provider_that_staff_removed_is_left_out_every_time(empty_app):
    previous = {
        "providers": [entry["slug"] for entry in catalog_document()["providers"]],
        "models": [model.ref for model in constants().models][1:],
    }
    with writing() as session:  # An earlier release seeded everything but the first model; then staff deleted all providers.
        audit_log.record(
            session, seed.ACTION, actor=seed.ACTOR, target=Target("catalog", None, "constants"), change=AuditChange(None, previous)
        )
    before = (counts(), revision())
    assert (bool(seeded()), (counts(), revision())) == (False, before)


def test_an_alias_that_staff_gave_to_another_model_is_noted_and_left_alone(empty_app):
    with writing() as session:
        providers.create(session, {"slug": "openai", "display_name": "Ours", "driver": "openai"}, actor="ann")
        models.create(session, model_values(aliases=["gpt-4o-2024-08-06"]), actor="ann")
    result = seeded()
    assert result.notes == ["alias gpt-4o-2024-08-06 already leads to another model"]
    assert container.registry().resolve("gpt-4o-2024-08-06").ref == "openai/test-model"
    assert container.registry().snapshot.providers["openai"].display_name == "Ours"


def test_a_default_that_staff_chose_is_kept(empty_app):
    with writing() as session:
        providers.create(session, {"slug": "ours", "display_name": "Ours", "driver": "openai"}, actor="ann")
        models.create(session, model_values(provider="ours", default=True), actor="ann")
    seeded()
    assert container.registry().get_default_model("text").ref == "ours/test-model"


def test_keys_of_the_environment_are_copied_once_and_blank_ones_not(app):
    assert with_keys().keys == ["google from GEMINI_API_KEY", "openai from OPENAI_API_KEY"]
    before = revision()
    again = with_keys()
    assert (again.keys, len(again.notes), revision()) == ([], 2, before)
    openai = db.session.execute(select(Provider).where(Provider.slug == "openai")).scalar_one()
    assert credentials.reveal(db.session(), openai, vault=container.vault()) == "sk-openai-0123456789"


def test_a_changed_key_of_the_environment_replaces_the_stored_one(app):
    with_keys()
    assert with_keys(KEYS | {"OPENAI_API_KEY": "sk-openai-another-1"}).keys == ["openai from OPENAI_API_KEY"]


def test_a_locked_or_wrong_vault_stores_no_key(app):
    for vault in (Vault(None), Vault("n1H1VsSWEHF8cWxLZJQyLZf1WxTjC1n0R0d8tbbSx0E=")):
        with pytest.raises(KeysLocked):
            with_keys(vault=vault)
    assert db.session.execute(select(Credential)).all() == []
