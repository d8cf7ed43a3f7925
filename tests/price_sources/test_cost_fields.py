"""Tests of the readers' accounting: every price field is in a rate or in the note, whatever else the file holds."""

import json
import re
from datetime import datetime
from decimal import Decimal

import pytest

from webapp.config.settings import ROOT
from webapp.domain.catalog.rate_schemas import validate_rates
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.serializers import price_from
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import sources
from webapp.price_sources.catalog_entries import provider_slug
from webapp.price_sources.cost_fields import FieldRate, scaled_amount
from webapp.price_sources.genai_fields import GENAI_FIELDS
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
    plain = (rate for rate in price["rates"] if rate["window"] is None and rate["when"] is None)
    return {tuple(rate[key] for key in keys): Decimal(rate["amount"]) / rate["per"] for rate in plain}


def conditional(price, meter):
    """Return the units of a meter by conditions, for those that depend on some."""
    rates = (rate for rate in price["rates"] if rate["meter"] == meter and rate["when"])
    return {tuple(rate["when"].items()): Decimal(rate["amount"]) / rate["per"] for rate in rates}


def total(price, service_tier="standard", attributes=None, **usage):
    cost = cost_of(price_from(price), Usage(**usage), at=None, service_tier=service_tier, attributes=attributes or {})
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
    assert (len(catalog.models), catalog.fields_read > 60, catalog.fields_noted) == (20, True, 4)  # Two sellers are one.
    assert catalog.problems[0].startswith("scaleway/qwen3-embedding-8b: release_date is 2025-25-11")


def test_the_bundled_catalog_names_every_field_that_no_meter_counts():
    from genai_prices import data, types

    catalog = sources.read_catalog("genai-prices")
    notes = {(model["provider"], model["model_id"]): " ".join(price["note"] for price in model["prices"]) for model in catalog.models}
    checked = 0
    for vendor in data.providers:
        for model in vendor.models:
            prices = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
            fields = {key for entry in prices for key, value in vars(entry.prices).items() if value} - GENAI_FIELDS.keys()
            note = notes.get((provider_slug(vendor.id), model.id))
            for field in fields if note is not None else ():
                assert field in note, (model.id, field)
                checked += 1
    assert (checked, catalog.fields_read > 5_000, catalog.fields_noted) == (9, True, 9)


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
        {"google_maps_grounding_cost_per_query": 0.025},
        {"input_cost_per_token_ultrafast": 6e-05},
        {"cache_creation_input_token_cost_above_12hr_above_272k_tokens_flex": 2.5e-05},
        {"citation_cost_per_token_1080p": 0.16},
        {"a_cost_of_next_year": {"per": [{"moon": 3}]}},
        {"some_price": "two dollars"},
        {"input_cost_per_image": 0.0011},
        {"search_context_cost_per_query": {"search_context_size_huge": 0.014}},
        {"search_context_cost_per_query": 0.01},
        {"tiered_pricing": [{"input_cost_per_query": 0.005, "max_results_range": [1, 25]}]},
        {"tiered_pricing": [{"input_cost_per_token": 1e-06, "range": "all"}]},
        {"off_peak_pricing": {"input_cost_per_token": 1e-06, "windows": [{"hours_utc": "25:00-26:00"}]}},
        {
            "off_peak_pricing": {
                "input_cost_per_token": 1e-06,
                "weekday_timezone": "Europe/Berlin",
                "windows": [{"hours_utc": "01:00-02:00", "weekdays": [1]}],
            }
        },
        {"off_peak_pricing": {"input_cost_per_token": 1e-06, "hours_utc": "01:00-02:00", "weekdays": [8]}},
        {"off_peak_pricing": {"input_cost_per_token": 1e-06, "windows": [{"hours_utc": "01:00-02:00", "weekdays": "weekend"}]}},
        {"fedramp_uplift_multiplier": 1.1},
        {"provider_specific_entry": {"us": "much"}},
        {"provider_specific_entry": {"on_the_moon": 1.3}},
        {"provider_specific_entry": {"cost_of_frames": 2}},
        {"off_peak_pricing": [{"input_cost_per_token": 1e-06}]},
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


def test_a_mode_of_models_dev_has_the_service_tier_or_the_conditions_that_it_sends():
    def mode(amount, body):
        return {"cost": {"input": amount}, "provider": {"body": body}}

    modes = {
        "quick": mode(4, {"service_tier": "priority"}),
        "fast": mode(12, {"speed": "fast"}),
        "nested": mode(13, {"thinking": {"type": "enabled"}}),
        "same": mode(14, {"service_tier": "standard"}),
        "silent": mode(15, {}),
    }
    price = read("models.dev", {"acme": {"name": "Acme", "models": {"a": {"cost": {"input": 2}, "experimental": {"modes": modes}}}}})
    price = price.models[0]["prices"][0]
    assert units(price) == {("input", None, "standard"): Decimal("0.000002"), ("input", None, "priority"): Decimal("0.000004")}
    assert conditional(price, "input") == {(("speed", "fast"),): Decimal("0.000012")}
    assert [name for name in modes if f"experimental.modes.{name}.cost.input" in price["note"]] == ["nested", "same", "silent"]


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


def test_a_second_record_of_a_model_is_named_if_it_states_another_price():
    def record(cost, seller, **more):
        return {"litellm_provider": seller, "input_cost_per_token": cost, **more}

    records = {"a": record(1e-06, "bedrock"), "bedrock/a": record(1e-06, "bedrock_converse"), "aws/a": record(2e-06, "bedrock")}
    records["bedrock_mantle/a"] = record(1e-06, "bedrock_mantle", some_cost=3)
    catalog = read("litellm", records)
    assert [(model["model_id"], model["aliases"]) for model in catalog.models] == [("a", ["bedrock/a"])]
    assert catalog.problems == [
        f"{key}: is left out, because the record a of aws/a has another price" for key in ("aws/a", "bedrock_mantle/a")
    ]


def test_a_record_without_a_price_never_hides_one_with_a_price():
    zero, priced = ({"litellm_provider": "gemini", "input_cost_per_token": amount} for amount in (0, 1e-06))
    catalog = read("litellm", {"gemini/exp": zero, "exp": priced, "gemini/live": priced, "live": zero})
    assert [(model["model_id"], model["prices"][0]["state"]) for model in catalog.models] == [("exp", "priced"), ("live", "priced")]
    assert (catalog.problems, catalog.models[0]["aliases"]) == ([], ["gemini/exp"])


@pytest.mark.parametrize("order", [1, -1])
def test_the_record_whose_key_is_the_plain_id_counts_in_any_order(order):
    records = {
        "bedrock_mantle/openai.sol": {"litellm_provider": "bedrock_mantle", "input_cost_per_token": 1e-06},
        "openai.sol": {"litellm_provider": "bedrock", "input_cost_per_token": 2e-06},
    }
    catalog = read("litellm", dict(list(records.items())[::order]))
    assert [units(model["prices"][0]) for model in catalog.models] == [{("input", None, "standard"): Decimal("0.000002")}]
    assert (len(catalog.problems), catalog.records_left_out, catalog.models[0]["aliases"]) == (1, 1, [])


def test_two_records_with_the_same_rates_in_another_order_agree():
    costs = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
    records = {"vertex_ai/a": costs, "a": dict(reversed(costs.items()))}
    assert read("litellm", {key: {"litellm_provider": "vertex_ai", **record} for key, record in records.items()}).problems == []


@pytest.mark.parametrize(
    ("heading", "fields"), [("LiteLLM", LITELLM_FIELDS), ("models.dev", MODELS_DEV_FIELDS), ("genai-prices", GENAI_FIELDS)]
)
def test_the_documented_table_of_a_source_is_that_of_the_code(heading, fields):
    section = (ROOT / "docs" / "catalogs.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]
    expected = [
        [name, rate.meter, f"{rate.per:,}", ""] if isinstance(rate, FieldRate) else [name, "", "", rate] for name, rate in fields.items()
    ]
    assert rows == expected


@pytest.mark.parametrize(
    ("seller", "above"), [("xai", 199_999), ("azure_ai", 200_000), ("vertex_ai-xai_models", 200_000), ("openrouter", 200_000)]
)
def test_only_xai_itself_bills_the_higher_rate_from_its_threshold_on(seller, above):
    ends = {"": 1.25e-06, "_above_200k_tokens": 2.5e-06, "_batches": 1e-06, "_above_200k_tokens_batches": 2e-06}
    record = {"litellm_provider": seller, **{f"input_cost_per_token{end}": amount for end, amount in ends.items()}}
    price = read("litellm", {"grok": record}).models[0]["prices"][0]
    assert {rate["above"] for rate in price["rates"]} == {None, above}
    assert {rate["service_tier"] for rate in price["rates"] if rate["above"]} == {"standard", "batch"}


@pytest.mark.parametrize(("seller", "above"), [("xai", 199_999), ("azure", 200_000)])
@pytest.mark.parametrize(
    "tier", [{"tiers": [{"input": 4, "tier": {"type": "context", "size": 200_000}}]}, {"context_over_200k": {"input": 4}}]
)
def test_models_devs_thresholds_of_xai_are_inclusive(seller, above, tier):
    price = read("models.dev", {seller: {"models": {"grok": {"cost": {"input": 2, **tier}}}}}).models[0]["prices"][0]
    assert [rate["above"] for rate in price["rates"]] == [None, above]


def test_images_of_the_input_are_no_generated_images():
    fields = {"input_cost_per_image": 0.0011, "output_cost_per_image": 0.134, "output_cost_per_image_token": 0.00012}
    catalog, price = acme(mode="image_generation", **fields)
    assert units(price) == {("output_image", None, "standard"): Decimal("0.00012")}
    assert (catalog.fields_read, catalog.fields_noted) == (1, 2)
    assert all(field in price["note"] for field in ("input_cost_per_image", "output_cost_per_image"))
    sizes = {"output_cost_per_image_1K": 0.04, "output_cost_per_image_2K": 0.06}
    _, price = acme(mode="image_generation", input_cost_per_image=0.06, **sizes)
    assert units(price) == {}
    assert conditional(price, "image") == {(("resolution", "1K"),): Decimal("0.04"), (("resolution", "2K"),): Decimal("0.06")}
    assert "input_cost_per_image" in price["note"]


def test_rates_by_resolution_stand_next_to_the_default():
    _, price = acme(output_cost_per_second=0.1, output_cost_per_second_480p=0.04, output_cost_per_second_1080p_batches=0.08)
    assert units(price) == {("second", None, "standard"): Decimal("0.1")}
    assert conditional(price, "second") == {(("resolution", "480p"),): Decimal("0.04"), (("resolution", "1080p"),): Decimal("0.08")}
    assert total(price, second=10, attributes={"resolution": "480p"}) == ("0.4", True)
    assert total(price, "batch", second=10, attributes={"resolution": "1080p"}) == ("0.8", True)


def test_searches_cost_by_their_context_size_unless_all_sizes_cost_the_same():
    _, price = acme(search_context_cost_per_query={"search_context_size_low": 0.005, "search_context_size_high": 0.014})
    assert conditional(price, "web_search") == {
        (("search_context", "low"),): Decimal("0.005"),
        (("search_context", "high"),): Decimal("0.014"),
    }
    assert total(price, web_search=1) == ("0", False)


def test_factors_multiply_every_rate_of_tokens_exactly_and_combine():
    catalog, price = acme(
        input_cost_per_token=5e-06,
        cache_read_input_token_cost=5e-07,
        input_cost_per_token_batches=2.5e-06,
        output_cost_per_image=0.1,
        provider_specific_entry={"us": 1.1, "fast": 2.0, "realtime_ga_only": 1, "frames": {"480p": "640x480"}},
    )
    assert validate_rates(price["rates"], "rates")
    assert (price["note"], catalog.fields_read) == ("", 6)
    assert total(price, input=MILLION, attributes={"region": "us"}) == ("5.5", True)
    assert total(price, input=MILLION, cache_read=MILLION, attributes={"region": "us", "speed": "fast"}) == ("1.1", True)
    assert total(price, "batch", input=MILLION, attributes={"region": "us"}) == ("2.75", True)
    assert total(price, image=1, attributes={"region": "us"}) == ("0.1", True)
    assert total(price, input=MILLION) == ("5", True)


def test_factors_of_regions_never_combine_with_each_other():
    factors = {f"regional_processing_uplift_multiplier_{region}": 1.1 for region in ("us", "eu")}
    _, price = acme(input_cost_per_token=1e-06, **factors)
    assert sorted(conditional(price, "input")) == [(("region", "eu"),), (("region", "us"),)]


def test_a_factor_without_rates_of_tokens_is_noted():
    catalog, price = acme(output_cost_per_image=0.1, provider_specific_entry={"us": 1.1})
    assert ("provider_specific_entry.us" in price["note"], catalog.fields_noted) == (True, 1)


@pytest.mark.parametrize(
    ("amount", "text", "per"),
    [
        (0.0005666666666666667, "0.034", 60),
        (0.0002833333333333333, "0.017", 60),
        (2.7777777777777776e-05, "0.1", 3_600),
        (0.0001, "0.0001", 1),
        (1.1111111111111112e-07, "0.0004", 3_600),
        (0.012345678901234, "0.012345678901234", 1),
    ],
)
def test_a_price_per_second_without_a_short_decimal_is_one_per_minute_or_hour(amount, text, per):
    (rate,) = acme(input_cost_per_second=amount)[1]["rates"]
    assert (rate["meter"], rate["amount"], rate["per"]) == ("second", text, per)


def at(price, moment):
    when = datetime.fromisoformat(moment)
    return str(cost_of(price_from(price), Usage(input=MILLION), at=when).total.normalize())


FRIDAY, SATURDAY, SUNDAY, MONDAY = (f"2026-11-{day}" for day in (27, 28, 29, 30))


@pytest.mark.parametrize(
    ("rule", "off_peak", "peak"),
    [
        ({"hours_utc": "16:30-00:30"}, [f"{FRIDAY}T16:30Z", f"{SATURDAY}T00:29Z"], [f"{SATURDAY}T00:30Z"]),
        ({"hours_utc": "16:30-00:30", "windows": None}, [f"{FRIDAY}T16:30Z"], [f"{FRIDAY}T16:29Z"]),
        ({"windows": [{"hours_utc": ["16:30-00:30"], "weekdays": None}]}, [f"{SATURDAY}T00:29Z"], [f"{SATURDAY}T00:30Z"]),
        (
            {"windows": [{"hours_utc": "16:30-00:30", "weekdays": ["fri"]}]},
            [f"{FRIDAY}T00:29Z", f"{FRIDAY}T23:59Z"],
            [f"{SATURDAY}T00:29Z"],
        ),
        (
            {"windows": [{"hours_utc": "00:00-24:00", "weekdays": ["Saturday", 7]}]},
            [f"{SATURDAY}T00:00Z", f"{SUNDAY}T23:59Z"],
            [f"{MONDAY}T00:00Z"],
        ),
        (
            {"hours_utc": "16:30-17:00", "windows": [{"hours_utc": "01:00-02:00", "weekdays": [6, 7]}]},
            [f"{FRIDAY}T16:30Z", f"{SATURDAY}T01:00Z"],
            [f"{FRIDAY}T01:00Z"],
        ),
        (
            {"weekday_timezone": "Asia/Shanghai", "windows": [{"hours_utc": "10:00-00:00", "weekdays": [1, 2, 3, 4, 5]}]},
            [f"{FRIDAY}T10:00Z", f"{FRIDAY}T15:59Z", f"{SUNDAY}T16:00Z", f"{SUNDAY}T23:59Z"],
            [f"{FRIDAY}T16:00Z", f"{SUNDAY}T15:59Z", f"{MONDAY}T00:00Z"],
        ),
        (
            {"weekday_timezone": "Asia/Shanghai", "windows": [{"hours_utc": "00:00-00:00", "weekdays": [6, 7]}]},
            [f"{FRIDAY}T16:00Z", f"{SUNDAY}T15:59Z"],
            [f"{FRIDAY}T15:59Z", f"{SUNDAY}T16:00Z"],
        ),
    ],
)
def test_off_peak_hours_of_litellm_apply_by_the_day_of_each_moment(rule, off_peak, peak):
    catalog, price = acme(input_cost_per_token=3e-07, off_peak_pricing={"input_cost_per_token": 1e-07, **rule})
    assert validate_rates(price["rates"], "rates")
    assert [at(price, moment) for moment in off_peak] == ["0.1"] * len(off_peak)
    assert [at(price, moment) for moment in peak] == ["0.3"] * len(peak)
    assert (price["note"], catalog.fields_read) == ("", 2)


def test_a_table_of_ranges_counts_before_the_fields_next_to_it():
    tiers = [{"range": [0, 256_000], "input_cost_per_token": 5e-08}, {"range": [256_000, MILLION], "input_cost_per_token": 2.5e-07}]
    catalog, price = acme(input_cost_per_token=9e-06, output_cost_per_token=1e-06, tiered_pricing=tiers)
    assert units(price) == {
        ("input", None, "standard"): Decimal("5E-8"),
        ("input", 256_000, "standard"): Decimal("2.5E-7"),
        ("output", None, "standard"): Decimal("0.000001"),
    }
    assert ("Not read: input_cost_per_token (" in price["note"], catalog.fields_noted) == (True, 1)


def test_a_tier_of_size_0_of_models_dev_is_for_every_call():
    tier = {"input": 3, "tier": {"type": "context", "size": 0}}
    price = read("models.dev", {"acme": {"models": {"m": {"cost": {"input": 1, "output": 2, "tiers": [tier]}}}}}).models[0]["prices"][0]
    assert units(price) == {("input", None, "standard"): Decimal("0.000003"), ("output", None, "standard"): Decimal("0.000002")}
    assert "cost.input (" in price["note"]


@pytest.mark.parametrize(
    ("fields", "meter", "unit"),
    [
        ({"input_cost_per_video_token": 3e-06}, "input_video", "0.000003"),
        ({"output_cost_per_image_token": 3e-05}, "output_image", "0.00003"),
        ({"output_cost_per_video_token": 1.75e-05}, "output_video", "0.0000175"),
        ({"cache_read_input_audio_token_cost": 4e-07}, "cache_read_audio", "4E-7"),
        ({"cache_read_input_image_token_cost": 5e-07}, "cache_read_image", "5E-7"),
        ({"cache_read_input_video_token_cost": 6e-07}, "cache_read_video", "6E-7"),
        ({"input_cost_per_pixel": 8.39233e-08, "output_cost_per_pixel": 0.0}, "pixel", "8.39233E-8"),
        ({"code_interpreter_cost_per_session": 0.033}, "session", "0.033"),
        ({"file_search_cost_per_1k_calls": 2.5}, "file_search", "0.0025"),
        ({"file_search_cost_per_gb_per_day": 0.1}, "gb_day", "0.1"),
        ({"vector_store_cost_per_gb_per_day": 0.1}, "gb_day", "0.1"),
    ],
)
def test_media_and_tools_of_litellm_have_meters(fields, meter, unit):
    assert units(acme(**fields)[1]) == {(meter, None, "standard"): Decimal(unit)}


def test_text_output_keeps_its_rate_next_to_image_output():
    _, price = acme(input_cost_per_token=2e-6, output_cost_per_token=1.2e-5, output_cost_per_image_token=1.2e-4)
    assert total(price, input=100, output=1_170, output_image=1_120) == ("0.1352", True)


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"supports_vision": True}, True),
        ({"supports_audio_input": True}, True),
        ({"supported_modalities": ["text", "video"]}, True),
        ({}, False),
        ({"supports_vision": False}, False),
        ({"supports_vision": True, "input_cost_per_image_token": 5e-06}, False),
        ({"supports_vision": True, "supports_audio_input": True, "input_cost_per_image_token": 5e-06}, True),
        ({"supports_vision": True, "supports_audio_output": True}, False),
        ({"supports_vision": True, "supports_audio_output": True, "output_cost_per_audio_token": 6e-05}, True),
        ({"supports_vision": True, "supported_output_modalities": ["text", "image"]}, False),
        ({"supports_vision": True, "input_cost_per_token": 0}, False),
    ],
)
def test_media_are_billed_like_text_where_litellm_takes_them_without_a_rate(fields, flag):
    price = acme(**{"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06} | fields)[1]
    if fields.get("input_cost_per_token") == 0:
        price = acme(output_cost_per_token=2e-06, supports_vision=True)[1]
    assert price["media_at_text_rate"] is flag


@pytest.mark.parametrize(
    ("inputs", "outputs", "cost", "flag"),
    [
        (["text", "image", "pdf"], ["text"], {}, True),
        (["text"], ["text"], {}, False),
        (["text", "audio"], ["text"], {"input_audio": 3}, False),
        (["text", "image"], ["text", "audio"], {}, False),
        (["text", "image"], ["text", "audio"], {"output_audio": 3}, True),
        (["text", "image"], ["image"], {}, False),
    ],
)
def test_media_are_billed_like_text_where_models_dev_takes_them_without_a_rate(inputs, outputs, cost, flag):
    row = {"cost": {"input": 1, "output": 2, **cost}, "modalities": {"input": inputs, "output": outputs}}
    assert read("models.dev", {"acme": {"models": {"a": row}}}).models[0]["prices"][0]["media_at_text_rate"] is flag


@pytest.mark.parametrize("source", ["litellm", "models.dev"])
@pytest.mark.parametrize(("name", "state"), [("nvidia/nemotron:free", "free"), ("nvidia/nemotron", "unknown")])
def test_only_a_name_that_says_free_makes_a_price_of_zero_free(source, name, state):
    files = {
        "litellm": {f"openrouter/{name}": {"litellm_provider": "openrouter", "input_cost_per_token": 0, "output_cost_per_token": 0.0}},
        "models.dev": {"openrouter": {"models": {name: {"cost": {"input": 0, "output": 0}}}}},
    }
    price = read(source, files[source]).models[0]["prices"][0]
    assert (price["state"], price["rates"], price["note"] == "") == (state, [], state == "free")
