"""Authorization of every route in the route table, so that a new route cannot be forgotten."""

import pytest
from environment import api_for

from webapp.api.v1.routes import ROUTES
from webapp.domain.accounts.permissions import SCOPES, scopes_allow

ADDRESSES = {"<path:ref>": "openai/gpt-4o-mini", "<model_type>": "text", "<slug>": "openai", "<number>": "1", "<run_id>": "run_1"}
OPEN = {"/openapi.json", "/docs"}
GUARDED = [route for route in ROUTES if route.permission is not None]


def address(route) -> str:
    path = route.rule
    for variable, value in ADDRESSES.items():
        path = path.replace(variable, value)
    return path


def named(route) -> str:
    return f"{route.method} {route.rule}"


def test_only_the_description_is_open():
    assert {route.rule for route in ROUTES if route.permission is None} == OPEN


def test_what_is_served_is_the_table_and_nothing_else(app):
    served = {
        (method, rule.rule.removeprefix("/api/v1"), app.view_functions[rule.endpoint].permission)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in rule.methods - {"HEAD"}
    }
    assert served == {(route.method, route.rule, route.permission) for route in ROUTES}


@pytest.mark.parametrize("route", GUARDED, ids=named)
def test_a_stranger_is_asked_for_a_token_before_anything_is_judged(client, registry, route):
    before = registry.snapshot.revision
    answer = client.open(f"/api/v1{address(route)}", method=route.method, data=b"{", content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Modeldesk-Revision"] == str(before)
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("route", GUARDED, ids=named)
def test_t11_a_token_without_the_scope_is_refused(app, registry, route):
    insufficient = [scope for scope in SCOPES if not scopes_allow(frozenset({scope}), route.permission)]
    unauthorized = api_for(app, *insufficient)
    before = registry.snapshot.revision
    answer = unauthorized.request(route.method, address(route), data=b"{", content_type="application/json")
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert answer.headers["Modeldesk-Revision"] == str(before) == str(registry.refresh().revision)


@pytest.mark.parametrize("route", [route for route in GUARDED if route.method == "GET"], ids=named)
def test_t11_a_head_is_judged_like_its_get(client, api, route):
    assert client.head(f"/api/v1{address(route)}").status_code == 401
    assert api.request("HEAD", address(route)).status_code == api.get(address(route)).status_code


def test_t11_anything_but_one_good_bearer_token_is_refused(client, reader):
    good = reader.token
    for value in (
        f"bearer {good}",
        f"Token {good}",
        good,
        f"Bearer {good}x",
        f"Bearer  {good}",
        f"Bearer {good}, Bearer {good}",
        "Bearer \xe9",
    ):
        assert client.get("/api/v1/models/gpt-4o", headers={"Authorization": value}).status_code == 401
    for headers in (
        {"X-Api-Key": good},
        {"Cookie": f"token={good}"},
        {"X-Original-URL": "/api/v1/docs"},
        {"X-Forwarded-User": "ann@example.com"},
    ):
        assert client.get("/api/v1/models/gpt-4o", headers=headers).status_code == 401
    assert client.get(f"/api/v1/models/gpt-4o?access_token={good}").status_code == 401


def test_t11_a_signed_in_browser_is_nobody_here(ann):
    assert ann.get("/api/v1/models").status_code == 401


def test_t11_no_header_changes_the_method(reader):
    answer = reader.get("/models/gpt-4o", headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 200


def test_an_unknown_address_and_a_wrong_method_are_problems_that_name_their_origin(reader):
    wrong = [
        (404, reader.get("/no-such-thing")),
        (404, reader.get("/models/")),
        (405, reader.request("OPTIONS", "/models")),
        (405, reader.request("DELETE", "/models")),
    ]
    for status, answer in wrong:
        assert (answer.status_code, answer.json["status"]) == (status, status)
        assert answer.content_type == "application/problem+json"
        assert {"Modeldesk-Revision", "Modeldesk-Source", "Modeldesk-As-Of", "X-Request-Id"} <= set(answer.headers.keys())
    assert set(wrong[3][1].headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_nothing_under_the_api_sets_or_depends_on_a_cookie(reader, ann):
    ann.client.set_cookie("modeldesk_revision", "999999")
    for answer in (reader.get("/models"), reader.get("/nothing"), ann.get("/api/v1/models")):
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")
    assert "Access-Control-Allow-Origin" not in reader.get("/models", headers={"Origin": "https://evil.example"}).headers
