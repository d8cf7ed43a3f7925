"""Reader of models.dev's api.json: an object of sellers with their models. Costs are US dollars per million tokens."""

from collections.abc import Iterator, Mapping
from typing import Any

from webapp.domain.catalog.rate_schemas import validate_attributes
from webapp.domain.catalog.source_scope import SourceScope
from webapp.domain.pricing.meters import MEDIA
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import catalog_entries
from webapp.price_sources.catalog_entries import Entry, as_count, as_date, as_list, as_object, as_text, is_free_name, threshold_of
from webapp.price_sources.cost_fields import (
    MILLION,
    FieldRate,
    FieldTable,
    Media,
    RateTerms,
    ReadLog,
    RecordRates,
    cost_leaves,
    is_zero,
    meters_of,
)
from webapp.price_sources.exact_json import CatalogEntries, parse_json
from webapp.price_sources.genai_rules import type_of

UNDOCUMENTED = "not in the format's documentation"
MODELS_DEV_FIELDS: FieldTable = {
    "input": FieldRate("input", 1, MILLION),
    "output": FieldRate("output", 1, MILLION),
    "cache_read": FieldRate("cache_read", 1, MILLION),
    "cache_write": FieldRate("cache_write", 1, MILLION),
    "reasoning": FieldRate("reasoning", 1, MILLION),
    "input_audio": FieldRate("input_audio", 1, MILLION),
    "output_audio": FieldRate("output_audio", 1, MILLION),
    "cache_input": UNDOCUMENTED,
    "cached_input": UNDOCUMENTED,
    "cached_write": UNDOCUMENTED,
    "citation": UNDOCUMENTED,
    "image": UNDOCUMENTED,
    "request": UNDOCUMENTED,
}
# Modes are experimental, and few records have them: a service tier that a record does not mention is not gone.
MODELS_DEV_SCOPE = SourceScope(meters_of(MODELS_DEV_FIELDS), thresholds=True)
LEGACY_THRESHOLD = 200_000
EXACT_RANK = -1
NO_CONTEXT_TIER = "the tier has no size in input tokens"
COPY_DIFFERS = "the exact tiers differ"
NO_CONDITION = "a mode that states no condition"


def read_models_dev(data: bytes, log: ReadLog) -> CatalogEntries:
    raw = parse_json(data)
    if not isinstance(raw, dict):
        raise Invalid.field("file", "must be an object whose keys are providers, as models.dev publishes it")
    models = catalog_entries.unify((_entry(seller, model_id, row, log) for seller, model_id, row in _rows(raw, log)), log)
    names = {seller: as_text(vendor.get("name")) or seller for seller, vendor in raw.items() if isinstance(vendor, dict)}
    return catalog_entries.provider_entries(models, names), models


def _rows(raw: Mapping[str, Any], log: ReadLog) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for seller, vendor in raw.items():
        models = vendor.get("models") if isinstance(vendor, dict) else None
        if not isinstance(models, dict):
            log.leave_out(f"{seller}: is left out, because it has no object of models")
            continue
        for location, value in cost_leaves({name: field for name, field in vendor.items() if name != "models"}):
            if not is_zero(value):
                log.problems.append(f"{seller}: {location} is not read, because it is a price of the seller and not of a model")
        for model_id, row in models.items():
            if isinstance(row, dict):
                yield seller, model_id, row
            else:
                log.leave_out(f"{seller}/{model_id}: is left out, because it is no object")


def _entry(seller: str, model_id: str, row: Mapping[str, Any], log: ReadLog) -> tuple[str, Entry]:
    key = f"{seller}/{model_id}"
    rates = RecordRates(key, log)
    _add_costs(rates, row.get("cost"), seller)
    _add_modes(rates, row.get("experimental"))
    _leave_out_all(rates, "", {name: value for name, value in row.items() if name not in ("cost", "experimental")}, UNDOCUMENTED)
    limit = as_object(row.get("limit"))
    attributes = {
        "type": type_of(model_id),
        "display_name": as_text(row.get("name")),
        "context_window": as_count(limit.get("context")),
        "max_output_tokens": as_count(limit.get("output")),
        "released_on": as_date(row.get("release_date"), f"{key}: release_date", log),
    }
    price = rates.price("models.dev", None, _media(as_object(row.get("modalities"))), is_free=is_free_name(model_id))
    return key, catalog_entries.model_entry(catalog_entries.provider_slug(seller), model_id, price, attributes)


def _media(modalities: Mapping[str, Any]) -> Media:
    inputs, outputs = ({medium for medium in MEDIA if medium in as_list(modalities.get(side))} for side in ("input", "output"))
    return Media(inputs, outputs)


def _add_costs(rates: RecordRates, cost: object, seller: str) -> None:
    if not isinstance(cost, dict):
        rates.leave_out("cost", cost, UNDOCUMENTED)
        return
    tiers, legacy = cost.get("tiers"), cost.get("context_over_200k")
    _add_fields(rates, "cost", {name: value for name, value in cost.items() if name not in ("tiers", "context_over_200k")}, RateTerms())
    if isinstance(tiers, list) and tiers:
        exact = [as_object(tier) for tier in tiers]
        for tier in exact:
            _add_tier(rates, tier, seller)
        for name, value in as_object(legacy).items():
            if not any(tier.get(name) == value for tier in exact):
                rates.leave_out(f"cost.context_over_200k.{name}", value, COPY_DIFFERS)
    else:
        _leave_out_all(rates, "cost.tiers", tiers, UNDOCUMENTED)
        _add_fields(rates, "cost.context_over_200k", as_object(legacy), RateTerms(threshold_of(seller, LEGACY_THRESHOLD)))
    if not isinstance(legacy, dict):
        rates.leave_out("cost.context_over_200k", legacy, UNDOCUMENTED)


def _add_tier(rates: RecordRates, tier: Mapping[str, Any], seller: str) -> None:
    """Add the rates of a tier. A tier of size 0 is for every call, and counts more than the rates next to it."""
    terms = as_object(tier.get("tier"))
    stated = terms.get("size")
    size = 0 if stated == 0 and not isinstance(stated, bool) else as_count(stated)
    costs = {name: value for name, value in tier.items() if name != "tier"}
    if size is None or terms.get("type", "context") != "context":
        _leave_out_all(rates, "cost.tiers", costs, NO_CONTEXT_TIER)
    else:
        _add_fields(rates, f"cost.tiers[{size}]", costs, RateTerms(threshold_of(seller, size)), EXACT_RANK)


def _add_modes(rates: RecordRates, experimental: object) -> None:
    """Add the costs of modes, and note everything else in `experimental` that names a cost."""
    fields = as_object(experimental)
    modes = as_object(fields.get("modes"))
    for name, mode in modes.items():
        location = f"experimental.modes.{name}"
        _add_mode(rates, f"{location}.cost", as_object(mode))
        rest_of_mode = {key: value for key, value in mode.items() if key != "cost"} if isinstance(mode, dict) else mode
        _leave_out_all(rates, location, rest_of_mode, UNDOCUMENTED)
    rest = {name: value for name, value in fields.items() if name != "modes" or not modes}
    _leave_out_all(rates, "experimental", rest if fields else experimental, UNDOCUMENTED)


def _add_mode(rates: RecordRates, location: str, mode: Mapping[str, Any]) -> None:
    """Add the rates of a mode. What its requests send is a service tier or a condition, such as `speed`."""
    terms = _mode_terms(as_object(as_object(mode.get("provider")).get("body")))
    cost = mode.get("cost")
    if isinstance(cost, dict) and terms:
        _add_fields(rates, location, cost, terms)
    else:
        _leave_out_all(rates, location, cost, NO_CONDITION)


def _mode_terms(body: Mapping[str, Any]) -> RateTerms | None:
    """Return the terms of a mode, or None if what it sends is neither a service tier nor a condition."""
    tier = body.get("service_tier", STANDARD)
    try:
        when = validate_attributes({name: value for name, value in body.items() if name != "service_tier"}, "body")
    except Invalid:
        return None
    known = tier in SERVICE_TIERS and (tier != STANDARD or when)
    return RateTerms(None, str(tier), None, tuple(sorted(when.items()))) if known else None


def _add_fields(rates: RecordRates, location: str, costs: Mapping[str, Any], terms: RateTerms, rank: int = 0) -> None:
    for name, value in costs.items():
        rate = MODELS_DEV_FIELDS.get(name, UNDOCUMENTED)
        if isinstance(rate, str):
            _leave_out_all(rates, f"{location}.{name}", value, rate)
        else:
            rates.add(f"{location}.{name}", value, rate._replace(rank=rank), terms)


def _leave_out_all(rates: RecordRates, location: str, value: object, reason: str) -> None:
    for path, leaf in cost_leaves(value, location):
        rates.leave_out(path, leaf, reason)
