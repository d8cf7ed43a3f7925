"""Parsers of uploaded catalog files, one for each published format."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import yaml

from webapp.domain.pricing.pricing import STANDARD
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.money import EXACT, format_decimal, parse_amount
from webapp.price_sources import genai
from webapp.price_sources.bounded_yaml import Loader, events
from webapp.price_sources.exact_json import CatalogEntries, parse_json
from webapp.price_sources.genai_rules import type_of

Entry = dict[str, Any]
MILLION = 1_000_000
# The slug in Modeldesk for a seller's name in other catalogs.
PROVIDER_SLUGS = {
    "x-ai": "xai",
    "gemini": "google",
    "github_copilot": "copilot",
    "github-copilot": "copilot",
    "vertex_ai": "vertex-ai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "bedrock": "aws",
}
EARLIEST_TIME = "1970-01-01T00:00:00Z"
MAX_AMOUNT = 10**15  # No real price is higher, and the exact arithmetic rejects larger numbers.


def read_genai_json(data: bytes, problems: list[str]) -> CatalogEntries:
    raw = parse_json(data)
    if not isinstance(raw, list):
        raise Invalid.field("file", "must be a list of providers, as genai-prices publishes it")
    try:
        return genai.catalog_document(genai.parse_providers(raw))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid.field("file", f"cannot be read by the installed genai-prices: {str(error)[:200]}") from None


def read_modeldesk(data: bytes, problems: list[str]) -> CatalogEntries:
    raw = parse_json(data) if data.lstrip()[:1] == b"{" else _load_yaml(data)
    if not isinstance(raw, dict) or not isinstance(raw.get("models"), list):
        raise Invalid.field("file", "holds no list of models: it is no export of a Modeldesk")
    models = [dict(row) for row in raw["models"] if isinstance(row, dict)]
    return [row for row in raw.get("providers", []) if isinstance(row, dict)], models


def _load_yaml(data: bytes) -> Any:
    for _ in events(data):  # Check the limits first: deep nesting would crash this process.
        pass
    try:
        return yaml.load(data, Loader=Loader)  # noqa: S506 # `Loader` is a safe loader; the linter cannot see that.
    except (yaml.YAMLError, ValueError) as error:  # A date such as 2026-02-30 raises ValueError.
        raise Invalid.field("file", f"is neither JSON nor YAML: {str(error)[:200]}") from None


# LiteLLM: one object whose keys are model names. Price fields without a matching meter are ignored.
LITELLM_RATES: Mapping[str, tuple[str, int]] = {
    "input_cost_per_token": ("input", MILLION),
    "output_cost_per_token": ("output", MILLION),
    "cache_read_input_token_cost": ("cache_read", MILLION),
    "cache_creation_input_token_cost": ("cache_write", MILLION),
    "output_cost_per_reasoning_token": ("reasoning", MILLION),
    "input_cost_per_audio_token": ("input_audio", MILLION),
    "output_cost_per_audio_token": ("output_audio", MILLION),
    "output_cost_per_image": ("image", 1),
    "input_cost_per_second": ("second", 1),
    "input_cost_per_character": ("character", MILLION),
}
LITELLM_SUFFIXES = (
    ("", None, STANDARD),
    ("_above_128k_tokens", 128_000, STANDARD),
    ("_above_200k_tokens", 200_000, STANDARD),
    ("_above_272k_tokens", 272_000, STANDARD),
    ("_batches", None, "batch"),
    ("_flex", None, "flex"),
    ("_priority", None, "priority"),
)
LITELLM_TYPES = {
    "chat": "text",
    "completion": "text",
    "responses": "text",
    "embedding": "embedding",
    "image_generation": "image",
    "audio_transcription": "speech_to_text",
    "audio_speech": "text_to_speech",
    "video_generation": "video",
    "rerank": "rerank",
}


def read_litellm(data: bytes, problems: list[str]) -> CatalogEntries:
    raw = parse_json(data)
    if not isinstance(raw, dict):
        raise Invalid.field("file", "must be an object whose keys are the names of models, as LiteLLM publishes it")
    entries: dict[str, Entry] = {}
    for name, row in raw.items():
        if name != "sample_spec" and isinstance(row, dict) and row.get("litellm_provider"):
            entry = _litellm_entry(name, row, problems)
            entries.setdefault(f"{entry['provider']}/{entry['model_id']}", entry)
    return _provider_entries(entries.values()), list(entries.values())


def _litellm_entry(name: str, row: Mapping[str, Any], problems: list[str]) -> Entry:
    seller = str(row["litellm_provider"])
    model_id = name.removeprefix(f"{seller}/")
    rates = [
        rate
        for field, (meter, per) in LITELLM_RATES.items()
        for ending, above, tier in LITELLM_SUFFIXES
        if (
            rate := _rate(
                row.get(field + ending),
                meter,
                AmountScale(per, per),
                RateCondition(above, tier),
                RateContext(f"{name}: {field}{ending}", problems),
            )
        )
    ]
    price = _price_document(rates, "litellm", _as_text(row.get("source")))
    kind = LITELLM_TYPES.get(str(row.get("mode"))) or type_of(model_id)
    limits = {"context_window": _as_count(row.get("max_input_tokens")), "max_output_tokens": _as_count(row.get("max_output_tokens"))}
    return _model_entry(seller, model_id, price, {"type": kind, **limits, "retires_on": _as_date(row.get("deprecation_date"))})


# models.dev: an object of sellers with their models. Costs are per million tokens.
MODELS_DEV_RATES = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "reasoning": "reasoning",
    "input_audio": "input_audio",
    "output_audio": "output_audio",
}


def read_models_dev(data: bytes, problems: list[str]) -> CatalogEntries:
    raw = parse_json(data)
    if not isinstance(raw, dict):
        raise Invalid.field("file", "must be an object whose keys are providers, as models.dev publishes it")
    entries = [_models_dev_entry(seller, model_id, row, problems) for seller, model_id, row in _models_dev_rows(raw)]
    return _provider_entries(
        entries, {seller: str(row.get("name") or seller) for seller, row in raw.items() if isinstance(row, dict)}
    ), entries


def _models_dev_rows(raw: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for seller, vendor in raw.items():
        models = vendor.get("models") if isinstance(vendor, dict) else None
        for model_id, row in (models or {}).items():
            if isinstance(row, dict):
                yield seller, model_id, row


def _models_dev_entry(seller: str, model_id: str, row: Mapping[str, Any], problems: list[str]) -> Entry:
    cost = _as_object(row.get("cost"))
    tiers = [(None, cost), (200_000, _as_object(cost.get("context_over_200k")))]
    rates = [
        rate
        for above, costs in tiers
        for name, meter in MODELS_DEV_RATES.items()
        if (
            rate := _rate(
                costs.get(name),
                meter,
                AmountScale(1, MILLION),
                RateCondition(above, STANDARD),
                RateContext(f"{seller}/{model_id}: {name}", problems),
            )
        )
    ]
    limit = _as_object(row.get("limit"))
    attributes = {
        "type": type_of(model_id),
        "display_name": _as_text(row.get("name")),
        "context_window": _as_count(limit.get("context")),
        "max_output_tokens": _as_count(limit.get("output")),
        "released_on": _as_date(row.get("release_date")),
    }
    return _model_entry(seller, model_id, _price_document(rates, "models.dev", None), attributes)


# Parts of an entry.


def _model_entry(seller: str, model_id: str, price: Entry, attributes: Mapping[str, Any]) -> Entry:
    blank = dict.fromkeys(("context_window", "max_output_tokens", "released_on", "deprecated_on", "retires_on", "successor"))
    known_attributes = {name: value for name, value in attributes.items() if value is not None}
    return {
        "provider": _provider_slug(seller),
        "model_id": model_id,
        "display_name": model_id,
        "capabilities": [],
        "aliases": [],
        "description": "",
        **blank,
        **known_attributes,
        "prices": [price],
    }


def _provider_slug(seller: str) -> str:
    return PROVIDER_SLUGS.get(seller) or seller.lower().replace("_", "-").replace(".", "-")


def _provider_entries(entries: Any, names: Mapping[str, str] | None = None) -> list[Entry]:
    display_names = {_provider_slug(seller): name for seller, name in (names or {}).items()}
    slugs = dict.fromkeys(entry["provider"] for entry in entries)
    return [{"slug": slug, "display_name": display_names.get(slug, slug)} for slug in slugs]


class AmountScale(NamedTuple):
    """The factor applied to a source's amount, and the quantity of the resulting rate."""

    factor: int
    per: int


class RateCondition(NamedTuple):
    """The conditions of a rate: a minimum number of input tokens, and a service tier."""

    above: int | None
    service_tier: str


class RateContext(NamedTuple):
    """The location of an amount in the file, and the list to which problems are appended."""

    location: str
    problems: list[str]


def _rate(amount: object, meter: str, scale: AmountScale, condition: RateCondition, context: RateContext) -> Entry | None:
    """Return the exact rate of `amount * scale.factor` per `scale.per`.

    Returns None for a missing amount. An invalid amount also returns None, and is reported in `context.problems`.
    """
    if amount is None:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal) or not 0 <= amount < MAX_AMOUNT:
        context.problems.append(f"{context.location} is {str(amount)[:40]}, which is no amount")
        return None
    exact = format_decimal(EXACT.multiply(Decimal(amount), Decimal(scale.factor)))
    if parse_amount(exact) is None:
        context.problems.append(f"{context.location} is {str(amount)[:40]}, which has more digits than a price can have")
        return None
    above, tier = condition
    return {"meter": meter, "amount": exact, "per": scale.per, "above": above, "service_tier": tier, "window": None}


def _price_document(rates: list[Entry], name: str, url: str | None) -> Entry:
    """Return a price document. The price is unknown if all rates are zero, because these sources write 0 for unknown rates."""
    has_price = any(Decimal(rate["amount"]) for rate in rates)
    source = {"kind": "catalog", "name": name, "url": url if url and url.startswith(("https://", "http://")) else None, "verified_at": None}
    return {
        "state": "priced" if has_price else "unknown",
        "effective_from": EARLIEST_TIME,
        "currency": "USD",
        "rates": rates if has_price else [],
        "source": source,
        "note": "" if has_price or not rates else "The source says 0, which may mean free or unknown.",
    }


def _as_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _as_count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else None


def _as_date(value: object) -> str | None:
    """Return a full ISO date, or None: some sources write a month or a sentence."""
    text = _as_text(value) or ""
    return text if len(text) == 10 and text[4:8:3] == "--" and text.replace("-", "").isdecimal() and text.isascii() else None
