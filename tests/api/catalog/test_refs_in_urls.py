"""Model ids that start with `@`, `/` or `~` at every entry point, and their refs in URLs, literal and percent-encoded."""

from urllib.parse import quote

import pytest
from environment import api_for
from factories import model_values

IDS = ("@cf/meta/llama-3.1-8b-instruct", "/m/a.gguf", "~/models/b.gguf", "~anthropic/claude-opus-latest")
SPELLINGS = (str, lambda ref: quote(ref), lambda ref: quote(ref, safe=""), lambda ref: ref.replace("/", "%2f"))


def created(api, model_id, **values):
    response = api.post("/admin/models", model_values(model_id=model_id, **values))
    assert response.status_code == 201, response.text
    return response.json


@pytest.mark.parametrize("model_id", IDS)
@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("query", ["", "?"], ids=["fast", "flask"])
def test_a_ref_has_one_meaning_in_every_spelling_of_its_url(api, model_id, spell, query):
    created(api, model_id, aliases=[f"{model_id}-alias"])
    for name in (f"openai/{model_id}", model_id, f"{model_id}-alias", f"openai/{model_id}-alias"):
        # If-None-Match of another tag leaves the fast path.
        response = api.get(f"/models/{spell(name)}{query}", headers={"If-None-Match": '"other"'} if query else {})
        assert (response.status_code, response.json["ref"]) == (200, f"openai/{model_id}"), name


@pytest.mark.parametrize("name", ["//m/a.gguf", "openai/m/a.gguf", "m/a.gguf", "openai///m/a.gguf"])
def test_slashes_are_not_merged_and_none_are_added(api, name):
    created(api, "/m/a.gguf")
    response = api.get(f"/models/{name}")
    assert (response.status_code, response.json["code"]) == (404, "unknown_model")


@pytest.mark.parametrize("model_id", IDS)
def test_cost_usage_explain_and_supported_know_the_id(app, api, model_id):
    created(api, model_id)
    for name in (model_id, f"openai/{model_id}"):
        assert api.post("/cost", {"model": name, "usage": {"input": 1}}).json["model"] == f"openai/{model_id}"
        assert api.get(f"/explain?model={quote(name, safe='')}").json["model"]["ref"] == f"openai/{model_id}"
        assert api.get(f"/supported?model={name}").json["supported"] is True
    reporter = api_for(app, "usage:write")
    response = reporter.post("/usage", {"model": model_id, "usage": {"input": 1}}, headers={"Idempotency-Key": "one"})
    assert (response.status_code, response.json["model"]) == (201, f"openai/{model_id}")


@pytest.mark.parametrize(("form", "kind"), {"json": "application/json", "yaml": "application/yaml", "csv": "text/csv"}.items())
def test_an_exported_registry_with_such_ids_imports_without_a_difference(api, form, kind):
    for model_id in IDS:
        created(api, model_id)
    content = api.get(f"/admin/export?format={form}").data
    assert all(model_id.encode() in content for model_id in IDS)
    report = api.post("/admin/import?dry_run=true", data=content, headers={"Content-Type": kind})
    assert (report.status_code, report.json["added"], report.json["changed"]) == (200, 0, 0), report.text


@pytest.mark.parametrize("model_id", IDS)
def test_the_form_and_a_hand_written_table_take_the_id(api, ann, model_id):
    ann.post("/admin/model/new/", {"provider": "openai", "model_id": model_id, "display_name": "X", "type": "text"})
    table = f"provider,model_id,display_name,type\nmistral,{model_id},Y,text\n"
    report = api.post("/admin/import", data=table, headers={"Content-Type": "text/csv"})
    assert (report.status_code, report.json["added"]) == (200, 1), report.text
    assert [api.get(f"/models/{provider}/{model_id}").status_code for provider in ("openai", "mistral")] == [200, 200]


@pytest.mark.parametrize("model_id", ["a//b", "a/../b", "a/.."])
def test_an_id_that_clients_would_rewrite_is_rejected_at_every_entry_point(api, ann, model_id):
    response = api.post("/admin/models", model_values(model_id=model_id))
    assert (response.status_code, response.json["errors"][0]["field"]) == (422, "model_id")
    aliased = api.post("/admin/models", model_values(aliases=[model_id]))
    assert (aliased.status_code, aliased.json["errors"][0]["field"]) == (422, "aliases[0]")
    page = ann.post("/admin/model/new/", {"provider": "openai", "model_id": model_id, "display_name": "X", "type": "text"})
    assert "must not contain //" in page.text
    assert api.get("/snapshot").json["models"]
    assert "a//b" not in api.get("/admin/export?format=csv").text


def test_an_inactive_model_of_another_provider_changes_no_name(app, api):
    created(api, "gpt-4o-mini", provider="mistral", active=False)
    assert api.get("/cost?model=gpt-4o-mini&input_tokens=1000").json["total"] == "0.00015"
    assert api.get("/models/gpt-4o-mini").json["ref"] == "openai/gpt-4o-mini"
    assert api.get("/supported?model=gpt-4o-mini").json["ref"] == "openai/gpt-4o-mini"
    assert api.post("/compare", {"usage": {"input": 1}, "models": ["gpt-4o-mini"]}).json["data"][0]["model"] == "openai/gpt-4o-mini"
    assert api.get("/models/mistral/gpt-4o-mini").json["active"] is False
    reporter = api_for(app, "usage:write")
    response = reporter.post("/usage", {"model": "gpt-4o-mini", "usage": {"input": 1}}, headers={"Idempotency-Key": "one"})
    assert (response.status_code, response.json["model"]) == (201, "openai/gpt-4o-mini")


def test_an_active_model_of_another_provider_makes_the_name_ambiguous(api):
    assert api.confirmed("POST", "/admin/models", model_values(model_id="gpt-4o-mini", provider="mistral")).status_code == 201
    response = api.get("/models/gpt-4o-mini")
    assert (response.status_code, response.json["candidates"]) == (409, ["mistral/gpt-4o-mini", "openai/gpt-4o-mini"])
