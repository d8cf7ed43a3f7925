"""Tests of the readers' accounting: every price field is in a rate or in the note, whatever else the file holds."""

import json
import re
from decimal import Decimal

import pytest

from webapp.config.settings import ROOT
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.serializers import price_from
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import sources
from webapp.price_sources.catalog_entries import provider_slug
from webapp.price_sources.cost_fields import FieldRate, scaled_amount
from webapp.price_sources.genai_rates import METERS
from webapp.price_sources.litellm_fields import LITELLM_FIELDS
from webapp.price_sources.models_dev import MODELS_DEV_FIELDS

CATALOGS = ROOT / "tests" / "data" / "catalogs"
MILLION = 1_000_000


def read(source, document):
    return sources.read_catalog(source, json.dumps(document).encode())


def acme(**fields):
    """Read one record of LiteLLM's map."""
    catalog = read("litellm", {"m": {"litellm_provider": "acme", "mode": "chat", **fields}})
    return catalog, catalog.models[0]["prices"][0]


def units(price):
    keys = ("meter", "above", "service_tier")
    return {tuple(rate[key] for key in keys): Decimal(rate["amount"]) / rate["per"] for rate in price["rates"] if rate["window"] is None}


def total(price, service_tier="standard", **usage):
    cost = cost_of(price_from(price), Usage(**usage), at=None, service_tier=service_tier)
    return str(cost.total.normalize()), cost.complete


def nonzero_leaves(value, path=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from nonzero_leaves(child, (*path, str(key)))
    if not isinstance(value, dict | list | bool | str) and value and any(word in key for key in path for word in ("cost", "price")):
        yield path, Decimal(str(value))


def unaccounted(record, price, factors):
    """Return the price fields of a record of which neither a rate nor the note knows."""
    amounts = {Decimal(rate["amount"]) / rate["per"] for rate in price["rates"]}
    for path, value in nonzero_leaves(record):
        if not {"size", "range", "max_results_range", "weekdays"}.isdisjoint(path):
            continue
        in_rate = any(abs(amount - value / factor) <= amount * Decimal("1e-9") for amount in amounts for factor in factors)
        field = path[0] if path[0].startswith("search") else path[-1]
        if not in_rate and not re.search(rf"\b{re.escape(field)}\b", price["note"]):
            yield path, value


def test_litellms_excerpt_loses_no_price_field():
    raw = json.loads((CATALOGS / "litellm.json").read_text())
    catalog = sources.read_catalog("litellm", (CATALOGS / "litellm.json").read_bytes())
    prices = {
        f"{model['provider']}/{name}": model["prices"][0] for model in catalog.models for name in (model["model_id"], *model["aliases"])
    }
    prices |= {f"{model['provider']}/{model['provider']}/{model['model_id']}": model["prices"][0] for model in catalog.models}
    records = {key: record for key, record in raw.items() if "alias_of" not in record}
    refs = {key: f"{provider_slug(record['litellm_provider'])}/{key}" for key, record in records.items()}
    assert {key: lost for key, record in records.items() if (lost := list(unaccounted(record, prices[refs[key]], (1,))))} == {}
    assert (len(records), catalog.fields_read > 100, catalog.fields_noted > 40) == (32, True, True)
    assert ["azure_ai/claude-opus-latest" in problem for problem in catalog.problems].count(True) == 1


def test_models_devs_excerpt_loses_no_price_field_and_reads_past_the_impossible_date():
    raw = json.loads((CATALOGS / "models-dev.json").read_text())
    catalog = sources.read_catalog("models.dev", (CATALOGS / "models-dev.json").read_bytes())
    prices = {model["model_id"]: model["prices"][0] for model in catalog.models}
    records = {key: record for seller in raw.values() for key, record in seller["models"].items()}
    assert {key: lost for key, record in records.items() if (lost := list(unaccounted(record, prices[key], (MILLION,))))} == {}
    assert (len(catalog.models), catalog.fields_read > 60, catalog.fields_noted > 5) == (20, True, True)  # Two sellers are one.
    assert catalog.problems[0].startswith("scaleway/qwen3-embedding-8b: release_date is 2025-25-11")


def test_the_bundled_catalog_names_every_field_that_no_meter_counts():
    from genai_prices import data, types

    catalog = sources.read_catalog("genai-prices")
    notes = {(model["provider"], model["model_id"]): " ".join(price["note"] for price in model["prices"]) for model in catalog.models}
    checked = 0
    for vendor in data.providers:
        for model in vendor.models:
            prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
            fields = {key for entry in prices for key, value in vars(entry.prices).items() if value} - METERS.keys()
            note = notes.get((provider_slug(vendor.id), model.id))
            for field in fields - {"input_audio_hours", "output_image_mtok", "output_video_mtok"} if note is not None else ():
                assert field in note, (model.id, field)
                checked += 1
    assert (checked > 40, catalog.fields_read > 5_000, catalog.fields_noted > 100) == (True, True, True)


def test_cache_writes_for_one_hour_keep_their_rate():
    catalog, price = acme(
        input_cost_per_token=5e-06,
        output_cost_per_token=2.5e-05,
        cache_creation_input_token_cost=6.25e-06,
        cache_creation_input_token_cost_above_1hr=1e-05,
        cache_creation_input_token_cost_above_1hr_above_200k_tokens=2e-05,
    )
    assert total(price, input=100_000, cache_write=90_000, cache_write_1h=90_000, output=1_000) == ("0.975", True)
    assert units(price)["cache_write_1h", 200_000, "standard"] == Decimal("0.00002")
    assert (price["note"], catalog.fields_read, catalog.fields_noted) == ("", 5, 0)


@pytest.mark.parametrize(("size", "above"), [("272k", 272_000), ("33k", 33_000), ("1m", 1_000_000), ("1500", 1_500)])
@pytest.mark.parametrize(("ending", "tier"), [("batches", "batch"), ("flex", "flex"), ("priority", "priority")])
def test_a_service_tier_above_any_threshold_has_its_own_rate(size, above, ending, tier):
    amounts = {"input": (2.5e-06, 5e-06, 1.25e-06, 2.5e-06), "output": (1.5e-05, 2.25e-05, 7.5e-06, 1.125e-05)}
    endings = ("", f"_above_{size}_tokens", f"_{ending}", f"_above_{size}_tokens_{ending}")
    _, price = acme(
        **{f"{side}_cost_per_token{end}": amount for side in amounts for end, amount in zip(endings, amounts[side], strict=True)}
    )
    assert units(price)["input", above, tier] == Decimal("0.0000025")
    assert total(price, tier, input=above + 1, output=10_000)[0] == str(
        (Decimal(above + 1) * 5 / 2 / MILLION + Decimal("0.1125")).normalize()
    )


@pytest.mark.parametrize(
    ("fields", "meter", "unit"),
    [
        ({"output_cost_per_image": 0.04}, "image", "0.04"),
        ({"input_cost_per_image": 0.009, "mode": "image_generation"}, "image", "0.009"),
        ({"input_cost_per_image": 0.001, "output_cost_per_image": 0.02, "mode": "image_generation"}, "image", "0.02"),
        ({"output_cost_per_second": 0.1, "input_cost_per_second": 0.0}, "second", "0.1"),
        ({"output_cost_per_video_per_second": 0.3}, "second", "0.3"),
        ({"input_cost_per_character": 1.5e-05}, "character", "0.000015"),
        ({"ocr_cost_per_page": 0.003, "annotation_cost_per_page": 0.005}, "page", "0.003"),
        ({"input_cost_per_query": 0.002}, "request", "0.002"),
        ({"input_cost_per_image_token": 5e-06}, "input_image", "0.000005"),
        ({"output_cost_per_audio_token": 6.4e-05}, "output_audio", "0.000064"),
        ({"input_cost_per_token_cache_hit": 2.8e-08}, "cache_read", "0.000000028"),
        (
            {"search_context_cost_per_query": {f"search_context_size_{size}": 0.01 for size in ("low", "medium", "high")}},
            "web_search",
            "0.01",
        ),
    ],
)
def test_a_field_of_litellm_becomes_the_rate_of_its_meter(fields, meter, unit):
    assert units(acme(**fields)[1]) == {(meter, None, "standard"): Decimal(unit)}


@pytest.mark.parametrize(
    "fields",
    [
        {"output_cost_per_image_token": 1e-06},
        {"input_cost_per_token_ultrafast": 6e-05},
        {"cache_creation_input_token_cost_above_12hr_above_272k_tokens_flex": 2.5e-05},
        {"output_cost_per_second_1080p": 0.16},
        {"a_cost_of_next_year": {"per": [{"moon": 3}]}},
        {"some_price": "two dollars"},
        {"input_cost_per_image": 0.0011},
        {"search_context_cost_per_query": {"search_context_size_low": 0.005, "search_context_size_high": 0.014}},
        {"search_context_cost_per_query": 0.01},
        {"tiered_pricing": [{"input_cost_per_query": 0.005, "max_results_range": [1, 25]}]},
        {"tiered_pricing": [{"input_cost_per_token": 1e-06, "range": "all"}]},
        {"off_peak_pricing": {"input_cost_per_token": 1e-06, "windows": [{"hours_utc": "25:00-26:00"}]}},
        {
            "off_peak_pricing": {
                "input_cost_per_token": 1e-06,
                "weekday_timezone": "Asia/Shanghai",
                "windows": [{"hours_utc": "01:00-02:00"}],
            }
        },
        {"regional_processing_uplift_multiplier_eu": 1.1},
        {"provider_specific_entry": {"fast": 2.0}},
        {"provider_specific_entry": {"eu": 1.1}},
        {"off_peak_pricing": [{"input_cost_per_token": 1e-06}]},
        {"output_cost_per_image": 0.134, "output_cost_per_image_token": 1e-06},
        {"input_cost_per_audio_per_second": 0.1, "input_cost_per_video_per_second": 0.7},
    ],
)
def test_a_field_that_no_rate_can_hold_is_named_in_the_note_and_counted(fields):
    catalog, price = acme(**fields, output_cost_per_token=1e-06)
    assert units(price) == {("output", None, "standard"): Decimal("0.000001")}
    assert [field for field in fields if field not in price["note"]] == []
    assert (catalog.fields_read, price["note"].startswith("Not read: ")) == (1, True)
    assert catalog.fields_noted >= len(fields)


def test_ranges_and_off_peak_hours_are_rates():
    tiers = [{"range": [0, 256e3], "input_cost_per_token": 4e-07}, {"range": [256e3, 1e6], "input_cost_per_token": 1.2e-06}]
    _, price = acme(tiered_pricing=tiers)
    assert [total(price, input=size)[0] for size in (256_000, 300_000)] == ["0.1024", "0.36"]
    windows = [{"hours_utc": ["10:00-00:00", "04:00-06:00"], "weekdays": [1, 2, 3, 4, 5]}, {"hours_utc": "00:00-00:00", "weekdays": [6, 7]}]
    _, price = acme(input_cost_per_token=3e-07, off_peak_pricing={"input_cost_per_token": 1.5e-07, "windows": windows})
    times = ["2026-11-27T09:59:00Z", "2026-11-27T10:00:00Z", "2026-11-27T23:59:00Z", "2026-11-28T09:00:00Z", "2026-11-29T12:00:00Z"]
    at = [price_from(price | {"effective_from": time}).effective_from for time in times]
    costs = [cost_of(price_from(price), Usage(input=MILLION), at=time).total for time in at]
    assert costs == [Decimal("0.3"), *[Decimal("0.15")] * 4]


def test_exact_tiers_of_models_dev_win_over_their_copy_for_old_clients():
    cost = {
        "input": 2.5,
        "output": 15,
        "tiers": [{"tier": {"type": "context", "size": 272_000}, "input": 5, "output": 22.5}],
        "context_over_200k": {"input": 5, "output": 22.5},
    }
    price = read("models.dev", {"acme": {"name": "Acme", "models": {"a": {"name": "A", "cost": cost}}}}).models[0]["prices"][0]
    assert total(price, input=250_000, output=1_000) == ("0.64", True)
    assert total(price, input=272_001, output=0)[0] == "1.360005"
    assert price["note"] == ""


def test_a_mode_of_models_dev_is_a_service_tier_only_if_it_sends_one():
    def mode(body):
        return {"cost": {"input": 4}, "provider": {"body": body}}

    row = {"cost": {"input": 2}, "experimental": {"modes": {"quick": mode({"service_tier": "priority"}), "fast": mode({"speed": "fast"})}}}
    price = read("models.dev", {"acme": {"name": "Acme", "models": {"a": row}}}).models[0]["prices"][0]
    assert units(price) == {("input", None, "standard"): Decimal("0.000002"), ("input", None, "priority"): Decimal("0.000004")}
    assert "experimental.modes.fast.cost.input" in price["note"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.049999999999999996", "0.05"),
        ("1.0000000000000002", "1"),
        ("0.08333333333333334", "0.08333333333333334"),
        ("0.000000000001", "0.000000000001"),
        ("0.0000000000000004", "0.0000000000000004"),
        ("0.0000000000000000004", None),
        ("0.123456789012", "0.123456789012"),
        ("0", "0"),
    ],
)
def test_the_tail_of_a_float_is_read_as_its_decimal_and_never_as_zero(amount, text):
    assert scaled_amount(Decimal(amount), 1) == text


@pytest.mark.parametrize(
    ("source", "document", "names", "problem"),
    [
        ("models.dev", {"acme": {"models": {"a": {"cost": {"input": 1}, "release_date": "2025-25-11"}, "b": {}}}}, ["a", "b"], "acme/a"),
        ("models.dev", {"acme": {"models": {"a": 3, "b": {"cost": "much", "limit": 5}}}, "c": []}, ["b"], "acme/a"),
        ("litellm", {"a": 1, "b": {"litellm_provider": "x", "deprecation_date": "2026-02-30"}}, ["b"], "a: "),
        ("litellm", {"a": {}, "b": {"litellm_provider": "x", "mode": [], "off_peak_pricing": 1, "tiered_pricing": {}}}, ["b"], "a: "),
        ("modeldesk", {"models": [7, {"provider": "x", "model_id": "b"}]}, ["b"], "models[0]"),
    ],
)
def test_a_bad_record_is_named_and_the_others_are_read(source, document, names, problem):
    catalog = read(source, document)
    assert [model["model_id"] for model in catalog.models] == names
    assert problem in catalog.problems[0]
    assert all(model.get("released_on") is None for model in catalog.models)


@pytest.mark.parametrize(
    ("source", "url", "problems"),
    [
        ("https://prices.example/?$filter=name%20eq%20'Models'", "https://prices.example/?$filter=name%20eq%20%27Models%27", 0),
        ("https://prices.example/a b", None, 1),
        ("The vendor's page", None, 0),
        (7, None, 0),
    ],
)
def test_the_address_of_a_source_never_costs_the_record(source, url, problems):
    catalog, price = acme(input_cost_per_token=1e-06, source=source)
    assert (price["source"]["url"], len(catalog.problems)) == (url, problems)


def test_a_bad_model_or_provider_of_genai_prices_is_named_and_the_others_are_read():
    good = {"id": "b", "match": {"equals": "b"}, "prices": {"input_mtok": "2"}}
    vendor = {"id": "acme", "name": "Acme", "api_pattern": "acme", "models": [{"id": "a", "prices": {"input_mtok": "x"}}, good]}
    catalog = read("genai-prices-json", [7, {"id": "broken"}, vendor])
    assert [model["model_id"] for model in catalog.models] == ["b"]
    assert [problem.split(":")[0] for problem in catalog.problems] == ["[0]", "broken", "acme/a"]


@pytest.mark.parametrize(
    ("source", "document"), [("litellm", {"a": 1}), ("models.dev", {"acme": {"models": {"a": 1}}}), ("modeldesk", {"models": [1]})]
)
def test_a_file_without_a_readable_record_is_an_error_with_the_first_problem(source, document):
    with pytest.raises(Invalid, match=r"Nothing in it can be read. The first problem: \S+"):
        read(source, document)


def test_the_sellers_names_of_one_vendor_are_one_provider_and_the_key_becomes_an_alias():
    sellers = {
        "vertex_ai-language-models": "vertex_ai/a",
        "bedrock_converse": "bedrock/b",
        "text-completion-openai": "c",
        "gemini": "gemini/d",
    }
    cost = {"input_cost_per_token": 1e-06}
    catalog = read("litellm", {key: {"litellm_provider": seller, **cost} for seller, key in sellers.items()})
    assert [(model["provider"], model["model_id"], model["aliases"]) for model in catalog.models] == [
        ("vertex-ai", "a", ["vertex_ai/a"]),
        ("aws", "b", ["bedrock/b"]),
        ("openai", "c", []),
        ("google", "d", ["gemini/d"]),
    ]
    sellers = ("google-vertex", "google-vertex-anthropic", "amazon-bedrock", "togetherai", "github-copilot")
    catalog = read("models.dev", {seller: {"models": {f"of-{seller}": {"cost": {"input": 1}}}} for seller in sellers})
    assert [provider["slug"] for provider in catalog.providers] == ["vertex-ai", "aws", "together", "copilot"]


def test_a_second_record_of_a_model_is_named_if_its_rates_differ():
    def record(cost, seller):
        return {"litellm_provider": seller, "input_cost_per_token": cost}

    records = {"a": record(1e-06, "bedrock"), "bedrock/a": record(1e-06, "bedrock_converse"), "aws/a": record(2e-06, "bedrock")}
    catalog = read("litellm", records)
    assert [(model["model_id"], model["aliases"]) for model in catalog.models] == [("a", ["bedrock/a"])]
    assert catalog.problems == ["aws/a: is left out, because an earlier record of aws/a has other rates"]


@pytest.mark.parametrize(
    ("heading", "fields"),
    [
        ("LiteLLM", LITELLM_FIELDS),
        ("models.dev", MODELS_DEV_FIELDS),
        ("genai-prices", {field: FieldRate(meter, units, per) for field, (meter, per, units) in METERS.items()}),
    ],
)
def test_the_documented_table_of_a_source_is_that_of_the_code(heading, fields):
    section = (ROOT / "docs" / "catalogs.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]
    expected = [
        [name, rate.meter, f"{rate.per:,}", ""] if isinstance(rate, FieldRate) else [name, "", "", rate] for name, rate in fields.items()
    ]
    assert rows == expected


@pytest.mark.parametrize(("image", "complete"), [(1.2e-4, False), (1.2e-5, True)])
def test_text_output_has_no_rate_where_image_output_costs_another_amount(image, complete):
    _, price = acme(input_cost_per_token=2e-6, output_cost_per_token=1.2e-5, output_cost_per_image_token=image)
    assert total(price, input=100, output=1_170)[1] is complete
    assert "output_cost_per_image_token" in price["note"]
