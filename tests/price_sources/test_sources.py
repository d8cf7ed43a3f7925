"""Tests of the catalog parsers: each published format is read exactly, without guesses."""

import json

import pytest
from factories import NOW, a_rate

from webapp.config.settings import ROOT
from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.catalog_diff import CatalogComparison, compare
from webapp.domain.catalog.catalog_guards import GuardLimits
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.serializers import catalog_from
from webapp.domain.catalog.source_scope import FULL_SCOPE
from webapp.domain.pricing.meters import METER_SET
from webapp.domain.pricing.service_tiers import SERVICE_TIERS
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import sources
from webapp.price_sources.cost_fields import FieldRate
from webapp.price_sources.genai_fields import GENAI_FIELDS, GENAI_SCOPE
from webapp.price_sources.litellm_fields import LITELLM_FIELDS, LITELLM_SCOPE, UNUSED_METERS
from webapp.price_sources.models_dev import MODELS_DEV_FIELDS, MODELS_DEV_SCOPE


def rates(model):
    return {(rate["meter"], rate["above"], rate["service_tier"]): (rate["amount"], rate["per"]) for rate in model["prices"][-1]["rates"]}


def read(source, document):
    return sources.read_catalog(source, json.dumps(document).encode())


def test_the_bundled_catalogue_has_all_sellers_and_reads_as_a_registry():
    bundled = sources.read_catalog("genai-prices")
    assert (len(bundled.providers) > 40, len(bundled.models) > 2_000) == (True, True)
    assert all(": is left out: " in problem for problem in bundled.problems)  # Reviewed exclusions, each with its reason.
    catalog = catalog_from({"providers": [], "models": bundled.models})
    assert {model.type for model in catalog.models} <= set(MODEL_TYPES)
    registry_models = {model.ref: model for model in constants().models}
    bundled_models = {model.ref: model for model in catalog.models}
    shared = registry_models.keys() & bundled_models.keys()
    assert len(shared) > 200
    supplemented = {f"openai/{name}" for name in ("gpt-image-1", "gpt-image-1-mini", "gpt-4o-audio-preview", "gpt-4o-mini-audio-preview")}
    assert {ref for ref in shared if registry_models[ref].prices != bundled_models[ref].prices} == supplemented


def test_litellms_map_becomes_rates_per_million_with_tiers():
    parsed = read(
        "litellm",
        {
            "sample_spec": {"litellm_provider": "one of ..."},
            "xai/grok-4": {
                "litellm_provider": "xai",
                "mode": "chat",
                "input_cost_per_token": 2.5e-06,
                "output_cost_per_token": 1e-05,
                "input_cost_per_token_above_200k_tokens": 5e-06,
                "input_cost_per_token_batches": 1.25e-06,
                "max_input_tokens": 128000,
                "deprecation_date": "2027-01-31",
                "source": "https://x.ai/prices",
            },
            "gemini/imagen": {"litellm_provider": "gemini", "mode": "image_generation", "output_cost_per_image": 0.04},
            "openai/mystery": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0},
        },
    )
    grok, imagen, mystery = parsed.models
    assert (grok["provider"], grok["model_id"], grok["context_window"], grok["retires_on"]) == ("xai", "grok-4", 128000, "2027-01-31")
    assert rates(grok) == {
        ("input", None, "standard"): ("2.5", 1_000_000),
        ("output", None, "standard"): ("10", 1_000_000),
        ("input", 199_999, "standard"): ("5", 1_000_000),
        ("input", None, "batch"): ("1.25", 1_000_000),
    }
    assert (imagen["provider"], imagen["type"], rates(imagen)) == ("google", "image", {("image", None, "standard"): ("0.04", 1)})
    assert (mystery["prices"][0]["state"], mystery["prices"][0]["note"]) == (
        "unknown",
        "The source says 0, which may mean free or unknown.",
    )


def test_models_dev_is_per_million_already():
    cost = {"input": 1.25, "output": 10, "cache_read": 0.125, "context_over_200k": {"input": 2.5}}
    limit = {"context": 1048576, "output": 65536}
    parsed = read("models.dev", {"google": {"name": "Google", "models": {"gemini-x": {"name": "Gemini X", "cost": cost, "limit": limit}}}})
    (model,) = parsed.models
    assert (model["display_name"], model["context_window"], model["max_output_tokens"]) == ("Gemini X", 1048576, 65536)
    assert rates(model)["input", None, "standard"] == ("1.25", 1_000_000)
    assert rates(model)["input", 200_000, "standard"] == ("2.5", 1_000_000)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e-30000000", "1e99999999", "9" * 5_000, "0." + "1" * 5_000])
def test_a_number_that_is_no_amount_rejects_only_its_field(number):
    text = f'{{"openai/m": {{"litellm_provider": "openai", "input_cost_per_token": {number}, "output_cost_per_token": 1e-6}}}}'
    parsed = sources.read_catalog("litellm", text.encode())
    assert rates(parsed.models[0]) == {("output", None, "standard"): ("1", 1_000_000)}
    assert "openai/m: input_cost_per_token is not read" in parsed.problems[0]
    assert "input_cost_per_token" in parsed.models[0]["prices"][0]["note"]


HALF_A_PAIR = "\\ud800"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("litellm", '{"a": {"litellm_provider": "acme", "input_cost_per_token": 1e-6, "x%s_cost": 2}, "b%s": 1}'),
        ("models.dev", '{"acme": {"name": "A%s", "models": {"a": {"name": "A%s", "cost": {"input": 1, "x%s": 2}}, "b%s": 1}}}'),
        ("modeldesk", '{"models": [{"provider": "acme", "model_id": "a%s", "x\\u0000": "%s"}, 1]}'),
        ("modeldesk", 'models:\n- {provider: acme, model_id: a, display_name: "\\0"}'),
    ],
)
def test_characters_that_no_database_stores_are_replaced_everywhere(source, text):
    parsed = sources.read_catalog(source, text.replace("%s", HALF_A_PAIR).encode())
    everything = json.dumps([parsed.models, parsed.providers, parsed.problems], ensure_ascii=False, default=str)
    assert "\N{REPLACEMENT CHARACTER}" in everything.encode().decode()  # `encode` raises for half a pair.
    assert "\\u0000" not in everything


@pytest.mark.parametrize(
    "more",
    [
        {"experimental": {"cost": {"input": 7}}},
        {"experimental": {"pricing": [{"price": 7}]}},
        {"experimental": {"modes": {"fast": {"cost_per_call": 7}}}},
        {"experimental": {"modes": {"fast": {"cost": {"input": 7}, "price": 9}}}},
        {"experimental": {"modes": [{"cost": 7}]}},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"cost": {"input": 7}}}}}}}}},
        {"price": "7 USD"},
        {"list_price": True},
    ],
)
def test_every_other_cost_of_a_models_dev_record_is_noted(more):
    parsed = read("models.dev", {"acme": {"name": "A", "models": {"a": {"cost": {"input": 1}} | more}}})
    price = parsed.models[0]["prices"][0]
    assert rates(parsed.models[0]) == {("input", None, "standard"): ("1", 1_000_000)}
    assert ("Not read: " in price["note"], parsed.fields_read, parsed.fields_noted) == (
        True,
        1,
        1 + ("price" in str(more) and "modes" in str(more)),
    )


def test_a_cost_of_a_whole_seller_is_a_problem():
    parsed = read("models.dev", {"acme": {"name": "A", "flat_price": 7, "cost": 0, "models": {"a": {"cost": {"input": 1}}}}})
    assert [problem.partition(" is ")[0] for problem in parsed.problems] == ["acme: flat_price"]


@pytest.mark.parametrize("amount", [10**40, -1, True, "0.1", 1e-40])
def test_an_amount_that_is_none_is_named_and_left_out(amount):
    parsed = read("litellm", {"openai/m": {"litellm_provider": "openai", "input_cost_per_token": amount, "output_cost_per_token": 1e-6}})
    assert ("output", None, "standard") in rates(parsed.models[0])
    assert ("input", None, "standard") not in rates(parsed.models[0])
    assert "openai/m: input_cost_per_token" in parsed.problems[0]


@pytest.mark.parametrize(
    ("source", "data", "said"),
    [
        ("nothing", b"{}", "must be one of"),
        ("litellm", None, "is needed"),
        ("litellm", b"[1]", "must be an object"),
        ("litellm", b'{"a": NaN}', "no object"),
        ("litellm", b"model_list:\n- model_name: gpt-4o\n", "configuration of a LiteLLM proxy"),
        ("modeldesk", b"model_list:\n- model_name: gpt-4o\n", "configuration of a LiteLLM proxy"),
        ("models.dev", b'{"model_list": []}', "configuration of a LiteLLM proxy"),
        ("litellm", b"{}", "names no model"),
        ("models.dev", b"{", "is not JSON"),
        ("genai-prices-json", b"{}", "must be a list"),
        ("genai-prices-json", b'[{"id": 1}]', "cannot be read"),
        ("modeldesk", b"[a, b]", "no list of models"),
        ("modeldesk", b"a: [", "neither YAML nor JSON"),
        ("modeldesk", b"[" * 200_000, "nested too deep"),
        ("modeldesk", b"{" * 200_000, "is not JSON"),
        ("modeldesk", b"models: [2026-02-30]", "neither JSON nor YAML"),
        ("litellm", b'{"a": 1e-30000000}', "no object"),
        ("litellm", b'{"a": 1e99999999}', "no object"),
        ("models.dev", b'{"a": ' * 100_000, "is not JSON"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_words(source, data, said):
    with pytest.raises(Invalid, match=said):
        sources.read_catalog(source, data)


def test_the_published_json_of_genai_prices_is_read_like_the_package():
    prices = {"input_mtok": {"base": 2, "tiers": [{"start": 200000, "price": 4}]}, "output_mtok": "6"}
    vendor = {"id": "x-ai", "name": "xAI", "api_pattern": "https://api\\.x\\.ai", "pricing_urls": ["https://x.ai/prices"]}
    parsed = read("genai-prices-json", [vendor | {"models": [{"id": "grok-9", "match": {"equals": "grok-9"}, "prices": prices}]}])
    (model,) = parsed.models
    assert (parsed.name, model["provider"], model["prices"][0]["source"]["url"]) == ("genai-prices", "xai", "https://x.ai/prices")
    assert rates(model) == {
        ("input", None, "standard"): ("2", 1_000_000),
        ("input", 200_000, "standard"): ("4", 1_000_000),
        ("output", None, "standard"): ("6", 1_000_000),
    }


@pytest.mark.parametrize(
    ("label", "scope"),
    [("LiteLLM", LITELLM_SCOPE), ("models.dev", MODELS_DEV_SCOPE), ("genai-prices", GENAI_SCOPE), ("an export of Modeldesk", FULL_SCOPE)],
)
def test_the_documented_scope_of_a_source_is_that_of_the_code(label, scope):
    page = (ROOT / "docs" / "catalogs.md").read_text()
    rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines())
    documented = next(cells for cells in rows if len(cells) == 6 and cells[0] == label)
    tiers = ", ".join(f"`{tier}`" for tier in SERVICE_TIERS if tier in scope.service_tiers)
    flags = ["yes" if flag else "no" for flag in (scope.thresholds, scope.windows)]
    names = "all" if scope.conditions is None else ", ".join(f"`{name}`" for name in sorted(scope.conditions)) or "none"
    assert documented[2:] == [tiers if scope != FULL_SCOPE else "all", *flags, names]


def test_a_scope_has_every_meter_that_the_sources_table_states():
    assert LITELLM_SCOPE.meters | UNUSED_METERS == {rate.meter for rate in LITELLM_FIELDS.values() if isinstance(rate, FieldRate)}
    assert LITELLM_SCOPE.meters & UNUSED_METERS == set()
    assert MODELS_DEV_SCOPE.meters == {rate.meter for rate in MODELS_DEV_FIELDS.values() if isinstance(rate, FieldRate)}
    assert GENAI_SCOPE.meters == {rate.meter for rate in GENAI_FIELDS.values()}
    assert FULL_SCOPE.meters == METER_SET


def test_models_dev_over_the_seed_removes_no_tier_and_no_search():
    """models.dev states neither: a file with the standard rates of every seeded model would have removed 63 batch and 54 search rates."""
    token_rates = {"input", "output", "cache_read", "cache_write", "reasoning", "input_audio", "output_audio"}
    sellers: dict[str, dict] = {}
    for model in constants().models:
        price = model.prices[-1]
        costs = {rate.meter: float(rate.amount) * 1.01 for rate in price.rates if rate[3:] == a_rate()[3:] and rate.meter in token_rates}
        sellers.setdefault(model.provider, {"name": model.provider, "models": {}})["models"][model.model_id] = {"cost": costs}
    catalog = read("models.dev", sellers)
    registry = {model.ref: model for model in constants().models}
    offered = {model.ref: model for model in catalog_from({"providers": [], "models": catalog.models}).models}
    differences = compare(CatalogComparison(registry, registry, offered, "models.dev", NOW, scope=catalog.scope), GuardLimits())
    tiers = ("batch", "flex", "priority", "Web searches")
    lines = [line for difference in differences for line in difference.lines if any(word in line.field for word in tiers)]
    assert (len(lines) > 150, {(line.unstated, line.guards, line.before == line.after) for line in lines}) == (True, {(True, (), True)})
    for difference in differences:
        stays = {
            rate for rate in registry[difference.ref].price_at(NOW).rates if rate.service_tier != "standard" or rate.meter == "web_search"
        }
        assert difference.price is None or stays <= set(difference.price.rates)
