"""The OpenAPI document describes every served route, and responses match its schemas."""

import re
import warnings

import jsonschema
import pytest
from factories import model_values, price_values, provider_values

from webapp.api.v1.core import openapi
from webapp.api.v1.core.schemas import MODEL_FIELDS, PROVIDER_FIELDS
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PROVIDER_CHECKS
from webapp.domain.shared import errors
from webapp.web.errors import CODE_BY_STATUS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from openapi_spec_validator import validate


@pytest.fixture
def document(client):
    return client.get("/api/v1/openapi.json").json


def test_the_document_is_valid(document):
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_what_is_described_is_what_is_served(app, document):
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (method, re.sub(r"<(?:path:)?([a-z_]+)>", r"{\1}", rule.rule.removeprefix("/api/v1")))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in rule.methods - {"HEAD"}
    }
    assert described == served


def conforms(document, name: str, value) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


SHOWN = {
    "/models?limit=200": "ModelPage",
    "/models/gpt-4o": "Model",
    "/supported?model=nope": "Supported",
    "/supported?model=gpt-4o": "Supported",
    "/defaults": "Defaults",
    "/defaults/text": "Model",
    "/providers": "ProviderList",
    "/providers/openai": "Provider",
    "/snapshot": "Snapshot",
    "/explain?model=gpt-4o": "Explanation",
    "/explain?model=nope": "Explanation",
    "/cost?model=gpt-4o&input_tokens=5": "Cost",
    "/admin/models": "ModelPage",
    "/admin/models/1": "Model",
    "/admin/models/1/prices": "PriceList",
    "/admin/providers": "ManagedProviderPage",
    "/admin/providers/1": "ManagedProvider",
    "/models/nope": "Problem",
    "/models?limit=0": "Problem",
    "/runs/nope": "Problem",
}


@pytest.mark.parametrize(("path", "name"), SHOWN.items())
def test_an_answer_has_the_shape_that_is_described(api, document, path, name):
    conforms(document, name, api.get(path).json)


def test_the_answers_to_posts_have_the_shapes_that_are_described(api, document):
    usage = {"input": 5, "output": 1}
    model_id = api.post("/admin/models", model_values()).json["id"]
    rates = [{"meter": "input", "amount": "1", "per": 1}]
    posted = {
        "/cost": ({"model": "gpt-4o", "usage": usage}, "CostRequest", "Cost"),
        "/cost/batch": ({"items": [{"model": "gpt-4o", "usage": usage}, {"model": "no", "usage": {}}]}, "CostBatchRequest", "CostBatch"),
        "/quote": ({"price": {"currency": "USD", "rates": rates}, "usage": usage}, "QuoteRequest", "Cost"),
        "/compare": ({"usage": usage, "type": "text"}, "CompareRequest", "Comparison"),
        "/admin/models": (model_values(model_id="second"), "NewModel", "Model"),
        f"/admin/models/{model_id}/prices": (price_values(), "NewPrice", "Price"),
        "/admin/providers": (provider_values(), "NewProvider", "ManagedProvider"),
        "/runs": ({"incident": {"title": "Disk is full"}}, "RunRequest", "Run"),
    }
    for path, (body, request_schema, response_schema) in posted.items():
        conforms(document, request_schema, body)
        conforms(document, response_schema, api.post(path, body).json)
    file = {"format": "modeldesk-registry", "version": 1, "models": [model_values(model_id="third")]}
    conforms(document, "Imported", api.post("/admin/import?dry_run=true", file).json)


def test_the_described_fields_are_those_that_can_be_entered():
    assert set(MODEL_FIELDS) == set(MODEL_CHECKS)
    assert set(PROVIDER_FIELDS) == set(PROVIDER_CHECKS)


def every_error(kind=errors.ModeldeskError):
    return [kind, *(error for inner in kind.__subclasses__() for error in every_error(inner))]


def test_every_code_is_explained_under_the_anchor_that_problems_lead_to(client):
    codes = {kind.code for kind in every_error() if kind.__module__ == "webapp.domain.shared.errors"} | set(CODE_BY_STATUS.values())
    assert codes <= set(openapi.CODE_DESCRIPTIONS)
    page = client.get("/api/v1/docs").text
    assert all(f'id="{code}"' in page for code in openapi.CODE_DESCRIPTIONS)
    assert client.get("/api/v1/models").json["type"] == "/api/v1/docs#unauthenticated"


def test_the_readable_page_works_under_the_content_policy(client):
    answer = client.get("/api/v1/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.findall(r"\s(?:style|on[a-z]+)=", answer.text)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text)
    for heading in ("/api/v1/models/{ref}", "CostBatch", "database_unreachable"):
        assert heading in answer.text
