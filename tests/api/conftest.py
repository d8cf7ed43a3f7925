"""Every response that a test of the API gets is compared with the OpenAPI document."""

import json
from functools import cache
from typing import Any

import jsonschema
import pytest
from factories import Api
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from webapp.api.v1.core.openapi import openapi_document, path_of
from webapp.api.v1.routes import ROUTES

MAX_BYTES = 100_000  # Larger bodies hold the whole registry, and validating all of them would double the time of the tests.


@cache
def document() -> dict[str, Any]:
    return openapi_document(ROUTES)


@cache
def validator(schema: str) -> jsonschema.Draft202012Validator:
    """Return the validator of a schema, given as JSON."""
    return jsonschema.Draft202012Validator({**json.loads(schema), "components": document()["components"]})


def check_response(method: str, path: str, response: TestResponse) -> None:
    """Fail if the status, content type, headers or body of a response are not described."""
    operation = document()["paths"][path].get("get" if method == "HEAD" else method.lower())
    if operation is None:
        assert response.status_code == 405
        return
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, f"{response.status_code} is not described for {method} {path}: {response.text[:300]}"
    missing = set(described.get("headers", ())) - set(response.headers.keys())
    assert not missing, f"{missing} of {method} {path} are described and not sent"
    if not (response.data and response.is_json):
        return
    schema = described["content"][response.mimetype]["schema"]
    if len(response.data) <= MAX_BYTES:
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator(json.dumps(schema)).iter_errors(response.json)]
        assert not errors, f"{method} {path}: {errors[:3]}"


@pytest.fixture(autouse=True)
def responses_are_described(monkeypatch) -> None:
    """Check all requests of `Api` that reach an endpoint. A wrong address, host or method is not an operation."""
    paths = {route.name: path_of(route) for route in ROUTES}
    unchecked = Api.request

    def request(self: Api, method: str, path: str, **options: Any) -> TestResponse:
        response = unchecked(self, method, path, **options)
        try:
            rule, _ = self.client.application.url_map.bind("localhost").match(f"/api/v1{path.partition('?')[0]}", method)
        except HTTPException:
            return response
        if (name := rule.rpartition(".")[2]) in paths:
            check_response(method, paths[name], response)
        return response

    monkeypatch.setattr(Api, "request", request)
