"""The OpenAPI document describes every served route, and responses match its schemas."""

import re
import warnings

import jsonschema
import pytest
from environment import api_for
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


WHOLE_PRICE = {
    "rates": [
        {"meter": "image", "amount": "0.25", "per": 3, "when": {"quality": "high"}},
        {"meter": "second", "amount": "0.017", "per": 60, "window": {"days": [5], "from": "00:00", "to": "24:00", "tz": "Asia/Shanghai"}},
        {"meter": "second", "amount": "0.02", "per": 60, "service_tier": "on_demand"},
        {"meter": "input", "amount": "1.000000000000000001", "per": 1_000_000, "above": 0},
    ],
    "media_at_text_rate": True,
    "minimum": "0.001",
    "surcharge_percent": "5.5",
}


def test_a_price_with_all_its_fields_and_its_cost_have_the_shapes_that_are_described(api, document):
    model = api.post("/admin/models", model_values()).json
    entered = price_values(**WHOLE_PRICE)
    conforms(document, "NewPrice", entered)
    added = api.post(f"/admin/models/{model['id']}/prices", entered).json
    prices = [
        added,
        *api.get(f"/admin/models/{model['id']}/prices").json["data"],
        api.get(f"/models/{model['ref']}").json["price"],
        *(entry["price"] for entry in api.get("/snapshot").json["models"] if entry["ref"] == model["ref"]),
    ]
    assert len(prices) == 4
    for price in prices:
        described_exactly(document, "Price", price)
        for rate in price["rates"]:
            described_exactly(document, "Rate", rate)
        assert {name: price[name] for name in ("media_at_text_rate", "minimum", "surcharge_percent")} == {
            name: entered[name] for name in ("media_at_text_rate", "minimum", "surcharge_percent")
        }
        assert {"quality": "high"} in [rate["when"] for rate in price["rates"]]
    call = {"usage": {"image": 1, "second": 50.5, "input": 3}, "attributes": {"quality": "high"}, "service_tier": "default"}
    asked = {
        "CostRequest": ("/cost", {"model": model["ref"], **call}),
        "QuoteRequest": ("/quote", {"price": {"currency": "USD", **WHOLE_PRICE}, **call}),
        "CompareRequest": ("/compare", {"models": [model["ref"]], **call}),
    }
    for name, (path, body) in asked.items():
        conforms(document, name, body)
        response = api.post(path, body).json
        for cost in response.get("data", [response]):
            described_exactly(document, "Cost", cost)
            assert {"rounded", "surcharge", "attributes"} <= set(cost)
            for line in cost["lines"]:
                described_exactly(document, "CostLine", line)


def described_exactly(document, name: str, value) -> None:
    """Fail if the value does not conform to its schema, or has a member that the schema does not name."""
    conforms(document, name, value)
    assert set(value) <= set(document["components"]["schemas"][name]["properties"])


@pytest.mark.parametrize(
    "rate",
    [
        {"amount": "0.1234567890123456789"},
        {"amount": "1e3"},
        {"per": 0},
        {"service_tier": "auto"},
        {"window": {"from": "24:00", "to": "24:00"}},
        {"window": {"from": "00:00"}},
        {"when": {"Quality": "high"}},
        {"when": dict.fromkeys("abcdef", "x")},
        {"color": "red"},
    ],
)
def test_a_rate_that_is_refused_does_not_conform_to_its_schema(api, document, rate):
    body = {"price": {"currency": "USD", "rates": [{"meter": "input", "amount": "1", "per": 1} | rate]}, "usage": {"input": 5}}
    assert api.post("/quote", body).status_code in (400, 422)
    with pytest.raises(jsonschema.ValidationError):
        conforms(document, "QuoteRequest", body)


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


def operations(document):
    return [(method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]


def test_every_operation_has_a_tag_that_the_document_describes(document):
    tags = {tag["name"] for tag in document["tags"]}
    assert {operation["tags"][0] for _, _, operation in operations(document)} == tags
    assert document["paths"]["/admin/models/{number}/prices"]["get"]["tags"] == ["Models"]


def test_ids_in_addresses_are_integers_as_in_bodies(document):
    types = {
        parameter["name"]: parameter["schema"]["type"]
        for _, _, operation in operations(document)
        for parameter in operation["parameters"]
        if parameter["in"] == "path"
    }
    assert types == {"number": "integer", "price": "integer", "ref": "string", "slug": "string", "model_type": "string", "run_id": "string"}


def headers_of(document, path, method, status):
    return set(document["paths"][path][method]["responses"][str(status)]["headers"])


GOT = [path for path, name in SHOWN.items() if name != "Problem"]


@pytest.mark.parametrize("path", [*GOT, "/admin/export", "/openapi.json"])
def test_an_unchanged_answer_and_its_tag_are_described(api, document, path):
    described = re.sub(r"/\d+", "/{number}", path.partition("?")[0])
    for name, variable in (
        ("/models/gpt-4o", "/models/{ref}"),
        ("/defaults/text", "/defaults/{model_type}"),
        ("/providers/openai", "/providers/{slug}"),
    ):
        described = described.replace(name, variable)
    response = api.get(path)
    assert "ETag" in response.headers
    assert "ETag" in headers_of(document, described, "get", 200)
    unchanged = api.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert unchanged.status_code == 304
    assert headers_of(document, described, "get", 304) <= set(unchanged.headers.keys())


def test_the_address_and_the_tag_of_what_was_created_are_described(api, document):
    model = api.post("/admin/models", model_values())
    posted = {
        "/admin/models": (model, {"Location", "ETag"}),
        "/admin/providers": (api.post("/admin/providers", provider_values()), {"Location", "ETag"}),
        "/admin/models/{number}/prices": (api.post(f"/admin/models/{model.json['id']}/prices", price_values()), {"Location"}),
        "/runs": (api.post("/runs", {"incident": {"title": "Disk is full"}}), {"Location"}),
    }
    for path, (response, names) in posted.items():
        assert response.status_code == 201
        assert (
            headers_of(document, path, "post", 201) & {"Location", "ETag"} == set(response.headers.keys()) & {"Location", "ETag"} == names
        )
    edited = api.request("PATCH", f"/admin/models/{model.json['id']}", json={"sort_order": 1})
    assert "ETag" in edited.headers
    assert "ETag" in headers_of(document, "/admin/models/{number}", "patch", 200)


def test_a_repeated_report_and_the_names_of_groups_are_described(app, document):
    api = api_for(app, "usage:write", "usage:read")
    body, headers = {"model": "gpt-4o", "usage": {"input": 5}}, {"Idempotency-Key": "one"}
    statuses = [api.post("/usage", body, headers=headers).status_code for _ in range(2)]
    assert statuses == [201, 200]
    responses = document["paths"]["/usage"]["post"]["responses"]
    assert responses["200"]["content"] == responses["201"]["content"]
    assert "Location" not in responses["201"]["headers"]
    for group in ("model", "project", "token", "day"):
        summary = api.get(f"/usage/summary?group_by={group}").json
        conforms(document, "UsageSummary", summary)
        assert group in summary["data"][0]
        assert group in document["components"]["schemas"]["UsageGroup"]["properties"]
