"""T09: no API request sets a field that its schema does not name. The tests try every other name in the OpenAPI document or the database in
every object of every body. Each attempt is rejected and changes nothing."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from environment import api_for
from experiments.attack import Witness, fields_of
from experiments.conftest import FULL
from factories import START, price_values
from sqlalchemy import select
from test_e16_audit import REQUESTS

from webapp.api.v1.core.schemas import SCHEMAS
from webapp.api.v1.routes import ROUTES
from webapp.domain.accounts.permissions import SCOPES
from webapp.domain.catalog import input_schemas
from webapp.extensions import db
from webapp.models import ApiToken, Base, Model, Project, Provider, User

USED = {"model": "gpt-4o", "usage": {"input": 5}}
RATE = {"meter": "input", "amount": "1", "per": 1}
BODIES = {method_and_rule: body for method_and_rule, body in REQUESTS.items() if body} | {
    ("POST", "/usage"): USED,
    ("POST", "/cost"): USED,
    ("POST", "/cost/batch"): {"items": [USED]},
    ("POST", "/compare"): {"usage": {"input": 5}},
    ("POST", "/quote"): {"price": {"currency": "USD", "rates": [RATE]}, "usage": {"input": 5}},
    ("POST", "/runs"): {"incident": {"title": "Disk usage at 97 %", "alerts": [{"name": "disk"}]}},
    ("POST", "/admin/models/<number>/prices"): price_values(source={"kind": "manual"}),
}
TAKING = [route for route in ROUTES if route.request_schema]
# Names that an attacker would try first. The full form tries all names.
WANTED = {
    "id",
    "version",
    "created_at",
    "updated_at",
    "digest",
    "role",
    "scopes",
    "is_active",
    "is_admin",
    "primary",
    "is_primary",
    "is_default",
    "has_key",
    "key",
    "api_key",
    "ciphertext",
    "fingerprint",
    "owner",
    "owner_id",
    "user_id",
    "provider_id",
    "token",
    "token_id",
    "project",
    "actor",
    "created_by",
    "verified_by",
    "cost",
    "cost_total",
    "price_id",
    "revision",
    "instance",
    "password_hash",
    "supported",
    "models",
    "ref",
    "__proto__",
    "__class__",
}
IN_FILES = ("id", "version", "created_at", "digest", "role", "scopes", "api_key", "ciphertext", "credentials", "users", "tokens", "has_key")
REFUSAL = '"status":4'  # The status of one item in a batch response.
TEXTS = {"metadata", "labels", "quirks", "config"}  # Free-form objects of the user. Their names have no meaning for Modeldesk.


def names() -> list[str]:
    candidates = set(WANTED)
    if FULL:
        candidates |= {column.name for table in Base.metadata.tables.values() for column in table.columns}
        candidates |= {name for schema in SCHEMAS.values() for name in schema.get("properties", {})}
    return sorted(candidates)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    variant = schema.get("anyOf", [schema])[0]
    return SCHEMAS[variant["$ref"].rpartition("/")[2]] if "$ref" in variant else variant


def objects(schema: dict[str, Any], body: Any, path: tuple = ()) -> Iterator[tuple[tuple, set[str]]]:
    """Yield each object of the body: its path and its allowed names."""
    if isinstance(body, list):
        for number, item in enumerate(body):
            yield from objects(resolved(schema["items"]), item, (*path, number))
    if isinstance(body, dict):
        yield path, set(schema["properties"])
        for name, value in body.items():
            if name not in TEXTS:
                yield from objects(resolved(schema["properties"][name]), value, (*path, name))


def with_name(body: Any, path: tuple, name: str) -> bytes:
    changed = copy.deepcopy(body)
    target = changed
    for step in path:
        target = target[step]
    target[name] = 1
    return json.dumps(changed).encode()


@pytest.fixture
def witness(app, settings) -> Iterator[Witness]:
    observer = Witness(settings.sqlite_path)
    yield observer
    observer.close()


def test_t09_every_body_of_the_api_is_tried():
    assert {(route.method, route.rule) for route in TAKING} - BODIES.keys() == set()


def test_t09_every_object_that_is_taken_refuses_what_it_does_not_name():
    """Every object schema sets `additionalProperties: false`. A new body without it fails here."""
    for route in TAKING:
        if route.request_schema in SCHEMAS:
            for path, _ in objects(SCHEMAS[route.request_schema], BODIES[route.method, route.rule]):
                schema = SCHEMAS[route.request_schema]
                for step in path:
                    schema = resolved(schema["items"] if isinstance(step, int) else schema["properties"][step])
                assert schema.get("additionalProperties") is False, (route.name, path)


def tried(api, route) -> Iterator[tuple[tuple, str, bool]]:
    """Try each name in each object. Yield the path, the name and whether it was rejected."""
    body, target = BODIES[route.method, route.rule], route.rule.replace("<number>", "1")
    for path, allowed in objects(SCHEMAS[route.request_schema], body):
        for name in names():
            if name not in allowed:
                headers = {"Idempotency-Key": f"{path}{name}"}
                response = api.request(
                    route.method, target, data=with_name(body, path, name), content_type="application/json", headers=headers
                )
                yield path, name, response.status_code in (400, 422) or (route.name == "post_costs" and REFUSAL in response.text)


@pytest.mark.parametrize("route", [route for route in TAKING if route.request_schema in SCHEMAS], ids=lambda route: route.name)
def test_t09_no_body_sets_what_it_does_not_name(app, witness, report, route):
    api, before = api_for(app, *SCOPES), witness.content()
    db.session.remove()
    attempts = list(tried(api, route))
    assert [(path, name) for path, name, refused in attempts if not refused] == []
    assert witness.content() == before
    report(f"{len(attempts)} names refused")


def test_t09_no_address_takes_a_field_either(app, witness):
    api, before = api_for(app, *SCOPES), witness.content()
    db.session.remove()
    for route in ROUTES:
        accepted = {parameter.name for parameter in route.query}
        for name in {"id", "role", "scopes", "version", "active"} - accepted:
            response = api.request(
                route.method, f"{route.rule.replace('<number>', '1')}?{name}=1", json=BODIES.get((route.method, route.rule))
            )
            assert response.status_code >= 400, (route.name, name)
    assert witness.content() == before


def test_t09_a_file_sets_no_keys_numbers_or_roles(app, witness):
    api, before = api_for(app, *SCOPES), witness.content()
    db.session.remove()
    body = copy.deepcopy(REQUESTS["POST", "/admin/import"])
    body["models"][0]["prices"] = [price_values()]
    body["providers"] = [{"slug": "brought", "display_name": "Brought", "driver": "openai"}]
    for path in ((), ("models", 0), ("models", 0, "prices", 0), ("providers", 0)):
        for name in sorted(
            {
                "id",
                "version",
                "created_at",
                "digest",
                "role",
                "scopes",
                "api_key",
                "ciphertext",
                "credentials",
                "users",
                "tokens",
                "has_key",
            }
        ):
            if (path, name) != ((), "version"):
                response = api.post("/admin/import", data=with_name(body, path, name), content_type="application/json")
                assert response.status_code in (400, 422), (path, name, response.text)
    assert witness.content() == before


def test_t09_control_a_name_that_is_let_through_by_mistake_is_noticed(app, witness, monkeypatch):
    api, before = api_for(app, *SCOPES), witness.content()
    db.session.remove()
    monkeypatch.setitem(input_schemas.MODEL_CHECKS, "created_at", lambda _, __: START)
    route = next(route for route in ROUTES if route.name == "edit_model")
    assert [name for _, name, refused in tried(api, route) if not refused] == ["created_at"]
    assert witness.content() != before


FORMS = {
    "model": (Model, {"provider": "openai", "model_id": "", "display_name": "Twin", "type": "text", "active": "y"}, "model_id"),
    "provider": (Provider, {"slug": "", "display_name": "Twin", "driver": "openai", "active": "y"}, "slug"),
    "project": (Project, {"slug": "", "display_name": "Twin", "active": "y"}, "slug"),
    "user": (User, {"email": "", "role": "viewer"}, "email"),
    "token": (ApiToken, {"name": "", "scopes": "registry:read", "expires_days": "30"}, "name"),
}
DIFFERS = {"id", "created_at", "updated_at", "public_id", "digest", "expires_at"}  # These columns differ in every row.


@pytest.mark.parametrize("name", FORMS)
def test_t09_a_form_sets_no_column_that_it_does_not_show(app, ann, name):
    """A row created with extra form fields for every column equals a row created without them."""
    table, fields, key = FORMS[name]
    columns = [column for column in table.__table__.columns if column.name not in {key, *DIFFERS}]
    extra = {column.name: "1" for column in table.__table__.columns if column.name not in fields}
    shown = {field for _, _, names in fields_of(ann.get(f"/admin/{name}/new/").text) for field in names}
    twins = {"twin-a@example.com": {}, "twin-b@example.com": {column: value for column, value in extra.items() if column not in shown}}
    rows = []
    for number, (address, extra_fields) in enumerate(twins.items()):
        key_value = address if key == "email" else f"twin-{number}"
        response = ann.post(f"/admin/{name}/new/", fields | {key: key_value} | extra_fields)
        assert response.status_code in (200, 302), response.text[:2_000]
        db.session.rollback()
        rows.append(tuple(db.session.execute(select(*columns).where(getattr(table, key) == key_value)).one()))
    assert len(twins["twin-b@example.com"]) >= 4
    assert rows[0] == rows[1]
