"""Anyone who gives a name in use another meaning confirms the list of such names first, at every entry point."""

import json
import re
from functools import partial
from io import BytesIO

import pytest
from environment import api_for
from factories import confirm, model_values, price_values, provider_values
from sqlalchemy import func, select

from webapp.domain.shared.errors import AmbiguousModel, ConfirmationRequired
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, providers
from webapp.services.operations import seed
from webapp.services.pricing import prices

MINI, AZURE = "gpt-4o-mini", "azure"
AMBIGUOUS = (
    "1 name in use gets another meaning: gpt-4o-mini means openai/gpt-4o-mini and would be ambiguous "
    "(azure/gpt-4o-mini, openai/gpt-4o-mini)."
)
FILE = {"format": "modeldesk-registry", "version": 1}
COST = "/cost?model=gpt-4o-mini&input_tokens=1000"


@pytest.fixture(autouse=True)
def azure(request):
    request.getfixturevalue("either_app" if "either_app" in request.fixturenames else "app")
    with writing() as session:
        providers.create(session, provider_values(slug=AZURE), actor="ann")


def a_namesake(active=True, confirmed=(), **more) -> int:
    with writing() as session:
        values = model_values(provider=AZURE, model_id=MINI, active=active) | more
        return models.create(session, values, actor="ann", confirmed=confirmed).id


def id_of(ref) -> int:
    slug, _, model_id = ref.partition("/")
    db.session.rollback()
    query = select(Model.id).join(Provider).where(Provider.slug == slug, Model.model_id == model_id)
    return db.session.execute(query).scalar_one()


def active_ids() -> set[str]:
    db.session.rollback()
    query = select(Model.model_id).join(Provider).where(Provider.slug == AZURE, Model.is_active)
    return set(db.session.execute(query).scalars())


def changing(change, *arguments, **options):
    """Return a function of the confirmed keys that runs the change in its own transaction."""

    def run(keys):
        with writing() as session:
            return change(session, *arguments, actor="ann", confirmed=keys, **options)

    return run


def required(change) -> list[str]:
    with pytest.raises(ConfirmationRequired) as error:
        change(())
    return [confirmation.message for confirmation in error.value.confirmations]


def meaning(name) -> str:
    return container.registry().resolve(name).ref


# The service.


def test_an_inactive_namesake_changes_nothing_and_its_activation_needs_a_confirmation(either_app):
    row_id = a_namesake(active=False)
    assert meaning(MINI) == "openai/gpt-4o-mini"
    activate = changing(models.set_active, row_id, True)
    assert required(activate) == required(changing(models.set_active_many, [row_id], True)) == [AMBIGUOUS]
    assert required(changing(models.update, row_id, {"active": True})) == [AMBIGUOUS]
    assert (active_ids(), meaning(MINI)) == (set(), "openai/gpt-4o-mini")
    confirm(activate)
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (event.action, event.after["confirmed"]) == ("registry:model:activate", [AMBIGUOUS])


def test_a_new_active_model_a_new_id_and_a_new_provider_need_a_confirmation():
    assert required(lambda keys: a_namesake(confirmed=keys)) == [AMBIGUOUS]
    row_id = a_namesake(model_id="other")
    assert required(changing(models.update, row_id, {"model_id": MINI})) == [AMBIGUOUS]
    gateway = a_namesake(model_id="beta/big")
    with writing() as session:
        prices.add(session, gateway, price_values(), actor="ann")
    with writing() as session:
        beta = providers.create(session, provider_values(slug="gamma"), actor="ann").id
        models.create(session, model_values(provider="gamma", model_id="big", active=False), actor="ann")
    renamed = required(changing(providers.update, beta, {"slug": "beta"}))
    assert renamed == ["1 name in use gets another meaning: beta/big means azure/beta/big and would mean beta/big."]
    confirm(changing(providers.update, beta, {"slug": "beta"}))
    assert (meaning("beta/big"), meaning("azure/beta/big"), id_of("azure/beta/big")) == ("beta/big", "azure/beta/big", gateway)


def test_models_of_one_id_can_be_entered_before_anything_can_depend_on_it():
    a_namesake(model_id="twin")
    with writing() as session:
        twin = models.create(session, model_values(provider="mistral", model_id="twin"), actor="ann")
        prices.add(session, twin.id, price_values(), actor="ann")
    with pytest.raises(AmbiguousModel):
        container.registry().resolve("twin")


def test_a_deleted_or_deactivated_model_passes_its_name_on_only_after_a_confirmation():
    first = a_namesake(model_id="first", aliases=["nova"])
    second = a_namesake(model_id="nova-2", aliases=["nova-*"])
    with writing() as session:
        models.create(session, model_values(provider="mistral", model_id="nova", active=False), actor="ann")
    message = "1 name in use gets another meaning: nova means azure/first and would mean mistral/nova."
    assert required(changing(models.delete, first)) == [message]
    assert required(changing(models.update, first, {"aliases": []})) == [message]
    changing(models.set_active, first, False)(())  # The alias of an inactive model comes before the id of another one.
    assert meaning("nova") == "azure/first"
    changing(models.set_active, first, True)(())
    confirm(changing(models.delete, first))
    assert meaning("nova") == "mistral/nova"
    changing(models.delete, second)(())


def test_the_key_confirms_one_list_only():
    with pytest.raises(ConfirmationRequired) as error:
        a_namesake()
    keys = [confirmation.key for confirmation in error.value.confirmations]
    with pytest.raises(ConfirmationRequired):
        a_namesake(confirmed=keys, aliases=["openai/gpt-4o-mini-x"], model_id="gpt-4o")
    a_namesake(confirmed=keys)
    assert active_ids() == {MINI}


def test_names_without_another_meaning_need_no_confirmation():
    row_id = a_namesake(model_id="other", aliases=["other-alias"])
    for values in ({"description": "x"}, {"aliases": ["another-alias"]}, {"model_id": "renamed"}, {"active": False}, {"active": True}):
        changing(models.update, row_id, values)(())
    changing(models.delete, row_id)(())


def test_the_name_of_an_inactive_model_counts_as_in_use_if_calls_used_it(app):
    reporter = api_for(app, "usage:write")
    a_namesake(active=False, model_id="idle")
    a_namesake(active=False, model_id="busy")
    assert reporter.post("/usage", {"model": "azure/busy", "usage": {"input": 1}}, headers={"Idempotency-Key": "k1"}).status_code == 201
    change = changing(models.create, model_values(aliases=["idle", "busy"]))
    with pytest.raises(ConfirmationRequired) as error:
        change(())
    (change,) = error.value.confirmations[0].changes
    assert (change.name, change.before, change.after, change.recent_calls) == ("busy", "azure/busy", ("openai/test-model",), 1)


# The API.


def test_the_api_lists_the_names_and_takes_the_key_in_the_body_or_in_the_query(app, api):
    reporter = api_for(app, "usage:write")
    inactive = api.post("/admin/models", model_values(provider=AZURE, model_id=MINI, active=False)).json["id"]
    assert api.get(COST).json["total"] == "0.00015"
    for number in range(3):
        usage = {"model": MINI, "usage": {"input": 1000}}
        assert reporter.post("/usage", usage, headers={"Idempotency-Key": str(number)}).status_code == 201
    toggle = f"/admin/models/{inactive}/toggle-active"
    response = api.post(toggle)
    (confirmation,) = response.json["confirmations"]
    assert (response.status_code, response.json["code"], confirmation["code"]) == (409, "confirmation_required", "names_change")
    (name,) = confirmation["names"]
    assert name == {"name": MINI, "before": f"openai/{MINI}", "after": [f"azure/{MINI}", f"openai/{MINI}"], "recent_calls": 3}
    assert (api.get(COST).json["total"], active_ids()) == ("0.00015", set())
    assert api.request("PATCH", f"/admin/models/{inactive}", json={"active": True}).json["confirmations"] == [confirmation]
    assert api.post(f"{toggle}?confirm={confirmation['key']}x").status_code == 409
    assert api.post(f"{toggle}?confirm={confirmation['key']}").status_code == 200
    assert api.get(COST).json["code"] == "ambiguous_model"
    assert api.post(toggle).status_code == 200  # A name that is ambiguous is not in use.
    assert api.get(COST).json["total"] == "0.00015"


def test_the_api_deletes_a_model_whose_name_passes_on_after_a_confirmation(api):
    first = a_namesake(model_id="first", aliases=["nova"])
    a_namesake(active=False, model_id="nova", provider="mistral")
    key = api.request("DELETE", f"/admin/models/{first}").json["confirmations"][0]["key"]
    assert api.request("DELETE", f"/admin/models/{first}?confirm={key},other").status_code == 204


# The admin.


def keys_on(page) -> list[str]:
    return re.findall(r'name="confirm" value="(\w+)"', page.text)


def test_the_form_lists_the_names_with_their_calls(ann):
    form = {"provider": AZURE, "model_id": MINI, "display_name": "Namesake", "type": "text", "active": "y"}
    page = ann.post("/admin/model/new/", form)
    assert (page.status_code, "ambiguous: azure/gpt-4o-mini, openai/gpt-4o-mini" in page.text, active_ids()) == (422, True, set())
    assert ann.post("/admin/model/new/", form | {"confirm": keys_on(page)}).status_code == 302
    assert active_ids() == {MINI}


@pytest.mark.parametrize("htmx", [False, True])
def test_the_switch_of_a_row_asks_on_a_page_that_repeats_the_change(ann, htmx):
    row_id = a_namesake(active=False)
    address = f"/admin/model/{row_id}/active?to=1"
    page = ann.post(address, headers={"HX-Request": "true"} if htmx else {})
    assert (page.status_code, f'action="{address}"' in page.text, active_ids()) == (200 if htmx else 409, True, set())
    assert page.headers.get("HX-Retarget") == ("#main" if htmx else None)
    ann.post(address, {"confirm": keys_on(page)})
    assert active_ids() == {MINI}


def test_a_bulk_activation_asks_once_about_all_of_its_models(ann):
    form = {"action": "activate", "rowid": [a_namesake(active=False), a_namesake(active=False, model_id="gpt-4o")]}
    page = ann.post("/admin/model/action/", form)
    assert (page.status_code, "2 names in use get another meaning." in page.text, len(keys_on(page))) == (409, True, 1)
    assert [f'name="rowid" value="{row_id}"' in page.text for row_id in form["rowid"]] == [True, True]
    ann.post("/admin/model/action/", form | {"confirm": keys_on(page)})
    assert active_ids() == {MINI, "gpt-4o"}


def test_the_deletion_of_a_model_asks_before_its_name_passes_on(ann):
    first = a_namesake(model_id="first", aliases=["nova"])
    a_namesake(active=False, model_id="nova", provider="mistral")
    page = ann.post("/admin/model/delete/", {"id": first})
    assert (page.status_code, "<code>nova</code>" in page.text) == (409, True)
    assert ann.post("/admin/model/delete/", {"id": first, "confirm": keys_on(page)}).status_code == 302
    assert meaning("nova") == "mistral/nova"


# Files.

IMPORTS = [
    (json.dumps(FILE | {"models": [model_values(provider=AZURE, model_id=MINI)]}), "application/json", ".json"),
    (f"provider,model_id,display_name,type\nazure,{MINI},Namesake,text\n", "text/csv", ".csv"),
]


@pytest.mark.parametrize(("content", "content_type", "suffix"), IMPORTS)
def test_an_import_over_http_lists_the_names_and_needs_their_key(api, content, content_type, suffix):
    def send(query):
        return api.post(f"/admin/import?{query}", data=content, headers={"Content-Type": content_type})

    preview = send("dry_run=true").json
    assert [row["message"] for row in preview["confirmations"]] == [AMBIGUOUS]
    refused = send("dry_run=false")
    assert (refused.status_code, refused.json["confirmations"]) == (409, preview["confirmations"])
    assert active_ids() == set()
    report = send(f"confirm={preview['confirmations'][0]['key']}")
    assert (report.status_code, report.json["added"], active_ids()) == (200, 1, {MINI})


@pytest.mark.parametrize(("content", "content_type", "suffix"), IMPORTS)
def test_an_import_in_the_admin_shows_the_names_and_asks_before_it_applies(ann, content, content_type, suffix):
    upload = {"file": (BytesIO(content.encode()), f"models{suffix}")}
    draft = ann.post("/admin/exchange/compare", upload, content_type="multipart/form-data").location
    page = ann.get(draft).text
    assert "is ambiguous after the import (0 calls in 30 days)" in page
    question = ann.post(f"{draft}apply")
    assert (question.status_code, len(keys_on(question)), active_ids()) == (409, 1, set())
    ann.post(f"{draft}apply", {"confirm": keys_on(question)})
    assert active_ids() == {MINI}


def test_the_command_prints_the_names_and_takes_the_key(app, tmp_path):
    path = tmp_path / "models.json"
    path.write_text(IMPORTS[0][0])
    run = partial(app.test_cli_runner().invoke, app.cli)
    preview = run(["registry", "import", str(path), "--dry-run"])
    assert f"confirm  {AMBIGUOUS}" in preview.output
    refused = run(["registry", "import", str(path)])
    assert (refused.exit_code, "Nothing was imported" in refused.output, active_ids()) == (1, True, set())
    key = re.search(r"key: (\w+)", refused.output)[1]
    assert (run(["registry", "import", str(path), "--confirm", key]).exit_code, active_ids()) == (0, {MINI})


# Restoring, and the seed of a new version.


def test_restoring_an_event_asks_like_the_change_itself(ann):
    row_id = a_namesake(active=False)
    confirm(changing(models.set_active, row_id, True))
    changing(models.set_active, row_id, False)(())
    event = db.session.execute(select(func.max(AuditEvent.id))).scalar_one()
    page = ann.post("/admin/audit/restore/", {"id": event})
    assert (page.status_code, active_ids()) == (409, set())
    ann.post("/admin/audit/restore/", {"id": event, "confirm": keys_on(page)})
    assert active_ids() == {MINI}


def test_a_seeded_model_of_a_new_version_that_would_change_a_name_in_use_is_inactive(monkeypatch):
    document = seed.catalog_document()
    new = document["models"][0] | {"model_id": "mine", "aliases": [], "default": False, "prices": []}
    a_namesake(model_id="mine")
    monkeypatch.setattr(seed, "catalog_document", lambda: document | {"models": [*document["models"], new]})
    with writing() as session:
        result = seed.seed(session)
    assert result.models == [f"{new['provider']}/mine"]
    assert result.notes == [f"{new['provider']}/mine is inactive, because mine is a name of azure/mine"]
    assert meaning("mine") == "azure/mine"
