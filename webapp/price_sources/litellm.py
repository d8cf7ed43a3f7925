"""Reader of LiteLLM's model_prices_and_context_window.json: an object whose keys are model names."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import catalog_entries
from webapp.price_sources.catalog_entries import Entry, as_count, as_date, as_object, as_text, as_url, provider_slug
from webapp.price_sources.cost_fields import RateTerms, ReadLog, RecordRates, cost_leaves, is_zero
from webapp.price_sources.exact_json import CatalogEntries, parse_json
from webapp.price_sources.genai_rules import type_of
from webapp.price_sources.litellm_fields import LITELLM_ENDINGS, LITELLM_FIELDS, LITELLM_TIERS, UNKNOWN_FIELD

LITELLM_TYPES = {
    "chat": "text",
    "completion": "text",
    "responses": "text",
    "embedding": "embedding",
    "image_generation": "image",
    "image_edit": "image",
    "audio_transcription": "speech_to_text",
    "audio_speech": "text_to_speech",
    "video_generation": "video",
    "rerank": "rerank",
}
# `input_cost_per_token_above_272k_tokens_batches`: a field, a threshold and a service tier.
FIELD_NAME = re.compile(
    r"(?P<base>.+?)(?:_above_(?P<size>[0-9]{1,6})(?P<unit>[km]?)_tokens)?(?:_(?P<tier>" + "|".join(LITELLM_TIERS) + r"))?", re.ASCII
)
SIZE_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}
SEARCH, TIERED, OFF_PEAK = "search_context_cost_per_query", "tiered_pricing", "off_peak_pricing"
SEARCH_SIZES = tuple(f"search_context_size_{size}" for size in ("low", "medium", "high"))
TEXT_OUTPUT, MEDIA_OUTPUT = "output_cost_per_token", ("output_cost_per_image_token", "output_cost_per_video_token")
OTHER_OUTPUT = "image or video output costs another amount, and no meter tells them apart"
SAME_USAGE = "the same usage as another field, in another unit"
OTHER_MODE = "counted input images have no meter"
BY_CONTEXT_SIZE = "depends on the search context size"
NO_TOKEN_RANGE = "its range does not count input tokens"
NO_HOURS = "its hours are not in UTC or cannot be read"
HOURS = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)", re.ASCII)


class FieldName(NamedTuple):
    """A field without its threshold and service tier, and these as the terms of its rate."""

    base: str
    terms: RateTerms


def read_litellm(data: bytes, log: ReadLog) -> CatalogEntries:
    raw = parse_json(data)
    if not isinstance(raw, dict):
        raise Invalid.field("file", "must be an object whose keys are the names of models, as LiteLLM publishes it")
    models = catalog_entries.unify(((key, _entry(key, row, log)) for key, row in _rows(raw, log)), log)
    return catalog_entries.provider_entries(models, {}), models


def _rows(raw: Mapping[str, Any], log: ReadLog) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, row in raw.items():
        if key == "sample_spec":
            continue
        if not isinstance(row, dict):
            log.leave_out(f"{key}: is left out, because it is no object")
        elif not as_text(row.get("litellm_provider")):
            target = as_text(row.get("alias_of"))
            reason = f"it only names another model, {target}" if target else "it names no provider"
            log.leave_out(f"{key}: is left out, because {reason}")
        else:
            yield key, row


def _entry(key: str, row: Mapping[str, Any], log: ReadLog) -> Entry:
    provider = provider_slug(row["litellm_provider"])
    first, _, rest = key.partition("/")
    model_id = rest if rest and provider_slug(first) == provider else key
    rates = RecordRates(key, log)
    _add_rates(rates, row)
    attributes = {
        "type": LITELLM_TYPES.get(str(row.get("mode"))) or type_of(model_id),
        "context_window": as_count(row.get("max_input_tokens")),
        "max_output_tokens": as_count(row.get("max_output_tokens")),
        "retires_on": as_date(row.get("deprecation_date"), f"{key}: deprecation_date", log),
    }
    return catalog_entries.model_entry(
        provider, model_id, rates.price("litellm", as_url(row.get("source"), f"{key}: source", log)), attributes
    )


def _add_rates(rates: RecordRates, row: Mapping[str, Any]) -> None:
    """Account for every cost field of the record."""
    for field, value in row.items():
        if field == SEARCH:
            _add_search(rates, value)
        elif field == TIERED:
            _add_ranges(rates, value, row)
        elif field == OFF_PEAK and isinstance(value, Mapping):
            _add_off_peak(rates, value, row)
        else:
            for path, leaf in cost_leaves(value, field):
                _add_field(rates, path, parse_field(path), leaf, row)
    for name, factor in as_object(row.get("provider_specific_entry")).items():
        rates.leave_out(f"provider_specific_entry.{name}", factor, "a factor on all rates")


def parse_field(field: str) -> FieldName:
    """Split a field's name. Names in the table are whole names."""
    match = FIELD_NAME.fullmatch(field)
    if field in LITELLM_FIELDS or match is None:
        return FieldName(field, RateTerms())
    above = int(match["size"]) * SIZE_UNITS[match["unit"]] if match["size"] else None
    return FieldName(match["base"], RateTerms(above, LITELLM_TIERS[match["tier"]] if match["tier"] else STANDARD))


def _add_field(rates: RecordRates, location: str, name: FieldName, value: object, row: Mapping[str, Any]) -> None:
    rate = LITELLM_FIELDS.get(name.base) or _unread_reason(name.base)
    if isinstance(rate, str):
        rates.leave_out(location, value, rate)
    elif name.base == TEXT_OUTPUT and any(not is_zero(row.get(field)) and row.get(field) != row.get(TEXT_OUTPUT) for field in MEDIA_OUTPUT):
        rates.leave_out(location, value, OTHER_OUTPUT)
    elif any(not is_zero(row.get(field)) for field in rate.unless):
        rates.leave_out(location, value, SAME_USAGE)
    elif rate.modes and str(row.get("mode")) not in rate.modes:
        rates.leave_out(location, value, OTHER_MODE)
    else:
        rates.add(location, value, rate, name.terms)


def _unread_reason(base: str) -> str:
    return next((reason for ending, reason in LITELLM_ENDINGS if re.search(ending, base)), UNKNOWN_FIELD)


def _add_search(rates: RecordRates, value: object) -> None:
    """Add the price of a search, if it is the same for every context size."""
    sizes = as_object(value)
    amounts = [sizes.get(size) for size in SEARCH_SIZES]
    if len(sizes) == len(SEARCH_SIZES) and all(amount is not None and amount == amounts[0] for amount in amounts):
        _add_field(rates, SEARCH, FieldName(SEARCH, RateTerms()), amounts[0], {})
    else:
        for path, leaf in cost_leaves(value, SEARCH):
            rates.leave_out(path, leaf, BY_CONTEXT_SIZE)


def _add_ranges(rates: RecordRates, value: object, row: Mapping[str, Any]) -> None:
    """Add the rates by range. A range starts just above its first number, as thresholds do, and its end is the next start."""
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        bounds = as_object(entry).get("range")
        start = bounds[0] if isinstance(bounds, list) and bounds else None
        above = 0 if start == 0 and not isinstance(start, bool) else as_count(start)
        for field, amount in as_object(entry).items():
            name = parse_field(field)
            location = f"{TIERED}[{above or 0}].{field}" if above is not None else f"{TIERED}.{field}"
            if "cost" not in field and "price" not in field:
                continue
            if above is None or name.terms.above is not None:
                rates.leave_out(location, amount, NO_TOKEN_RANGE)
            else:
                _add_field(rates, location, FieldName(name.base, name.terms._replace(above=above or None)), amount, row)
        if not isinstance(entry, dict):
            rates.leave_out(TIERED, entry, NO_TOKEN_RANGE)


def _add_off_peak(rates: RecordRates, value: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Add the off-peak rates. Nothing of them is read unless all their hours are in UTC."""
    windows = _windows(value)
    for field, amount in value.items():
        if field in ("windows", "weekday_timezone"):
            continue
        if not windows:
            rates.leave_out(f"{OFF_PEAK}.{field}", amount, NO_HOURS)
        for window in windows:
            name = parse_field(field)
            _add_field(rates, f"{OFF_PEAK}.{field}", FieldName(name.base, name.terms._replace(window=window)), amount, row)


Window = tuple[tuple[str, Any], ...]


def _windows(value: Mapping[str, Any]) -> list[Window]:
    """Return the off-peak hours, or an empty list if one of them cannot be read."""
    entries = value.get("windows")
    if value.get("weekday_timezone") not in (None, "UTC") or not isinstance(entries, list):
        return []
    windows: list[Window] = []
    for entry in entries:
        hours = as_object(entry).get("hours_utc")
        spans = [HOURS.fullmatch(str(text)) for text in (hours if isinstance(hours, list) else [hours])]
        days = as_object(entry).get("weekdays", [])
        if None in spans or not isinstance(days, list) or not all(day in range(1, 8) and not isinstance(day, bool) for day in days):
            return []
        day_numbers = tuple(int(day) - 1 for day in days)
        windows += [
            window for span in spans if span for window in _split_whole_day(day_numbers, span[1], span[2].replace("24:00", "00:00"))
        ]
    return windows


def _split_whole_day(days: tuple[int, ...], start: str, end: str) -> list[Window]:
    """Return one window, or two halves of a whole day: a window cannot end at the hour at which it starts."""
    spans = [(start, end)] if start != end else [("00:00", "12:00"), ("12:00", "00:00")]
    return [(("days", days), ("from", begin), ("to", stop)) for begin, stop in spans]
