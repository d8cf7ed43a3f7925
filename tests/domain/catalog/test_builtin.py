import hashlib
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from webapp.domain.catalog.builtin import CATALOG_FILE, catalog_document, constants
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.rate_schemas import MAX_PER
from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.meters import METER_SET
from webapp.domain.pricing.pricing import PRICE_STATES, SOURCE_KINDS
from webapp.domain.pricing.serializers import price_from
from webapp.domain.pricing.service_tiers import SERVICE_TIERS
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import format_decimal, parse_amount

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "data"
MODELS = catalog_document()["models"]
REFS = {f"{model['provider']}/{model['model_id']}": model for model in MODELS}
PRICES = [(f"{ref} from {price['effective_from']}", price) for ref, model in REFS.items() for price in model["prices"]]
RATES = [(name, rate) for name, price in PRICES for rate in price["rates"]]
ALIASES = [(alias, ref) for ref, model in REFS.items() for alias in model["aliases"]]

REQUIRED_TEXT = {
    "openai/gpt-4o-mini": ("0.15", "0.6"),
    "openai/gpt-4o": ("2.5", "10"),
    "openai/gpt-4.1": ("2", "8"),
    "openai/gpt-5.1": ("1.25", "10"),
    "openai/gpt-5.2": ("1.75", "14"),
    "anthropic/claude-3-sonnet": ("3", "15"),
    "anthropic/claude-3-opus": ("15", "75"),
    "anthropic/claude-3-haiku": ("0.25", "1.25"),
    "anthropic/claude-3-5-sonnet-20241022": ("3", "15"),
    "openai/gpt-4-turbo": ("10", "30"),
    "openai/gpt-3.5-turbo": ("0.5", "1.5"),
    "xai/grok-beta": ("5", "15"),
    "xai/grok-vision-beta": ("5", "15"),
}
REQUIRED_IMAGE = {
    "openai/dall-e-3": "0.04",
    "openai/dall-e-2": "0.02",
    "openai/gpt-image-1": "0.042",
    "openai/gpt-image-1-mini": "0.011",
    "runware/runware:97@1": "0.009",
}
DRIVER_DEFAULTS = {
    "openai/gpt-4o-mini",
    "anthropic/claude-sonnet-4-20250514",
    "google/gemini-2.0-flash",
    "xai/grok-3-mini",
    "ollama/llama3.2",
    "mistral/mistral-small-latest",
}
DATED_NAMES = {
    "gpt-4o-mini-2024-07-18": "openai/gpt-4o-mini",
    "claude-3-opus-20240229": "anthropic/claude-3-opus",
    "claude-3-haiku-20240307": "anthropic/claude-3-haiku",
}
CAPABILITIES = {"chat", "code", "vision", "json_mode", "tools", "streaming", "system_prompt", "reasoning", "image", "audio", "embedding"}


def offending(pairs, is_wrong):
    return [name for name, value in pairs if is_wrong(value)]


def key(rate):
    return rate["meter"], rate["above"], rate["service_tier"], json.dumps(rate["window"]), json.dumps(rate["when"])


def amounts(price, meter):
    rates = [rate for rate in price["rates"] if rate["meter"] == meter and rate["service_tier"] == "standard"]
    return [(rate["amount"], rate["per"], rate["above"], rate["window"]) for rate in rates]


# The document


def test_the_document_is_read_once():
    assert catalog_document() is catalog_document()


def test_the_source_is_named_with_its_version_digest_day_and_notices():
    source = catalog_document()["source"]
    assert (source["name"], source["version"]) == ("genai-prices", "0.2.3")
    assert re.fullmatch(r"[0-9a-f]{64}", source["sha256"])
    assert date.fromisoformat(source["generated_on"])
    assert all(any(name in notice for notice in source["notices"]) for name in ("genai-prices, MIT", "LiteLLM, MIT"))


needs_genai_prices = pytest.mark.skipif(importlib.util.find_spec("genai_prices") is None, reason="genai-prices is not installed")


@needs_genai_prices
def test_generating_it_again_gives_the_same_bytes(tmp_path):
    output = tmp_path / "catalog.json"
    script = ROOT / "scripts" / "build_catalog.py"
    day = catalog_document()["source"]["generated_on"]
    command = [sys.executable, script, "--generated-on", day, "--output", output]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert output.read_bytes() == CATALOG_FILE.read_bytes()
    assert ran.stdout.startswith("0 changes.")


@needs_genai_prices
def test_the_digest_is_that_of_the_data_in_the_package():
    data = Path(importlib.util.find_spec("genai_prices").origin).with_name("data.py")
    assert hashlib.sha256(data.read_bytes()).hexdigest() == catalog_document()["source"]["sha256"]


# Names


def test_slugs_refs_and_bare_names_are_unique():
    slugs = [provider["slug"] for provider in catalog_document()["providers"]]
    assert len(set(slugs)) == len(slugs)
    assert len(REFS) == len(MODELS)
    assert [name for name, count in Counter(model["model_id"].lower() for model in MODELS).items() if count > 1] == []


def test_every_model_belongs_to_a_provider_that_is_there():
    assert {model["provider"] for model in MODELS} <= {provider["slug"] for provider in catalog_document()["providers"]}


def test_aliases_are_unique_and_never_the_name_of_a_model():
    counts = Counter(alias.lower() for alias, _ in ALIASES)
    assert [alias for alias, count in counts.items() if count > 1] == []
    assert set(counts) & ({model["model_id"].lower() for model in MODELS} | {ref.lower() for ref in REFS}) == set()


def test_a_moving_name_is_never_another_name_of_a_model_that_stays():
    moving = [(alias, ref) for alias, ref in ALIASES if alias.endswith("-latest")]
    assert [pair for pair in moving if not pair[1].endswith("-latest")] == []


def test_a_moving_name_says_so():
    pointers = [model for model in MODELS if model["model_id"].endswith("-latest")]
    assert len(pointers) > 3
    assert [model["model_id"] for model in pointers if "dated pointer" not in model["description"]] == []


@pytest.mark.parametrize(("alias", "ref"), DATED_NAMES.items())
def test_the_dated_names_of_the_design_documents_are_aliases(alias, ref):
    assert alias in REFS[ref]["aliases"]


def test_a_snapshot_with_another_price_is_a_model_of_its_own():
    assert amounts(REFS["openai/gpt-4o-2024-05-13"]["prices"][-1], "input") == [("5", 1_000_000, None, None)]


# Contents


@pytest.mark.parametrize(("ref", "input_and_output"), REQUIRED_TEXT.items())
def test_the_text_models_of_the_design_documents_cost_what_these_say_at_every_date(ref, input_and_output):
    model = REFS[ref]
    assert model["type"] == "text"
    assert model["prices"][0]["effective_from"] == "1970-01-01T00:00:00Z"
    for price in model["prices"]:
        assert price["state"] == "priced"
        assert tuple(amounts(price, meter) for meter in ("input", "output")) == tuple(
            [(amount, 1_000_000, None, None)] for amount in input_and_output
        )


@pytest.mark.parametrize(("ref", "amount"), REQUIRED_IMAGE.items())
def test_the_image_models_of_the_design_documents_have_their_price_per_image(ref, amount):
    for price in REFS[ref]["prices"]:
        assert (REFS[ref]["type"], price["state"]) == ("image", "priced")
        per_image = [rate for rate in price["rates"] if rate["meter"] == "image" and not rate["when"]]
        assert [(rate["amount"], rate["per"]) for rate in per_image] == [(amount, 1)]
    assert REFS[ref]["prices"][0]["effective_from"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("attributes", "cost"),
    [
        ({}, "0.042"),
        ({"quality": "low", "size": "1024x1024"}, "0.011"),
        ({"quality": "medium", "size": "1536x1024"}, "0.063"),
        ({"quality": "high"}, "0.167"),
        ({"quality": "high", "size": "1024x1536"}, "0.25"),
    ],
)
def test_an_image_costs_by_its_quality_and_size(attributes, cost):
    price = price_from(REFS["openai/gpt-image-1"]["prices"][-1])
    assert str(cost_of(price, Usage(image=1), at=None, service_tier="standard", attributes=attributes).total) == cost


def test_image_and_audio_models_with_rates_of_tokens_have_rates_of_their_media():
    meters = {"image": "output_image", "audio": "output_audio", "text_to_speech": "output_audio", "video": "output_video"}
    of_media = [(ref, model["type"], price) for ref, model in REFS.items() if model["type"] in meters for price in model["prices"]]
    rates = {ref: {rate["meter"] for rate in price["rates"]} for ref, _, price in of_media}
    by_token = [(ref, kind) for ref, kind, _ in of_media if "output" in rates[ref]]
    assert len(by_token) > 30
    assert [ref for ref, kind in by_token if meters[kind] not in rates[ref]] == []


def test_no_price_is_unknown_and_every_price_says_how_media_are_billed():
    assert offending(PRICES, lambda price: price["state"] == "unknown") == []
    assert offending(PRICES, lambda price: not isinstance(price["media_at_text_rate"], bool)) == []


def test_only_dates_with_enough_evidence_are_retirement_dates():
    dates = {ref: model["retires_on"] for ref, model in REFS.items() if model["retires_on"]}
    assert dates == {"anthropic/claude-sonnet-4-5": "2026-11-30", "anthropic/claude-opus-4-5": "2027-01-22"}
    assert "according to Anthropic's SDK and LiteLLM" in REFS["anthropic/claude-sonnet-4-5"]["description"]
    announced = [model for model in MODELS if "Retirement announced on" in model["description"]]
    assert (len(announced) > 50, {model["retires_on"] for model in announced}) == (True, {None})


def test_the_seed_shows_claude_sonnet_4_5_as_retired():
    model = next(model for model in constants().models if model.ref == "anthropic/claude-sonnet-4-5")
    assert model.retired_at() < datetime(2026, 12, 1, tzinfo=UTC)
    assert model.successor == "anthropic/claude-sonnet-5-5"


def test_every_successor_is_a_model_of_the_seed_and_no_chain_ends_where_it_began():
    successors = {ref: model["successor"] for ref, model in REFS.items() if model["successor"]}
    assert len(successors) > 40
    for ref in successors:
        seen = [ref]
        while (following := successors.get(seen[-1])) is not None:
            assert following in REFS
            assert following not in seen
            seen.append(following)


@pytest.mark.parametrize(
    ("dates", "day", "note"),
    [
        ({}, None, ""),
        ({"LiteLLM": "2027-01-01"}, None, "Retirement announced on 2027-01-01 by LiteLLM. No second source confirms it."),
        (
            {"LiteLLM": "2027-01-01", "genai-prices": "2027-01-01"},
            "2027-01-01",
            "Retires on 2027-01-01, according to LiteLLM and genai-prices.",
        ),
        ({"Anthropic's SDK": "2027-01-02", "LiteLLM": "2027-01-01"}, "2027-01-02", "Retires on 2027-01-02, according to Anthropic's SDK."),
    ],
)
@needs_genai_prices
def test_a_date_needs_the_vendors_sdk_or_two_sources(monkeypatch, dates, day, note):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    assert importlib.import_module("seed_evidence").retirement_of({"retires_on": dates}) == (day, note)


def test_the_default_model_of_every_driver_is_there():
    assert set(REFS) >= DRIVER_DEFAULTS


def test_ollama_is_free_on_purpose_and_copilot_has_no_model():
    (price,) = REFS["ollama/llama3.2"]["prices"]
    assert (price["state"], price["rates"]) == ("free", [])
    assert "own machine" in price["note"]
    assert [ref for ref, model in REFS.items() if model["provider"] == "copilot"] == []


def test_text_and_image_have_one_default_each_and_other_types_none():
    assert {(model["type"], ref) for ref, model in REFS.items() if model["default"]} == {
        ("text", "openai/gpt-4o-mini"),
        ("image", "openai/dall-e-3"),
    }


def test_types_and_capabilities_are_of_the_vocabulary():
    assert {model["type"] for model in MODELS} <= set(MODEL_TYPES)
    assert {name for model in MODELS for name in model["capabilities"]} <= CAPABILITIES


def test_models_are_numbered_in_display_order():
    assert [model["sort_order"] for model in MODELS] == list(range(len(MODELS)))


def test_no_two_providers_read_the_same_variable():
    names = [name for provider in catalog_document()["providers"] for name in provider["required_environment"]]
    assert len(set(names)) == len(names) == len(catalog_document()["providers"]) - 1  # Ollama needs no variable.


# Prices


def test_every_amount_is_a_plain_normalised_decimal():
    assert offending(RATES, lambda rate: (amount := parse_amount(rate["amount"])) is None or format_decimal(amount) != rate["amount"]) == []


def test_every_per_is_a_whole_number_that_a_rate_can_have():
    assert offending(RATES, lambda rate: type(rate["per"]) is not int or not 1 <= rate["per"] <= MAX_PER) == []


def test_every_meter_and_service_tier_is_known():
    assert offending(RATES, lambda rate: rate["meter"] not in METER_SET or rate["service_tier"] not in SERVICE_TIERS) == []


def test_no_price_has_two_rates_for_the_same_case():
    assert offending(PRICES, lambda price: len({key(rate) for rate in price["rates"]}) != len(price["rates"])) == []


def test_windows_are_hours_of_the_day_in_utc():
    hours = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
    windows = [(name, rate["window"]) for name, rate in RATES if rate["window"] is not None]
    assert len(windows) > 10
    assert offending(windows, lambda window: not all(hours.fullmatch(window[end]) for end in ("from", "to"))) == []
    assert offending(windows, lambda window: not set(window.get("days", [])) <= set(range(7))) == []


def test_histories_begin_in_1970_and_go_forward_without_equal_moments():
    histories = [(ref, [datetime.fromisoformat(price["effective_from"]) for price in model["prices"]]) for ref, model in REFS.items()]
    assert offending(histories, lambda times: times != sorted(set(times))) == []
    assert offending(histories, lambda times: times[:1] != [datetime.fromisoformat("1970-01-01T00:00:00Z")]) == []


def test_priced_means_rates_and_anything_else_means_none_with_a_reason():
    assert offending(PRICES, lambda price: price["state"] not in PRICE_STATES) == []
    assert offending(PRICES, lambda price: (price["state"] == "priced") != bool(price["rates"])) == []
    assert offending(PRICES, lambda price: price["state"] == "unknown" and not price["note"]) == []


def test_every_price_says_where_it_comes_from():
    assert offending(PRICES, lambda price: price["source"]["kind"] not in SOURCE_KINDS or not price["source"]["name"]) == []


# Agreement of both public catalogs


def agreed(file):
    """Yield the cases whose model is in the built-in catalog, with that model."""
    slugs = {"x-ai": "xai"}
    for line in (CASES / file).read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        vendor, name = case["model"].split("/")[0], case["model"].split("/")[-1]
        provider = slugs.get(vendor, vendor)
        for ref, model in REFS.items():
            if model["provider"] == provider and name in (ref.removeprefix(f"{provider}/"), *model["aliases"]):
                yield case, model


def comparable(rates):
    """Return the rates that both catalogs support: tokens only, without windows, conditions and the tier `fast`."""
    meters = {"input", "output", "cache_read", "cache_write", "cache_write_1h", "input_audio", "output_audio", "reasoning"}
    plain = [rate for rate in rates if rate.get("window") is None and not rate.get("when") and rate["service_tier"] != "fast"]
    token_rates = [rate for rate in plain if rate["meter"] in meters]
    return {(rate["meter"], rate["amount"], rate["per"], rate["above"], rate["service_tier"]) for rate in token_rates}


def in_force(model, at):
    return [price for price in model["prices"] if price["effective_from"] <= at][-1]


def test_rates_equal_those_of_the_agreed_cases():
    """The cases are of 2026-11-21. They lack the rates of audio that only one of the libraries has."""
    at = "2026-11-21T00:00:00Z"
    pairs = list(agreed("cost-cases.jsonl"))
    assert len({case["model"] for case, _ in pairs}) >= 70
    differences = {case["model"]: comparable(case["price"]["rates"]) ^ comparable(in_force(model, at)["rates"]) for case, model in pairs}
    differing = {name: {rate[:2] for rate in rates} for name, rates in differences.items() if rates}
    audio = {("input_audio", "40"), ("output_audio", "80")}
    assert differing == dict.fromkeys(["openai/gpt-4o-audio-preview-2024-12-17", "openai/gpt-4o-audio-preview-2025-06-03"], audio)


def test_histories_equal_those_of_the_agreed_cases():
    pairs = list(agreed("price-history-cases.jsonl"))
    assert len({case["model"] for case, _ in pairs}) >= 15
    for case, model in pairs:
        for price in case["prices"]:
            current = in_force(model, price["effective_from"] or "1970-01-01T00:00:00Z")
            standard = {rate for rate in comparable(current["rates"]) if rate[-1] == "standard"}
            assert standard == comparable(price["rates"]), case["id"]
