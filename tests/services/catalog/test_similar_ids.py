"""An id that differs from another one of its provider only in case needs a confirmation at every entry point."""

import json
import re

import pytest
from factories import model_values
from sqlalchemy import select

from webapp.domain.shared.errors import ConfirmationRequired
from webapp.extensions import db
from webapp.models import AuditEvent, Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.restore import restore

MESSAGE = "GPT-4o differs from gpt-4o, a model of this provider, only in case. They are two models."
FILE = {"format": "modeldesk-registry", "version": 1}
FORM = {"provider": "openai", "model_id": "GPT-4o", "display_name": "Shouted", "type": "text", "active": "y"}


def ids() -> set[str]:
    db.session.rollback()
    return set(db.session.execute(select(Model.model_id).where(Model.model_id.in_(["GPT-4o", "Gpt-4O"]))).scalars())


def refused(change, *arguments, **options) -> ConfirmationRequired:
    with pytest.raises(ConfirmationRequired) as error, writing() as session:
        change(session, *arguments, actor="ann", **options)
    return error.value


def test_the_service_asks_for_new_and_for_changed_ids_and_stores_the_answer(either_app):
    error = refused(models.create, model_values(model_id="GPT-4o"))
    assert [(row.code, row.message) for row in error.confirmations[:1]] == [("similar_id", MESSAGE)]
    refused(models.create, model_values(model_id="GPT-4o"), confirmed=["similar_id", "x"])
    with writing() as session:
        row_id = models.create(session, model_values(model_id="other"), actor="ann").id
    confirmations = refused(models.update, row_id, {"model_id": "GPT-4o"}).confirmations
    keys = [confirmation.key for confirmation in confirmations]
    assert refused(models.update, row_id, {"model_id": "Gpt-4O"}, confirmed=keys).confirmations[0].message != MESSAGE
    with writing() as session:
        models.update(session, row_id, {"model_id": "GPT-4o"}, actor="ann", confirmed=keys)
        models.update(session, row_id, {"model_id": "GPT-4o", "display_name": "Again"}, actor="ann")
    query = select(AuditEvent).where(AuditEvent.action == "registry:model:update").order_by(AuditEvent.id).limit(1)
    event = db.session.execute(query).scalar_one()
    assert event.after["confirmed"] == [confirmation.message for confirmation in confirmations]


def test_the_same_id_of_another_provider_is_not_asked_about(app):
    with writing() as session:
        models.create(session, model_values(model_id="Gpt-4O", provider="mistral", active=False), actor="ann")
    assert ids() == {"Gpt-4O"}


def test_the_api_answers_with_keys_that_confirm(api):
    entry = model_values(model_id="GPT-4o")
    response = api.post("/admin/models", entry)
    assert (response.status_code, response.json["code"]) == (409, "confirmation_required")
    confirmation, names = response.json["confirmations"]
    assert (confirmation["code"], confirmation["message"], names["code"]) == ("similar_id", MESSAGE, "names_change")
    assert response.json["detail"] == f"{MESSAGE} {names['message']}"
    assert api.post("/admin/models", entry | {"confirm": ["similar_id"]}).status_code == 409
    assert ids() == set()
    made = api.post("/admin/models", entry | {"confirm": [confirmation["key"], names["key"]]})
    assert (made.status_code, "confirm" in made.json) == (201, False)
    row = f"/admin/models/{made.json['id']}"
    assert api.request("PUT", row, json=entry).status_code == 200
    key = api.request("PATCH", row, json={"model_id": "Gpt-4O"}).json["confirmations"]
    assert [row["code"] for row in key] == ["similar_id", "similar_id", "names_change"][: len(key)]
    keys = [row["key"] for row in key]
    assert api.request("PATCH", row, json={"model_id": "Gpt-4O", "confirm": keys}).status_code == 200


@pytest.mark.parametrize("confirm", ["key", [1], {"key": True}, ["x"] * 101, None])
def test_the_api_rejects_confirmations_of_another_form(api, confirm):
    assert api.post("/admin/models", model_values(confirm=confirm)).status_code in (400, 422)


def test_the_form_asks_with_a_box_and_keeps_what_was_typed(ann):
    page = ann.post("/admin/model/new/", FORM)
    assert (page.status_code, MESSAGE in page.text, 'value="Shouted"' in page.text, ids()) == (422, True, True, set())
    key = re.findall(r'name="confirm" value="(\w+)"', page.text)
    assert ann.post("/admin/model/new/", FORM | {"model_id": "Gpt-4O", "confirm": key}).status_code == 422
    assert (ann.post("/admin/model/new/", FORM | {"confirm": key}).status_code, ids()) == (302, {"GPT-4o"})
    row_id = db.session.execute(select(Model.id).where(Model.model_id == "GPT-4o")).scalar_one()
    assert ann.post(f"/admin/model/edit/?id={row_id}", FORM | {"display_name": "Renamed"}).status_code == 302


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (json.dumps(FILE | {"models": [model_values(model_id="GPT-4o")]}), "application/json"),
        ("provider,model_id,display_name,type\nopenai,GPT-4o,Shouted,text\n", "text/csv"),
    ],
)
def test_the_report_of_an_import_asks(api, content, content_type):
    headers = {"Content-Type": content_type}
    report = api.post("/admin/import?dry_run=true", data=content, headers=headers).json
    assert [change["questions"] for change in report["changes"]] == [[MESSAGE]]
    similar, names = report["confirmations"]
    assert (similar["code"], similar["message"], names["code"]) == ("similar_id", MESSAGE, "names_change")
    refused = api.post(f"/admin/import?confirm={names['key']}", data=content, headers=headers)
    assert (refused.status_code, refused.json["confirmations"], ids()) == (409, [similar, names], set())
    imported = api.post(f"/admin/import?confirm={similar['key']},{names['key']}", data=content, headers=headers)
    assert (imported.status_code, ids()) == (200, {"GPT-4o"})


def test_one_key_confirms_all_similar_ids_of_a_file(api):
    file = FILE | {"models": [model_values(model_id=model_id, active=False) for model_id in ("GPT-4o", "GPT-4o-mini")]}
    confirmations = api.post("/admin/import?dry_run=true", file).json["confirmations"]
    assert [row["code"] for row in confirmations] == ["similar_id", "names_change"]
    assert confirmations[0]["message"].startswith(f"{MESSAGE} GPT-4o-mini differs from gpt-4o-mini")
    assert api.post(f"/admin/import?confirm={','.join(row['key'] for row in confirmations)}", file).json["added"] == 2


def test_a_restored_id_asks_like_a_new_one(app):
    with writing() as session:
        row_id = models.create(session, model_values(model_id="renamed", active=False), actor="ann").id
    for model_id in ("GPT-4o", "renamed"):
        confirmed = (
            [row.key for row in refused(models.update, row_id, {"model_id": model_id}).confirmations] if model_id == "GPT-4o" else []
        )
        with writing() as session:
            models.update(session, row_id, {"model_id": model_id}, actor="ann", confirmed=confirmed)
    event = db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    required = refused(restore.restore, event, policy=None)
    assert [row.code for row in required.confirmations] == ["similar_id", "names_change"]
    with writing() as session:
        restore.restore(session, event, actor="ann", policy=None, confirmed=[row.key for row in required.confirmations])
    assert ids() == {"GPT-4o"}


def test_a_deleted_id_that_is_restored_asks_if_another_spelling_was_added_since(app):
    with writing() as session:
        row_id = models.create(session, model_values(model_id="Case-1", active=False), actor="ann").id
        models.delete(session, row_id, actor="ann")
    event = db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    with writing() as session:
        models.create(session, model_values(model_id="case-1", active=False), actor="ann")
    [similar] = refused(restore.restore, event, policy=None).confirmations
    assert similar.message.startswith("Case-1 differs from case-1")
    with writing() as session:
        restore.restore(session, event, actor="ann", policy=None, confirmed=[similar.key])


def test_restored_values_of_a_model_whose_id_stays_ask_nothing(app):
    with writing() as session:
        twin = models.create(session, model_values(model_id="renamed", active=False), actor="ann")
    keys = [row.key for row in refused(models.update, twin.id, {"model_id": "GPT-4o"}).confirmations]
    with writing() as session:
        models.update(session, twin.id, {"model_id": "GPT-4o"}, actor="ann", confirmed=keys)
        models.update(session, twin.id, {"display_name": "Another"}, actor="ann")
    event = db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    with writing() as session:
        restore.restore(session, event, actor="ann", policy=None)


def test_an_alias_can_be_the_id_of_an_inactive_model_and_not_of_an_active_one(api):
    inactive = api.post("/admin/models", model_values(model_id="idle", provider="mistral", active=False)).json
    made = api.post("/admin/models", model_values(aliases=["idle"]))
    assert (made.status_code, api.get("/models/idle").json["ref"]) == (201, "openai/test-model")
    assert api.get("/models/mistral/idle").json["id"] == inactive["id"]
    assert api.request("PATCH", f"/admin/models/{inactive['id']}", json={"display_name": "Idle"}).status_code == 200
    for taken in ("gpt-4o", "mistral/idle"):
        assert api.post("/admin/models", model_values(model_id="next", aliases=[taken])).json["code"] == "duplicate"
