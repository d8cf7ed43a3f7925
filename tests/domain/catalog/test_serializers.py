"""Tests of the documents: the shapes of the contract, and lossless round trips."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from factories import NOW, a_model, a_price, a_provider, a_rate, a_snapshot

from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import Catalog, TokenInfo
from webapp.domain.catalog.serializers import catalog_from, model_document, provider_document, snapshot_document, token_document, token_from
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.pricing import PriceSource, timeline
from webapp.domain.pricing.serializers import cost_document, price_document, price_from
from webapp.domain.pricing.usage import Usage
from webapp.domain.pricing.windows import Window

EVERYTHING = a_model(
    "full",
    aliases=("a", "b"),
    capabilities=("chat",),
    context_window=1,
    max_output_tokens=2,
    default=True,
    released_on=date(2020, 2, 29),
    deprecated_on=date(2026, 1, 1),
    retires_on=date(2027, 1, 1),
    successor="acme/rocket",
    description="é\n",
    quirks={"temperature": False},
    prices=[
        a_price(
            a_rate(
                amount="0.000000000001",
                above=200_000,
                service_tier="batch",
                window=Window((0, 6), time(16, 30), time(0, 30), "Asia/Shanghai"),
            ),
            a_rate("image", per=7, window=Window((), time(), time()), when=(("quality", "high"), ("size", "large"))),
            source=PriceSource("catalog", "x", "https://x.example", NOW),
            note="n",
            media_at_text_rate=True,
            minimum=Decimal("0.01"),
            surcharge_percent=Decimal("5.5"),
        ),
        a_price(id=9, state="free", effective_from=NOW),
    ],
)


SMALL = Catalog((a_provider(updated_at=NOW),), (EVERYTHING,), (), (("r*", "acme/full"),), "me", 7)


@pytest.mark.parametrize("catalog", [constants(), SMALL], ids=["all constants", "every field"])
def test_a_catalogue_reads_back_equal(catalog):
    document = json.loads(json.dumps(snapshot_document(catalog, catalog.models, catalog.providers)))
    assert catalog_from(document) == catalog


def test_a_model_has_the_shape_of_the_contract():
    document = model_document(a_snapshot(a_model("rocket", default=True, prices=[a_price(a_rate(amount="0.150"))])).models[0])
    assert document == {
        "id": 1,
        "ref": "acme/rocket",
        "provider": "acme",
        "model_id": "rocket",
        "display_name": "Rocket",
        "type": "text",
        "capabilities": [],
        "context_window": None,
        "max_output_tokens": None,
        "active": True,
        "default": True,
        "supported": True,
        "aliases": [],
        "sort_order": 0,
        "released_on": None,
        "deprecated_on": None,
        "retires_on": None,
        "successor": None,
        "description": "",
        "quirks": {},
        "price": document["price"],
        "updated_at": "2026-01-01T00:00:00Z",
        "version": 1,
    }
    assert document["price"] == {
        "id": 1,
        "state": "priced",
        "effective_from": "2026-01-01T00:00:00Z",
        "effective_to": None,
        "currency": "USD",
        "corrects": None,
        "cancels": False,
        "note": "",
        "rates": [
            {"meter": "input", "amount": "0.15", "per": 1_000_000, "above": None, "service_tier": "standard", "window": None, "when": None}
        ],
        "media_at_text_rate": False,
        "minimum": None,
        "surcharge_percent": None,
        "source": {"kind": "manual", "name": None, "url": None, "verified_at": None},
    }


def test_a_price_from_before_the_field_existed_bills_media_at_the_rate_of_text():
    document = price_document(a_price())
    assert price_from(document) == a_price()
    del document["media_at_text_rate"]
    assert price_from(document) == a_price(media_at_text_rate=True)


def test_a_cost_that_was_rounded_or_has_a_surcharge_says_so():
    price = a_price(a_rate("second", "0.017", 60), surcharge_percent=Decimal(10))
    document = cost_document(cost_of(price, Usage(second="50.5"), at=NOW, attributes={"region": "us"}))
    assert document["lines"][0] | {"quantity": "50.5", "rounded": True} == document["lines"][0]
    assert (document["total"], document["surcharge"], document["rounded"]) == ("0.015739166666666667", "0.001430833333333333", True)
    assert document["attributes"] == {"region": "us"}


def test_a_cost_has_the_shape_of_the_contract():
    cost = cost_of(a_price(a_rate(amount="0.15")), Usage(input=1000, cache_read=400, image=1), at=NOW, model="acme/rocket")
    lines = cost_document(cost).pop("lines")
    assert cost_document(cost) | {"lines": []} == {
        "model": "acme/rocket",
        "at": "2026-11-21T12:00:00Z",
        "currency": "USD",
        "total": "0.00015",
        "complete": False,
        "price_id": 1,
        "price_state": "priced",
        "service_tier": "standard",
        "lines": [],
        "missing": ["image"],
    }
    assert lines[1] == {
        "meter": "cache_read",
        "quantity": 400,
        "billed_as": "input",
        "amount": "0.15",
        "per": 1_000_000,
        "above": None,
        "cost": "0.00006",
    }


def test_an_unknown_cost_has_null_for_its_total():
    document = cost_document(cost_of(None, Usage(input=1), at=NOW))
    assert (document["total"], document["complete"], document["price_state"], document["price_id"]) == (None, False, "unknown", None)


def test_an_ended_price_shows_its_end():
    first, _ = timeline([a_price(), a_price(id=2, effective_from=NOW)])
    assert price_document(first)["effective_to"] == "2026-11-21T12:00:00Z"
    assert price_document(None) is None


def test_a_provider_shows_whether_it_has_a_key_and_never_the_key():
    document = provider_document(a_provider(has_key=True))
    assert document["has_key"] is True
    assert not any("key" in name for name in document if name != "has_key")


def test_a_token_is_kept_as_its_digest():
    token = TokenInfo("abc", "ci", b"\x00" * 32, frozenset({"registry:read", "runs:write"}), datetime(2027, 1, 1, tzinfo=UTC), 3)
    assert token_from(json.loads(json.dumps(token_document(token)))) == token
