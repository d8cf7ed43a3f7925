"""Changes to the registry through the API."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from environment import api_for
from factories import model_values, price_values, provider_values
from sqlalchemy import select

from webapp.api.v1.routes import ROUTES
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PROVIDER_CHECKS
from webapp.models import AuditEvent
from webapp.runtime.transaction import writing

WRITES = {
    "create_model": {"json": model_values()},
    "replace_model": {"json": model_values(display_name="Replaced")},
    "edit_model": {"json": {"display_name": "Edited"}},
    "delete_model": {},
    "toggle_model": {},
    "set_default_model": {},
    "add_price": {"json": price_values()},
    "cancel_price": {},
    "verify_price": {},
    "create_provider": {"json": provider_values()},
    "replace_provider": {"json": provider_values(base_url="https://api.spare.example/v1")},
    "edit_provider": {"json": {"display_name": "Edited"}},
    "delete_provider": {},
    "toggle_provider": {},
    "set_primary_provider": {},
    "clear_primary_provider": {},
    "store_credential": {"json": {"api_key": "sk-a-key-for-tests"}},
    "remove_credential": {},
    "start_run": {"json": {"incident": {"title": "Disk is full"}}},
}
LATER = "2099-01-01T00:00:00Z"
ANSWERED_WITHOUT_CHANGING = {"post_cost", "post_costs", "post_quote", "post_comparison"}
RECORDS_ITSELF = {"report_usage"}  # A usage record is its own audit row; tests/api/usage/test_api_usage.py covers it.
# One event for each row and one for the file; tests/api/transfer/test_api_registry_files.py covers it.
RECORDS_EACH_ROW = {"import_catalogue"}
ELSEWHERE = ANSWERED_WITHOUT_CHANGING | RECORDS_ITSELF | RECORDS_EACH_ROW
MUTATING = [route for route in ROUTES if route.method != "GET" and route.name not in ELSEWHERE]


def events(app) -> list[AuditEvent]:
    with writing(refresh=False) as session:
        return list(session.execute(select(AuditEvent).order_by(AuditEvent.id)).scalars())


def address(api, route) -> str:
    """Return the route's address, with the id of an unused row."""
    if "<number>" not in route.rule:
        return route.rule
    if route.rule.startswith("/admin/models"):
        row_id = api.post("/admin/models", model_values(model_id="spare")).json["id"]
        values = price_values(effective_from=LATER) if route.name == "cancel_price" else price_values()
        price = api.post(f"/admin/models/{row_id}/prices", values).json["id"] if "<price>" in route.rule else None
        return route.rule.replace("<number>", str(row_id)).replace("<price>", str(price))
    spare = provider_values(slug="spare", base_url="https://api.spare.example/v1")
    row_id = api.post("/admin/providers", spare).json["id"]
    if route.name == "remove_credential":
        api.request("PUT", f"/admin/providers/{row_id}/credential", json={"api_key": "sk-a-key-for-tests"})
    return route.rule.replace("<number>", str(row_id))


def test_every_mutating_route_is_known_here():
    assert {route.name for route in MUTATING} == set(WRITES)


@pytest.mark.parametrize("route", MUTATING, ids=lambda route: route.name)
def test_a_change_leaves_exactly_one_event_with_the_token_as_actor(app, api, route):
    path = address(api, route)
    before = len(events(app))
    answer = api.request(route.method, path, **WRITES[route.name])
    assert answer.status_code == route.status, answer.text
    after = events(app)
    assert len(after) == before + 1
    assert (after[-1].actor, after[-1].request_id) == ("token:a test", answer.headers["X-Request-Id"])


@pytest.mark.parametrize("route", [route for route in MUTATING if route.request_schema], ids=lambda route: route.name)
def test_a_refused_change_leaves_nothing(app, api, registry, route):
    path = address(api, route)
    before = (len(events(app)), registry.refresh().revision)
    sent = WRITES[route.name]["json"]
    for body in ([], sent | {"id": 7}, sent | {"version": 1}, dict.fromkeys(sent, 1.5), {name: [] for name in sent}):
        assert api.request(route.method, path, json=body).status_code in (400, 422)
    assert api.request(route.method, path, data=b"{", content_type="application/json").status_code == 400
    assert (len(events(app)), registry.refresh().revision) == before


def test_a_change_is_served_at_once_and_says_its_revision(api):
    made = api.post("/admin/models", model_values(aliases=["tm"], capabilities=["chat"]))
    assert made.status_code == 201
    assert made.headers["Location"] == f"/api/v1/admin/models/{made.json['id']}"
    served = api.get("/models/tm")
    assert served.json == made.json == api.get(f"/admin/models/{made.json['id']}").json
    assert served.headers["Modeldesk-Revision"] == made.headers["Modeldesk-Revision"]


def test_patch_changes_what_it_names_and_put_resets_the_rest(api):
    model_id = api.post("/admin/models", model_values(context_window=9_000, aliases=["tm"], description="Long")).json["id"]
    patched = api.request("PATCH", f"/admin/models/{model_id}", json={"display_name": "New"}).json
    assert (patched["display_name"], patched["context_window"], patched["aliases"]) == ("New", 9_000, ["tm"])
    replaced = api.request("PUT", f"/admin/models/{model_id}", json=model_values()).json
    assert (replaced["display_name"], replaced["context_window"], replaced["aliases"]) == ("Test model", None, [])
    missing = api.request("PUT", f"/admin/models/{model_id}", json={"display_name": "Alone"})
    assert {error["field"] for error in missing.json["errors"]} == {"provider", "model_id", "type"}


@pytest.mark.parametrize(
    ("path", "values", "fields"), [("models", model_values(), MODEL_CHECKS), ("providers", provider_values(), PROVIDER_CHECKS)]
)
def test_what_is_read_can_be_entered_again(api, path, values, fields):
    made = api.post(f"/admin/{path}", values).json
    entered = {name: made[name] for name in fields}
    again = api.request("PUT", f"/admin/{path}/{made['id']}", json=entered)
    assert again.status_code == 200, again.text
    assert {name: again.json[name] for name in fields} == entered


@pytest.mark.parametrize("path", ["/admin/models", "/admin/providers"])
def test_an_edit_from_an_old_copy_is_refused(api, path):
    made = api.post(path, model_values() if "models" in path else provider_values())
    row, old = f"{path}/{made.json['id']}", made.headers["ETag"]
    assert old.startswith('"v1.')
    assert api.request("PATCH", row, json={"display_name": "First"}, headers={"If-Match": old}).status_code == 200
    for method, sent in (("PATCH", {"json": {"display_name": "Second"}}), ("PUT", {"json": made.json}), ("DELETE", {})):
        if method == "PUT":
            sent = {"json": model_values() if "models" in path else provider_values()}
        refused = api.request(method, row, headers={"If-Match": old}, **sent)
        assert (refused.status_code, refused.json["code"]) == (412, "stale")
    assert api.post(f"{row}/toggle-active", headers={"If-Match": old}).status_code == 412
    assert api.get(row).json["display_name"] == "First"


@pytest.mark.parametrize(
    ("asked", "status"),
    [('"1"', 200), ('"v1"', 200), ("*", 200), ('"7", "v1"', 200), ('"v2"', 412), ("1", 412), ('W/"v1"', 412), ('"x"', 412)],
)
def test_an_if_match_names_the_version_in_any_honest_way(api, asked, status):
    model_id = api.post("/admin/models", model_values()).json["id"]
    answer = api.request("PATCH", f"/admin/models/{model_id}", json={"display_name": "New"}, headers={"If-Match": asked})
    assert answer.status_code == status


def test_of_simultaneous_edits_exactly_one_wins(either_app):
    api = api_for(either_app, "registry:read", "registry:write")
    made = api.post("/admin/models", model_values())

    def edit(number: int) -> int:
        path = f"/admin/models/{made.json['id']}"
        return (
            api_of(api, either_app)
            .request("PATCH", path, json={"display_name": f"E{number}"}, headers={"If-Match": made.headers["ETag"]})
            .status_code
        )

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(edit, range(6))) == [200] + [412] * 5


def api_of(api, app):
    """Return a new client with the same token."""
    return type(api)(app.test_client(), api.token)


@pytest.mark.parametrize("number", ["0", "99999999", "999999999999999999", "9" * 30, "-1", "1.5", "one", "１", "%00", "1 "])
def test_what_is_no_id_is_not_found(api, number):
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/toggle-active"), ("GET", "/prices"), ("POST", "/prices")):
        sent = {"json": {} if path != "/prices" else price_values()} if method in ("PATCH", "POST") else {}
        assert api.request(method, f"/admin/models/{number}{path}", **sent).status_code == 404
    assert api.get(f"/admin/providers/{number}").status_code == 404
    assert api.request("PUT", f"/admin/providers/{number}/credential", json={"api_key": "sk-abcdef"}).status_code == 404


def test_what_others_use_is_not_deleted_and_they_are_named(api):
    provider = next(row for row in api.get("/admin/providers").json["data"] if row["slug"] == "openai")
    refused = api.request("DELETE", f"/admin/providers/{provider['id']}")
    assert (refused.status_code, refused.json["code"]) == (409, "in_use")
    assert "openai/gpt-4o-mini" in refused.json["users"]
    default = api.get("/defaults/text").json
    for answer in (api.request("DELETE", f"/admin/models/{default['id']}"), api.post(f"/admin/models/{default['id']}/toggle-active")):
        assert (answer.status_code, answer.json["users"]) == (409, ["default for text"])


def test_names_are_taken_once(api):
    api.post("/admin/models", model_values(aliases=["tm"]))
    for values in (model_values(), model_values(model_id="other", aliases=["tm"])):
        refused = api.post("/admin/models", values)
        assert (refused.status_code, refused.json["code"]) == (409, "duplicate")
    assert api.post("/admin/providers", provider_values(slug="openai")).json["code"] == "duplicate"


def test_a_price_is_added_with_its_end_and_never_changed(api):
    model_id = api.post("/admin/models", model_values()).json["id"]
    first = api.post(f"/admin/models/{model_id}/prices", price_values())
    assert (first.status_code, first.json["effective_to"]) == (201, None)
    second = api.post(f"/admin/models/{model_id}/prices", price_values(effective_from="2026-11-10T00:00:00Z", state="free", rates=[]))
    history = api.get(f"/admin/models/{model_id}/prices").json["data"]
    assert [price["id"] for price in history] == [first.json["id"], second.json["id"]]
    assert history[0]["effective_to"] == "2026-11-10T00:00:00Z"
    assert api.post(f"/admin/models/{model_id}/prices", price_values()).status_code == 409
    for method in ("PUT", "PATCH", "DELETE"):
        assert api.request(method, f"/admin/models/{model_id}/prices/{first.json['id']}").status_code == 404


def test_a_corrected_price_stays_in_the_history(api):
    model_id = api.post("/admin/models", model_values()).json["id"]
    wrong = api.post(f"/admin/models/{model_id}/prices", price_values()).json
    right = api.post(f"/admin/models/{model_id}/prices", price_values(corrects=wrong["id"], note="A slip")).json
    history = api.get(f"/admin/models/{model_id}/prices").json["data"]
    assert {price["id"]: price["corrects"] for price in history} == {wrong["id"]: None, right["id"]: wrong["id"]}
    assert api.get(f"/admin/models/{model_id}").json["price"]["id"] == right["id"]


def test_a_price_is_verified_and_says_so_everywhere_without_being_changed(api):
    model_id = api.post("/admin/models", model_values()).json["id"]
    wrong = api.post(f"/admin/models/{model_id}/prices", price_values()).json
    assert wrong["source"]["verified_at"] is None
    verified = api.post(f"/admin/models/{model_id}/prices/{wrong['id']}/verify")
    verified_at = verified.json["source"]["verified_at"]
    assert (verified.status_code, verified_at is None) == (200, False)
    shown = api.get(f"/models/{api.get(f'/admin/models/{model_id}').json['ref']}").json["price"]
    assert shown == verified.json == wrong | {"source": wrong["source"] | {"verified_at": verified_at}}
    api.post(f"/admin/models/{model_id}/prices", price_values(corrects=wrong["id"]))
    refused = api.post(f"/admin/models/{model_id}/prices/{wrong['id']}/verify")
    assert (refused.status_code, refused.json["code"]) == (409, "corrected")
    for path in (f"1/prices/{wrong['id']}", f"{model_id}/prices/999999", f"{model_id}/prices/one"):
        assert api.post(f"/admin/models/{path}/verify").status_code == 404


def cost_of_a_million(api, ref, at):
    return api.get("/cost", query_string={"model": ref, "input_tokens": 1_000_000, "at": at}).json


def priced(amount: str, **more) -> dict:
    return price_values(rates=[{"meter": "input", "amount": amount, "per": 1_000_000}], **more)


def test_a_scheduled_price_is_canceled_by_a_correction_with_the_rates_before(api):
    made = api.post("/admin/models", model_values()).json
    path = f"/admin/models/{made['id']}/prices"
    before = api.post(path, priced("3")).json
    scheduled = api.post(path, priced("9", effective_from=LATER)).json
    canceled = api.post(f"{path}/{scheduled['id']}/cancel")
    assert (canceled.status_code, canceled.headers["Location"]) == (201, f"/api/v1{path}")
    expected = {"corrects": scheduled["id"], "cancels": True, "effective_from": LATER, "rates": before["rates"], "state": "priced"}
    assert {name: canceled.json[name] for name in expected} == expected
    assert [(row["id"], row["corrects"], row["cancels"], row["effective_to"]) for row in api.get(path).json["data"]] == [
        (before["id"], None, False, None),
        (scheduled["id"], None, False, None),
        (canceled.json["id"], scheduled["id"], True, None),
    ]
    assert cost_of_a_million(api, made["ref"], "2100-01-01T00:00:00Z")["total"] == "3"


def test_a_price_without_one_before_it_is_unknown_after_it_was_canceled(api):
    made = api.post("/admin/models", model_values()).json
    path = f"/admin/models/{made['id']}/prices"
    scheduled = api.post(path, priced("9", effective_from=LATER, currency="EUR")).json
    canceled = api.post(f"{path}/{scheduled['id']}/cancel").json
    assert (canceled["state"], canceled["rates"], canceled["currency"], canceled["cancels"]) == ("unknown", [], "EUR", True)
    cost = cost_of_a_million(api, made["ref"], "2100-01-01T00:00:00Z")
    assert (cost["price_state"], cost["total"]) == ("unknown", None)


def test_what_has_started_or_is_corrected_or_canceled_is_not_canceled(api):
    made = api.post("/admin/models", model_values()).json
    path = f"/admin/models/{made['id']}/prices"
    started = api.post(path, priced("3")).json
    corrected = api.post(path, priced("9", effective_from=LATER)).json
    correction = api.post(path, priced("8", effective_from=LATER, corrects=corrected["id"])).json

    def refusal(price) -> tuple:
        refused = api.post(f"{path}/{price['id']}/cancel")
        return refused.status_code, refused.json["code"]

    assert (refusal(started), refusal(corrected)) == ((409, "started"), (409, "corrected"))
    cancellation = api.post(f"{path}/{correction['id']}/cancel").json
    assert cancellation["rates"] == started["rates"]
    assert [refusal(price) for price in (correction, cancellation)] == [(409, "canceled")] * 2
    assert len(api.get(path).json["data"]) == 4


def test_only_a_price_of_this_model_is_canceled_and_only_from_a_fresh_copy(api, reader):
    made = api.post("/admin/models", model_values())
    path = f"/admin/models/{made.json['id']}/prices"
    scheduled = api.post(path, priced("9", effective_from=LATER)).json["id"]
    for wrong in (
        f"1/prices/{scheduled}",
        f"{made.json['id']}/prices/999999",
        f"{made.json['id']}/prices/one",
        f"999999/prices/{scheduled}",
    ):
        assert api.post(f"/admin/models/{wrong}/cancel").status_code == 404
    assert reader.post(f"{path}/{scheduled}/cancel").status_code == 403
    api.request("PATCH", f"/admin/models/{made.json['id']}", json={"display_name": "Edited"})
    stale = api.post(f"{path}/{scheduled}/cancel", headers={"If-Match": made.headers["ETag"]})
    assert (stale.status_code, stale.json["code"]) == (412, "stale")
    assert api.post(f"{path}/{scheduled}/cancel", {"note": "x"}).status_code == 400
    assert api.post(f"{path}/{scheduled}/cancel").status_code == 201


def test_one_default_per_type_and_one_primary(api):
    model_ids = [api.post("/admin/models", model_values(model_id=f"r{n}", type="rerank")).json["id"] for n in range(2)]
    for model_id in model_ids:
        assert api.post(f"/admin/models/{model_id}/set-default").json["default"] is True
    assert api.get(f"/admin/models/{model_ids[0]}").json["default"] is False
    slugs = ["one", "two"]
    for slug in slugs:
        made = api.post("/admin/providers", provider_values(slug=slug)).json
        assert api.post(f"/admin/providers/{made['id']}/set-primary").json["primary"] is True
    assert [row["slug"] for row in api.get("/providers").json["data"] if row["primary"]] == ["two"]
    assert api.request("DELETE", "/admin/providers/primary").status_code == 204
    assert not any(row["primary"] for row in api.get("/providers").json["data"])


def test_a_key_goes_in_and_never_comes_out(app, api):
    key = "sk-CANARY-0123456789"
    made = api.post("/admin/providers", provider_values()).json
    stored = api.request("PUT", f"/admin/providers/{made['id']}/credential", json={"api_key": key})
    assert (stored.status_code, stored.json["has_key"]) == (200, True)
    seen = [
        stored,
        *(api.get(path) for path in ("/providers", "/providers/acme", "/snapshot", "/admin/providers", f"/admin/providers/{made['id']}")),
    ]
    assert all("CANARY" not in answer.text and "gAAAA" not in answer.text for answer in seen)
    trail = json.dumps([[event.before, event.after] for event in events(app)])
    assert "CANARY" not in trail
    moved = api.request("PATCH", f"/admin/providers/{made['id']}", json={"base_url": "https://elsewhere.example/v1"})
    assert moved.json["has_key"] is False


BAD_KEYS = [
    {},
    {"api_key": ""},
    {"api_key": 7},
    {"api_key": "CANARY two"},
    {"api_key": "CANARY\nX"},
    {"api_key": "CANARY\u0000"},
    {"api_key": "CANARY", "base_url": "https://evil.example"},
    {"api_key": ["CANARY"]},
    {"api_key": "CANARY" * 900},
]


@pytest.mark.parametrize("bad", BAD_KEYS, ids=lambda bad: str(bad)[:40])
def test_a_bad_key_is_refused_without_being_repeated(api, bad):
    answer = api.request("PUT", "/admin/providers/1/credential", json=bad)
    assert answer.status_code in (400, 422)
    assert "CANARY" not in answer.text


def test_managed_lists_are_searched_and_paged(api):
    for slug in ("aa-one", "aa-two", "aa-three"):
        api.post("/admin/providers", provider_values(slug=slug, display_name="Zed"))
    first = api.get("/admin/providers?q=AA-&limit=2").json
    second = api.get("/admin/providers", query_string={"q": "AA-", "limit": 2, "cursor": first["next_cursor"]}).json
    assert [row["slug"] for row in first["data"] + second["data"]] == ["aa-one", "aa-three", "aa-two"]
    assert (first["total"], second["next_cursor"]) == (3, None)
    assert all(row["id"] for row in api.get("/admin/models?q=gpt-4o&limit=5").json["data"])
