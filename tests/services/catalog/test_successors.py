"""Successors: no model succeeds itself, directly or after other models, at any entry point."""

import io
import json

import pytest
from factories import model_values
from sqlalchemy import select

from webapp.domain.shared.errors import Invalid
from webapp.extensions import db
from webapp.models import Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

MINI, BIG = "openai/gpt-4o-mini", "openai/gpt-4o"


def made(model_id, **more):
    with writing() as session:
        return models.create(session, model_values(model_id=model_id, **more), actor="ann").id


def changed(row_id, **values):
    with writing() as session:
        models.update(session, row_id, values, actor="ann")


@pytest.mark.parametrize("name", ["openai/self", "self", "self-latest"])
def test_a_model_is_not_its_own_successor_under_any_of_its_names(either_app, name):
    with pytest.raises(Invalid, match="names the model itself"):
        made("self", aliases=["self-latest"], successor=name)
    row_id = made("self", aliases=["self-latest"])
    with pytest.raises(Invalid, match="names the model itself"):
        changed(row_id, successor=name)


def test_a_chain_of_successors_does_not_return_to_its_start(either_app):
    first = made("first", successor="second")
    second = made("second", successor="third-alias")
    third = made("third", aliases=["third-alias"])
    with pytest.raises(Invalid, match="leads back to this model: openai/third -> openai/first -> openai/second -> openai/third"):
        changed(third, successor="openai/first")
    changed(third, successor=BIG)
    changed(second, successor=None)
    changed(third, successor="openai/first")
    with pytest.raises(Invalid, match="leads back"):
        changed(first, successor="openai/third")


def test_a_new_name_of_a_model_does_not_close_a_chain(either_app):
    first = made("first", successor="planned")
    made("second", successor="openai/first")
    with pytest.raises(Invalid, match="names the model itself"):
        changed(first, model_id="planned")
    with pytest.raises(Invalid, match="names the model itself"):
        changed(first, aliases=["planned"])
    changed(first, successor="later", aliases=["planned"])
    with pytest.raises(Invalid, match="leads back"):
        made("third", successor="second", aliases=["later"])


def test_a_model_of_the_same_id_at_another_provider_is_another_model(either_app):
    made("gpt-4o", provider="mistral", successor="openai/gpt-4o", active=False)
    made("first", successor="unknown-yet")


def test_every_entry_point_refuses_a_loop(api, bob):
    model_id = api.get(f"/admin/models?q={MINI}").json["data"][0]["id"]
    assert api.request("PATCH", f"/admin/models/{model_id}", json={"successor": BIG}).status_code == 200
    big_id = db.session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one()
    patched = api.request("PATCH", f"/admin/models/{big_id}", json={"successor": MINI})
    assert (patched.status_code, patched.json["errors"][0]["field"]) == (422, "successor")
    new = model_values(model_id="new", successor="new")
    assert api.post("/admin/models", new).status_code == 422
    form = bob.post("/admin/model/new/", {**{name: text for name, text in new.items() if isinstance(text, str)}})
    assert "names the model itself" in form.text
    document = {"format": "modeldesk-registry", "version": 1, "models": [new]}
    csv = "provider,model_id,display_name,type,successor\nopenai,new,New,text,openai/new\n"
    for content, content_type in ((json.dumps(document), "application/json"), (csv, "text/csv")):
        response = api.post("/admin/import", data=content, headers={"Content-Type": content_type})
        assert (response.status_code, "names the model itself" in response.text) == (422, True)
    upload = {"file": (io.BytesIO(csv.encode()), "models.csv")}
    assert "names the model itself" in bob.post("/admin/exchange/compare", upload, content_type="multipart/form-data").text
