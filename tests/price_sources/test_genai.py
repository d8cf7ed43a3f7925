"""Tests of the reader of genai-prices: conditions, hours and dates mean what the package's own calculator makes of them."""

import json
from datetime import datetime
from decimal import Decimal

import pytest

from webapp.domain.catalog.rate_schemas import validate_rates
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.pricing.serializers import price_from
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import format_decimal
from webapp.price_sources import sources

MILLION = 1_000_000


def acme(prices, variants=(), name="m"):
    model = {"id": name, "match": {"equals": name}, "prices": prices, "price_variants": list(variants)}
    return sources.read_catalog(
        "genai-prices-json", json.dumps([{"id": "acme", "name": "Acme", "api_pattern": "acme", "models": [model]}]).encode()
    )


def prices_of(catalog):
    return timeline(map(price_from, catalog.models[0]["prices"]))


def total(catalog, at="2026-12-01T00:00Z", tier="standard", attributes=None, **usage):
    when = datetime.fromisoformat(at)
    cost = cost_of(price_at(prices_of(catalog), when), Usage(**usage), at=when, service_tier=tier, attributes=attributes or {})
    return format_decimal(cost.total), cost.complete


@pytest.mark.parametrize(
    ("when", "tier", "attributes"),
    [
        ({"processing": "batch"}, "batch", {}),
        ({"service_tier": "flex"}, "flex", {}),
        ({"service_tier": "fast"}, "fast", {}),
        ({"service_tier": "scale"}, "scale", {}),
        ({"speed": "fast"}, "standard", {"speed": "fast"}),
        ({"inference_geo": "us"}, "standard", {"region": "us"}),
        ({"service_tier": "flex", "region": "us"}, "flex", {"region": "us"}),
        ({"region": "us", "processing": "batch"}, "batch", {"region": "us"}),
        ({"route": "mistral/eu"}, "standard", {"route": "mistral/eu"}),
        ({"service_tier": "default", "region": "us"}, "standard", {"region": "us"}),
    ],
)
def test_a_variant_is_a_service_tier_with_its_conditions(when, tier, attributes):
    catalog = acme({"input_mtok": 1, "output_mtok": 2}, [{"when": when, "prices": {"input_mtok": 5}}])
    assert total(catalog, tier=tier, attributes=attributes, input=MILLION) == ("5", True)
    assert total(catalog, input=MILLION) == ("1", True)
    if attributes and tier != "standard":
        assert total(catalog, tier=tier, input=MILLION) != ("5", True)


@pytest.mark.parametrize(
    "when", [{"service_tier": "default"}, {"service_tier": "turbo"}, {"processing": "batch", "service_tier": "flex"}, {"Große": "x"}]
)
def test_a_variant_that_no_rate_can_state_is_named_with_its_fields_and_counted(when):
    catalog = acme({"input_mtok": 1}, [{"when": when, "prices": {"output_mtok": 3}}])
    note = catalog.models[0]["prices"][0]["note"]
    assert (all(value in note for value in when.values()), "output_mtok" in note, catalog.fields_noted) == (True, True, 1)


def test_the_fast_tier_of_the_bundled_catalog_has_its_own_rates():
    models = {(model["provider"], model["model_id"]): model for model in sources.read_catalog("genai-prices").models}
    rates = models["openai", "gpt-4.1"]["prices"][-1]["rates"]
    assert {rate["meter"]: rate["amount"] for rate in rates if rate["service_tier"] == "fast"} == {
        "input": "3.5",
        "cache_read": "0.875",
        "output": "14",
    }


@pytest.mark.parametrize("name", ["gpt-image-1", "gpt-image-1-mini"])
def test_the_image_models_of_openai_are_read_with_their_rates_of_tokens(name):
    models = {(model["provider"], model["model_id"]): model for model in sources.read_catalog("genai-prices").models}
    price = models["openai", name]["prices"][-1]
    rates = {rate["meter"]: rate["amount"] for rate in price["rates"] if rate["service_tier"] == "standard"}
    assert {"input", "cache_read", "input_image", "cache_read_image", "output_image"} <= rates.keys()
    if name == "gpt-image-1":
        assert [rates[meter] for meter in ("input", "cache_read", "input_image", "cache_read_image")] == ["5", "1.25", "10", "2.5"]
        assert rates["output_image"] == "40"


def test_the_output_of_a_model_that_gives_one_medium_only_is_that_medium():
    assert total(acme({"output_mtok": 12}, name="m-tts"), output=MILLION, output_audio=MILLION) == ("12", True)
    assert total(acme({"output_mtok": 30}, name="gpt-image-9"), output=MILLION, output_image=MILLION) == ("30", True)
    stated = {"output_mtok": 10, "output_image_mtok": 32}
    assert total(acme(stated, name="gpt-image-9"), output=MILLION, output_image=MILLION) == ("32", True)
    assert total(acme({"output_mtok": 12}, name="m-image"), output=MILLION, output_image=MILLION) == ("0", False)


def test_hours_with_an_offset_are_read_in_utc():
    hours = {"start_time": "09:00:00+08:00", "end_time": "12:00:00+08:00"}
    catalog = acme([{"prices": {"input_mtok": 1}}, {"constraint": hours, "prices": {"input_mtok": 2}}])
    times = ("2026-12-01T00:59Z", "2026-12-01T01:00Z", "2026-12-01T03:59Z", "2026-12-01T04:00Z", "2026-12-01T09:00Z")
    assert [total(catalog, at, input=MILLION)[0] for at in times] == ["1", "2", "2", "1", "1"]


def test_hours_belong_to_the_dated_price_before_them():
    hours = {"start_time": "01:00:00Z", "end_time": "04:00:00Z"}
    rows = [
        {"prices": {"input_mtok": 1}},
        {"constraint": hours, "prices": {"input_mtok": 2}},
        {"constraint": {"start_date": "2026-01-01"}, "prices": {"input_mtok": 5}},
    ]
    assert [total(acme(rows), at, input=MILLION)[0] for at in ("2025-12-31T02:00Z", "2026-12-01T02:00Z")] == ["2", "5"]
    later = [rows[0], rows[2], rows[1]]
    assert [total(acme(later), at, input=MILLION)[0] for at in ("2025-12-31T02:00Z", "2026-12-01T02:00Z")] == ["1", "2"]


def test_the_last_listed_price_that_has_started_counts():
    rows = [{"constraint": {"start_date": date}, "prices": {"input_mtok": cost}} for date, cost in (("2026-06-01", 2), ("2026-01-01", 5))]
    catalog = acme([{"prices": {"input_mtok": 1}}, *rows])
    assert [total(catalog, f"{day}T00:00Z", input=MILLION)[0] for day in ("2025-12-31", "2026-01-01", "2026-07-01")] == ["1", "5", "5"]


def test_hours_without_a_length_never_apply():
    hours = {"start_time": "01:00:00Z", "end_time": "01:00:00Z"}
    catalog = acme([{"prices": {"input_mtok": 1}}, {"constraint": hours, "prices": {"input_mtok": 2}}])
    assert total(catalog, "2026-12-01T01:00Z", input=MILLION) == ("1", True)


def test_cache_writes_for_five_minutes_are_cache_writes():
    catalog = acme({"input_mtok": 1, "cache_write_5m_mtok": 1.25, "cache_write_1h_mtok": 2})
    assert total(catalog, input=2 * MILLION, cache_write=2 * MILLION, cache_write_1h=MILLION) == ("3.25", True)
    assert (catalog.fields_read, catalog.fields_noted) == (3, 0)


@pytest.mark.parametrize(("other", "noted"), [("0.36", 0), ("0.72", 1)])
def test_of_two_fields_of_one_meter_the_second_is_noted_if_it_differs(other, noted):
    catalog = acme({"audio_hours": "0.36", "input_audio_hours": other})
    price = prices_of(catalog)[0]
    assert (total(catalog, second=3_600), catalog.fields_noted, "input_audio_hours" in price.note) == (("0.36", True), noted, bool(noted))


@pytest.mark.parametrize(
    ("field", "meter", "quantity", "cost"),
    [
        ("input_video_mtok", "input_video", MILLION, "3"),
        ("cache_audio_read_mtok", "cache_read_audio", MILLION, "3"),
        ("output_image_mtok", "output_image", MILLION, "3"),
        ("output_video_mtok", "output_video", MILLION, "3"),
        ("audio_hours", "second", 7_200, "6"),
        ("input_gpixels", "pixel", 10**9, "3"),
        ("storage_searches_kcount", "file_search", 1_000, "3"),
        ("code_executions_kcount", "code_execution", 1_000, "3"),
        ("rerank_searches_kcount", "request", 1_000, "3"),
    ],
)
def test_media_and_tools_have_meters(field, meter, quantity, cost):
    (rate,) = prices_of(acme({field: 3}))[0].rates
    assert (rate.meter, str(Decimal(quantity) * rate.amount / rate.per)) == (meter, cost)


@pytest.mark.parametrize(
    ("name", "prices", "flag"),
    [
        ("m", {"input_mtok": 1, "output_mtok": 2}, True),
        ("m", {"output_mtok": 2}, False),
        ("m", {"audio_hours": 1}, False),
        ("m-image", {"input_mtok": 1, "output_mtok": 2}, False),
        ("m-image", {"input_mtok": 1, "output_mtok": 2, "output_image_mtok": 3}, True),
        ("m-tts", {"input_mtok": 1, "output_mtok": 2}, True),
        ("m-live", {"input_mtok": 1, "output_mtok": 2, "output_audio_mtok": 3}, True),
        ("m", {f"input_{medium}mtok": 1 for medium in ("", "audio_", "image_", "video_")}, False),
    ],
)
def test_media_are_billed_like_text_as_the_package_does_unless_an_output_medium_has_no_rate(name, prices, flag):
    assert acme(prices, name=name).models[0]["prices"][0]["media_at_text_rate"] is flag


def test_every_price_of_the_bundled_catalog_is_one_that_can_be_stored():
    for model in sources.read_catalog("genai-prices").models:
        for price in model["prices"]:
            validate_rates(price["rates"], "rates")
