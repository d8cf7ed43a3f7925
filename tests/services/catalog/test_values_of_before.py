"""Values that were stored before a rule existed are shown and can be saved unchanged. The rule applies to what changes."""

import json

import pytest
from environment import by_hand
from factories import model_values, provider_values
from sqlalchemy import select

from webapp.domain.shared.errors import Invalid
from webapp.extensions import db
from webapp.models import Model, ModelAlias, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers

OLD_ID, OLD_ALIAS = "team//rocket", "team/./rocket"
REGISTRY_FILE = {"format": "modeldesk-registry", "version": 1}


@pytest.fixture
def old_model(app) -> int:
    """A model with an id and an alias that new models cannot have."""
    with by_hand() as session:
        model = models.create(session, model_values(), actor="ann")
        model.model_id = OLD_ID
        model.aliases.append(ModelAlias(alias=OLD_ALIAS))
        return model.id


@pytest.fixture
def old_provider(app) -> int:
    """An active provider with a custom driver and without a base URL."""
    with by_hand() as session:
        values = provider_values(driver="custom", base_url=None, active=False)
        provider = providers.create(session, values, actor="ann", policy=container.current().outbound)
        provider.is_active = True
        return provider.id


def test_a_model_with_an_old_name_is_shown_and_saved_by_the_form(old_model, ann):
    assert OLD_ID in ann.get(f"/admin/model/details/?id={old_model}").text
    form = {"provider": "openai", "model_id": OLD_ID, "display_name": "Renamed", "type": "text", "aliases": OLD_ALIAS, "active": "y"}
    assert ann.post(f"/admin/model/edit/?id={old_model}", form).status_code == 302
    db.session.rollback()
    assert db.session.get(Model, old_model).display_name == "Renamed"


def test_a_model_with_an_old_name_is_saved_by_the_api_and_by_files(old_model, api):
    entry = model_values(model_id=OLD_ID, aliases=[OLD_ALIAS, "new-alias"], display_name="By PUT")
    assert api.request("PUT", f"/admin/models/{old_model}", json=entry).status_code == 200
    document = REGISTRY_FILE | {"models": [entry | {"display_name": "By file"}]}
    imported = api.post("/admin/import", document)
    assert (imported.status_code, imported.json["changed"]) == (200, 1), imported.text
    for kind, content_type in (("yaml", "application/yaml"), ("csv", "text/csv")):
        exported = api.get(f"/admin/export?format={kind}").text
        assert OLD_ID in exported
        again = api.post("/admin/import", data=exported.encode(), headers={"Content-Type": content_type})
        assert (again.status_code, again.json["changed"], again.json["added"]) == (200, 0, 0), again.text


@pytest.mark.parametrize("change", [{"model_id": "other//rocket"}, {"model_id": "a/../b"}, {"aliases": [OLD_ALIAS, "x//y"]}])
def test_a_changed_name_follows_the_rule(old_model, change):
    with pytest.raises(Invalid, match="must not contain //"), writing() as session:
        models.update(session, old_model, change, actor="ann")


def test_a_new_name_in_a_file_follows_the_rule(api):
    refused = api.post("/admin/import", REGISTRY_FILE | {"models": [model_values(model_id=OLD_ID)]})
    assert (refused.status_code, "must not contain //" in refused.text) == (422, True)


def test_a_provider_without_a_base_url_is_saved_unchanged(old_provider, api):
    entry = provider_values(driver="custom", base_url=None, display_name="By PUT")
    assert api.request("PUT", f"/admin/providers/{old_provider}", json=entry).status_code == 200
    imported = api.post("/admin/import", REGISTRY_FILE | {"providers": [entry | {"display_name": "By file"}]})
    assert (imported.status_code, imported.json["changed"]) == (200, 1), imported.text
    assert db.session.execute(select(Provider.display_name).where(Provider.id == old_provider)).scalar_one() == "By file"


@pytest.mark.parametrize("change", [{"base_url": None}, {"driver": "custom", "base_url": None, "active": True}])
def test_a_provider_that_changes_follows_the_rule_about_base_urls(app, change):
    with writing() as session:
        provider_id = providers.create(session, provider_values(driver="custom"), actor="ann", policy=container.current().outbound).id
    with pytest.raises(Invalid, match="base_url"), writing() as session:
        providers.update(session, provider_id, change, actor="ann", policy=container.current().outbound)


def test_a_file_can_reverse_a_chain_of_successors(api):
    chain = [model_values(model_id="a", successor="openai/b"), model_values(model_id="b", successor="openai/c"), model_values(model_id="c")]
    reverse = [model_values(model_id="c", successor="b"), model_values(model_id="b", successor="a"), model_values(model_id="a")]
    for entries in (chain, reverse, chain[::-1]):
        response = api.post("/admin/import", REGISTRY_FILE | {"models": entries})
        assert response.status_code == 200, response.text
    loop = [model_values(model_id="a", successor="b"), model_values(model_id="b", successor="a")]
    text = json.dumps(REGISTRY_FILE | {"models": loop}, indent=1)
    refused = api.post("/admin/import", data=text, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json["code"]) == (422, "import_refused")
    assert "leads back to this model: openai/a -> openai/b -> openai/a" in refused.json["detail"]
