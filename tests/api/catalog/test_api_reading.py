"""Read endpoints for applications."""

import json

import pytest
from environment import api_for
from sqlalchemy import event

from webapp.domain.catalog.serializers import model_document
from webapp.extensions import db
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

GETS = [
    "/models?limit=3",
    "/models/gpt-4o",
    "/supported?model=gpt-4o",
    "/defaults",
    "/defaults/text",
    "/providers",
    "/providers/openai",
    "/snapshot",
    "/explain?model=gpt-4o&at=2026-11-21T00:00:00Z",
    "/cost?model=gpt-4o&at=2026-11-21T00:00:00Z",
    "/openapi.json",
    "/admin/models",
    "/admin/models/1",
    "/admin/models/1/prices",
    "/admin/providers",
    "/admin/providers/1",
]


@pytest.mark.parametrize("path", GETS)
def test_every_get_has_a_strong_etag_and_knows_what_did_not_change(api, path):
    first = api.get(path)
    etag = first.headers["ETag"]
    assert (first.status_code, etag[0], etag[-1]) == (200, '"', '"')
    for if_none_match in (etag, "*", f'"x", {etag}', f"W/{etag}"):
        again = api.get(path, headers={"If-None-Match": if_none_match})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
        assert again.headers["Modeldesk-Revision"] == first.headers["Modeldesk-Revision"]
    assert api.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize("path", [path for path in GETS if path != "/openapi.json"])
def test_a_change_of_the_registry_changes_the_etag(api, path):
    before = api.get(path).headers["ETag"]
    assert api.post("/admin/models/1/prices", a_later_price()).status_code == 201
    assert api.get(path).headers["ETag"] != before


def a_later_price() -> dict:
    return {"state": "free", "currency": "USD", "effective_from": "2030-01-01T00:00:00Z", "rates": []}


def test_reading_touches_no_database(app, reader):
    def boom(*_):
        raise AssertionError("a query")

    event.listen(db.engine, "before_cursor_execute", boom)
    app.extensions["modeldesk"].refresher.stop()
    for path in GETS[:10]:
        assert reader.get(path).status_code == 200
    event.remove(db.engine, "before_cursor_execute", boom)


def every(reader, path="/models", **query) -> list[dict]:
    rows, cursor = [], None
    while True:
        page = reader.get(path, query_string=query | ({"cursor": cursor} if cursor else {})).json
        rows, cursor = rows + page["data"], page["next_cursor"]
        if cursor is None:
            assert page["total"] == len(rows)
            return rows


@pytest.mark.parametrize("name", ["display_name", "ref", "provider", "type", "updated_at"])
def test_paging_visits_every_row_once_in_order_both_ways(reader, registry, name):
    up = [row["ref"] for row in every(reader, sort=name, limit=7)]
    down = [row["ref"] for row in every(reader, sort=f"-{name}", limit=200)]
    assert down == up[::-1]
    assert sorted(up) == sorted(model.ref for model in registry.snapshot.models)


def test_the_order_is_the_display_order_unless_told_otherwise(reader, registry):
    assert [row["ref"] for row in every(reader, limit=33)] == [model.ref for model in registry.snapshot.models]


def test_a_row_added_between_two_pages_repeats_and_hides_nothing(reader):
    first = reader.get("/models?sort=ref&limit=10").json
    with writing() as session:
        values = {"provider": "anthropic", "model_id": "aaa", "display_name": "Aaa", "type": "text"}
        models.create(session, values, actor="tests")
    second = reader.get("/models", query_string={"sort": "ref", "limit": 10, "cursor": first["next_cursor"]}).json
    refs = [row["ref"] for row in first["data"] + second["data"]]
    assert len(set(refs)) == 20
    assert "anthropic/aaa" not in refs  # It sorts before the rows of the first page.


def test_a_cursor_is_good_for_its_own_list_only(reader):
    cursor = reader.get("/models?sort=ref&limit=5").json["next_cursor"]
    for query in ({"sort": "-ref"}, {"sort": "display_name"}, {"sort": "ref", "type": "text"}, {}):
        answer = reader.get("/models", query_string=query | {"cursor": cursor})
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "cursor")
    for forged in ("nonsense", "W10", "bnVsbA", "e30", "%00", "AAAA\xff"):
        assert reader.get("/models", query_string={"cursor": forged}).status_code == 400


FILTERS = [
    ({"type": "image"}, lambda row: row["type"] == "image"),
    ({"provider": "openai", "capability": "vision"}, lambda row: row["provider"] == "openai" and "vision" in row["capabilities"]),
    ({"active": "false"}, lambda row: not row["active"]),
    ({"default": "true"}, lambda row: row["default"]),
    ({"price_state": "unknown"}, lambda row: (row["price"] or {"state": "unknown"})["state"] == "unknown"),
    ({"q": "SONNET"}, lambda row: "sonnet" in f"{row['ref']} {row['display_name']} {row['aliases']}".lower()),
    ({"q": "%"}, lambda row: False),
]


@pytest.mark.parametrize(("asked", "fits"), FILTERS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_filter_keeps_exactly_what_fits(reader, asked, fits):
    assert [row["ref"] for row in every(reader, **asked)] == [row["ref"] for row in every(reader) if fits(row)]


BAD_QUERIES = [
    "limit=0",
    "limit=201",
    "limit=-1",
    "limit=ten",
    "limit=１",
    "limit=1e1",
    "limit=" + "9" * 5000,
    "limit=1&limit=2",
    "sort=id",
    "sort=--ref",
    "active=perhaps",
    "active=TRUE",
    "type=telepathy",
    "price_state=dear",
    "q=",
    "q=%00",
    "surprise=1",
    "api_key=x",
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=lambda query: query[:30])
def test_a_query_that_is_not_understood_is_400_and_names_the_parameter(reader, query):
    answer = reader.get(f"/models?{query}")
    assert (answer.status_code, answer.json["code"]) == (400, "malformed")
    assert answer.json["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize("spelling", ["openai/gpt-4o-mini", "openai%2Fgpt-4o-mini", "gpt-4o-mini", "GPT-4o-mini"])
def test_a_model_answers_to_every_spelling_of_its_ref(reader, spelling):
    assert reader.get(f"/models/{spelling}").json["ref"] == "openai/gpt-4o-mini"


@pytest.mark.parametrize("spelling", ["runware/runware:97@1", "runware%2Frunware%3A97%401", "runware:97@1"])
def test_a_ref_may_hold_colons_and_at_signs(reader, spelling):
    assert reader.get(f"/models/{spelling}").json["ref"] == "runware/runware:97@1"


@pytest.mark.parametrize(
    "ref", ["gpt-4o-mni", "openai/", "%00", "a%00b", "%ED%A0%80", "x" * 3000, "..%2F..%2Fetc%2Fpasswd", "a//b", "' OR '1'='1"]
)
def test_no_name_is_ever_guessed(reader, ref):
    answer = reader.get(f"/models/{ref}")
    assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")


def test_an_unknown_model_comes_with_suggestions_and_an_ambiguous_one_with_candidates(api):
    assert "openai/gpt-4o-mini" in api.get("/models/gpt-4o-mni").json["suggestions"]
    twin = {"model_id": "twin", "display_name": "Twin", "type": "text"}
    for provider in ("openai", "anthropic"):
        assert api.post("/admin/models", twin | {"provider": provider}).status_code == 201
    answer = api.get("/models/twin")
    assert (answer.status_code, answer.json["code"]) == (409, "ambiguous_model")
    assert answer.json["candidates"] == ["anthropic/twin", "openai/twin"]
    assert api.get("/supported?model=twin").json["reason"] == "ambiguous"


def test_supported_says_why_not_and_what_comes_next(api):
    successor = api.get("/models/gpt-4o").json["successor"]
    known = {"model": "gpt-4o", "ref": "openai/gpt-4o", "supported": True, "reason": None, "successor": successor}
    assert api.get("/supported?model=gpt-4o").json == known
    assert api.get("/supported?model=nope").json == {
        "model": "nope",
        "ref": None,
        "supported": False,
        "reason": "unknown",
        "successor": None,
    }
    model_id = api.get("/models/gpt-4o").json["id"]
    api.request("PATCH", f"/admin/models/{model_id}", json={"retires_on": "2020-01-01", "successor": "openai/gpt-4.1"})
    assert api.get("/supported?model=gpt-4o").json == known | {"supported": False, "reason": "retired", "successor": "openai/gpt-4.1"}


def test_defaults_are_whole_models_and_a_type_without_one_says_so(reader):
    defaults = reader.get("/defaults").json["data"]
    for kind, model in defaults.items():
        assert reader.get(f"/defaults/{kind}").json == model == reader.get(f"/models/{model['ref']}").json
    assert reader.get("/defaults/rerank").json["code"] == "no_default"
    assert reader.get("/defaults/telepathy").json["code"] == "not_found"


def test_the_snapshot_holds_every_model_with_its_history_and_no_token(reader, registry):
    answer = reader.get("/snapshot")
    document = answer.json
    assert document["revision"] == int(answer.headers["Modeldesk-Revision"])
    assert [model["ref"] for model in document["models"]] == [model.ref for model in registry.snapshot.models]
    assert sum(len(model["prices"]) for model in document["models"]) == sum(len(model.prices) for model in registry.snapshot.models)
    assert "tokens" not in document
    assert next(iter(registry.snapshot.tokens)) not in answer.text


def test_an_explanation_shows_every_step_and_the_price_of_the_moment(reader):
    explanation = reader.get("/explain?model=gpt-4o&at=2026-11-21T00:00:00Z").json
    assert [step["step"] for step in explanation["steps"]] == ["canonical ref", "exact alias", "bare model id"]
    assert explanation["model"]["ref"] == "openai/gpt-4o"
    assert {rate["meter"] for rate in explanation["price"]["rates"]} >= {"input", "output"}
    unknown = reader.get("/explain?model=nope").json
    assert (unknown["model"], unknown["reason"], unknown["price"]) == (None, "unknown", None)


def test_a_pattern_is_shown_among_its_models_names(api):
    model_id = api.get("/models/gpt-4o").json["id"]
    answer = api.request("PATCH", f"/admin/models/{model_id}", json={"aliases": ["my-4o", "my-4o-*"]})
    assert answer.json["aliases"] == ["my-4o", "my-4o-*"]
    assert api.get("/models/my-4o-blue").json["aliases"] == ["my-4o", "my-4o-*"]


def test_the_list_and_the_single_answer_agree_with_the_domain(reader, registry):
    for model in registry.snapshot.models[::20]:
        assert reader.get(f"/models/{model.ref}").json == json.loads(json.dumps(model_document(model)))


@pytest.mark.sqlite  # tests/test_outage.py does the same with a stopped PostgreSQL.
def test_reading_goes_on_when_the_database_is_gone(app, api, registry, settings):
    before = {path: api.get(path).data for path in GETS}
    settings.sqlite_path.rename(settings.sqlite_path.with_suffix(".away"))
    assert registry.refresh().source == "last-good"
    for path in GETS:
        answer = api.get(path)
        assert (answer.status_code, answer.headers["Modeldesk-Source"]) == (200, "last-good")
        if not path.startswith("/admin/providers"):
            assert answer.data == before[path]
    refused = api.post("/admin/providers", {"slug": "new", "display_name": "New", "driver": "openai"})
    assert (refused.status_code, refused.json["code"]) == (503, "database_unreachable")
    assert int(refused.headers["Retry-After"]) > 0


def test_an_empty_desk_serves_constants_for_reading_and_nothing_for_managing(empty_app):
    api = api_for(empty_app, "registry:read", "registry:write")
    assert api.get("/models/gpt-4o").headers["Modeldesk-Source"] == "constants"
    assert api.get("/admin/models").json == {"data": [], "next_cursor": None, "total": 0}
    made = api.post("/admin/providers", {"slug": "acme", "display_name": "Acme", "driver": "openai"})
    assert (made.status_code, made.json["models"], made.json["has_key"]) == (201, 0, False)
    assert [row["slug"] for row in api.get("/admin/providers").json["data"]] == ["acme"]


def test_models_of_several_providers_are_listed_together(api):
    counts = [api.get(f"/models?provider={slug}").json["total"] for slug in ("openai", "mistral")]
    both = api.get("/models?provider=openai,mistral&limit=200").json
    assert both["total"] == sum(counts) > max(counts)
    assert {model["provider"] for model in both["data"]} <= {"openai", "mistral"}
    assert api.get("/admin/models?provider=mistral,openai").json["total"] == both["total"]


@pytest.mark.parametrize(
    "query",
    [
        "provider=nope",
        "provider=openai,nope",
        "provider=openai,",
        "provider=,",
        "provider=OpenAI",
        "capability=vision,tools",
        "type=text,image",
    ],
)
@pytest.mark.parametrize("path", ["/models", "/admin/models"])
def test_a_filter_that_cannot_match_is_refused_by_name(api, path, query):
    response = api.get(f"{path}?{query}")
    assert (response.status_code, response.json["errors"][0]["field"]) == (400, query.partition("=")[0])
