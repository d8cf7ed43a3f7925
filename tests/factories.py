"""Factories for test data. The defaults are valid, and a test overrides only the value that it checks."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.domain.catalog.entities import Catalog, ModelInfo, ProviderInfo
from webapp.domain.catalog.snapshot import DATABASE, Snapshot, build
from webapp.domain.pricing.pricing import Price, Rate, timeline
from webapp.domain.shared.errors import ConfirmationRequired

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)


def a_rate(meter="input", amount="1", per=1_000_000, **overrides) -> Rate:
    return Rate(meter, Decimal(amount), per, **overrides)


def a_price(*rates: Rate, **overrides) -> Price:
    defaults = {"state": "priced", "effective_from": START, "currency": "USD", "rates": rates or (a_rate(), a_rate("output", "2")), "id": 1}
    return Price(**(defaults | overrides))


def a_provider(slug="acme", **overrides) -> ProviderInfo:
    return ProviderInfo(**({"slug": slug, "display_name": slug.title(), "driver": "openai", "id": 1} | overrides))


def a_model(model_id="rocket", provider="acme", prices=(), **overrides) -> ModelInfo:
    defaults = {
        "ref": f"{provider}/{model_id}",
        "provider": provider,
        "model_id": model_id,
        "display_name": model_id.title(),
        "type": "text",
        "updated_at": START,
        "id": 1,
        "prices": timeline(prices or [a_price()]),
    }
    return ModelInfo(**(defaults | overrides))


def a_snapshot(*models: ModelInfo, now=NOW, source=DATABASE, **overrides) -> Snapshot:
    catalog_models = models or (a_model(),)
    providers = overrides.pop("providers", None) or tuple(
        a_provider(slug) for slug in dict.fromkeys(model.provider for model in catalog_models)
    )
    return build(Catalog(providers, catalog_models, **({"instance": "test", "revision": 1} | overrides)), now=now, source=source)


def model_values(**overrides) -> dict:
    """Return the input values of a model."""
    return {"provider": "openai", "model_id": "test-model", "display_name": "Test model", "type": "text"} | overrides


def provider_values(**overrides) -> dict:
    """Return the input values of a provider."""
    return {"slug": "acme", "display_name": "Acme gateway", "driver": "openai", "base_url": "https://api.acme.example/v1"} | overrides


def confirm(change):
    """Run `change` with the keys of the confirmations that it requires. `change` takes the keys and opens its own transaction."""
    with pytest.raises(ConfirmationRequired) as required:
        change(())
    return change([confirmation.key for confirmation in required.value.confirmations])


def price_values(**overrides) -> dict:
    """Return the input values of a price."""
    rates = [{"meter": "input", "amount": "3", "per": 1_000_000}, {"meter": "output", "amount": "15", "per": 1_000_000}]
    return {"state": "priced", "currency": "USD", "effective_from": "2026-11-01T00:00:00Z", "rates": rates} | overrides


class Api:
    """An API client with its token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client, self.token = client, token

    def request(self, method: str, path: str, **options) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **options)

    def get(self, path: str, **options) -> TestResponse:
        return self.request("GET", path, **options)

    def confirmed(self, method: str, path: str, json: dict) -> TestResponse:
        """Send the request, and once more with the keys of the confirmations that it requires."""
        required = self.request(method, path, json=json)
        assert (required.status_code, required.json["code"]) == (409, "confirmation_required"), required.text
        keys = [confirmation["key"] for confirmation in required.json["confirmations"]]
        return self.request(method, path, json=json | {"confirm": keys})

    def post(self, path: str, json=None, **options) -> TestResponse:
        if "data" not in options:
            options["json"] = {} if json is None else json
        return self.request("POST", path, **options)


class Visitor:
    """A signed-in staff user in a browser without JavaScript."""

    def __init__(self, app: Flask, email: str, password: str) -> None:
        self.client = app.test_client()
        self.email = email
        response = self.post("/login", {"email": email, "password": password}, page="/login")
        assert response.status_code == 302, response.text[:300]

    def get(self, path: str, **options) -> TestResponse:
        return self.client.get(path, **options)

    def post(self, path: str, data=None, *, page: str | None = None, **options) -> TestResponse:
        """Post a form with the CSRF token of `page`."""
        token = csrf_token(self.client.get(page or "/admin/").text)
        return self.client.post(path, data={"csrf_token": token} | (data or {}), **options)


def csrf_token(html: str) -> str:
    match = re.search(r'name="csrf-?_?token"[^>]*(?:content|value)="([^"]+)"', html)
    assert match, "the page has no CSRF token"
    return match[1]


def bulk_catalogue(count: int) -> dict:
    """Return the content of an import file with one provider and `count` models that have one price each."""
    provider = {"slug": "bulk", "display_name": "Bulk", "driver": "custom", "base_url": "https://bulk.example/v1"}
    price = {
        "state": "priced",
        "currency": "USD",
        "effective_from": "2026-01-01T00:00:00Z",
        "rates": [{"meter": "input", "amount": "1.25", "per": 1_000_000}, {"meter": "output", "amount": "5", "per": 1_000_000}],
    }
    model = {"provider": "bulk", "display_name": "Bulk", "type": "text", "prices": [price]}
    rows = [model | {"model_id": f"m-{number}"} for number in range(count)]
    return {"format": "modeldesk-registry", "version": 1, "providers": [provider], "models": rows}
