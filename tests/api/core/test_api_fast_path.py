"""The fast path responds as the Flask views do. Each request is sent both ways."""

import pytest
from environment import api_for

MODEL, COST = "/api/v1/models/openai/gpt-4o", "/api/v1/cost"
BODY = {"model": "openai/gpt-4o", "usage": {"input": 1200, "output": 350, "cache_read": 100}, "at": "2026-11-21T00:00:00Z"}
VARYING = ("X-Request-Id", "Content-Length")


def both(app, **request):
    fast = app.test_client().open(**request)
    fast_path, app.wsgi_app = app.wsgi_app, app.wsgi_app._application
    slow = app.test_client().open(**request)
    app.wsgi_app = fast_path
    return fast, slow


def same(fast, slow) -> bool:
    headers = [{name: value for name, value in answer.headers.items() if name not in VARYING} for answer in (fast, slow)]
    return (fast.status_code, fast.data, headers[0]) == (slow.status_code, slow.data, headers[1])


ASKED = {
    "a model": {"path": MODEL},
    "a bare id": {"path": "/api/v1/models/gpt-4o"},
    "an unknown model": {"path": "/api/v1/models/nope"},
    "a strange name": {"path": "/api/v1/models/%ED%A0%80"},
    "a query": {"path": MODEL, "query_string": "x=1"},
    "a head": {"path": MODEL, "method": "HEAD"},
    "a strange host": {"path": MODEL, "base_url": "http://evil.example"},
    "a cost": {"path": COST, "method": "POST", "json": BODY},
    "other spellings": {"path": COST, "method": "POST", "json": BODY | {"usage": {"input_tokens": 5}}},
    "a cost of nothing known": {"path": COST, "method": "POST", "json": BODY | {"model": "nope"}},
    "a bad usage": {"path": COST, "method": "POST", "json": BODY | {"usage": {"input": -1}}},
    "no JSON": {"path": COST, "method": "POST", "data": b"{", "content_type": "application/json"},
    "no body": {"path": COST, "method": "POST"},
    "another kind": {"path": COST, "method": "POST", "data": b"{}", "content_type": "text/plain"},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("token", ["good", "none", "bad"])
def test_the_hot_path_answers_as_the_door_does(app, reader, asked, token):
    headers = {"good": {"Authorization": f"Bearer {reader.token}"}, "none": {}, "bad": {"Authorization": f"Bearer {reader.token}x"}}[token]
    assert same(*both(app, headers=headers, **asked))


def test_an_unchanged_model_is_304_either_way(app, reader):
    headers = {"Authorization": f"Bearer {reader.token}"}
    etag = reader.get("/models/gpt-4o").headers["ETag"]
    for if_none_match, status in ((etag, 304), ('"other"', 200), ("*", 304), (f'"a", {etag}', 304), (f"W/{etag}", 304)):
        fast, slow = both(app, path=MODEL, headers=headers | {"If-None-Match": if_none_match})
        assert same(fast, slow)
        assert fast.status_code == status


def test_the_hot_path_really_is_taken(app, reader):
    seen = []
    app.before_request(lambda: seen.append(1))
    assert reader.get("/models/openai/gpt-4o").status_code == 200
    assert reader.post("/cost", BODY).status_code == 200
    assert seen == []
    assert reader.get("/models/nope").status_code == 404
    assert seen == [1]


def test_a_token_without_the_scope_does_not_pass_by_the_door(app):
    from_other = {"Authorization": f"Bearer {api_for(app, 'usage:write').token}"}
    assert app.test_client().get(MODEL, headers=from_other).status_code == 403
    assert app.test_client().post(COST, headers=from_other, json=BODY).status_code == 403


def test_the_hot_path_serves_a_change_at_once(api):
    before = api.get("/models/openai/gpt-4o")
    model_id = before.json["id"]
    api.request("PATCH", f"/admin/models/{model_id}", json={"display_name": "Renamed"})
    after = api.get("/models/openai/gpt-4o", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json["display_name"]) == (200, "Renamed")
