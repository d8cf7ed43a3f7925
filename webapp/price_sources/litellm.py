"""Reader of LiteLLM's model_prices_and_context_window.json: an object whose keys are model names."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import catalog_entries, litellm_hours
from webapp.price_sources.catalog_entries import Entry, as_count, as_date, as_list, as_object, as_text, as_url, is_free_name, provider_slug
from webapp.price_sources.cost_fields import Media, RateTerms, ReadLog, RecordRates, cost_leaves, is_zero
from webapp.price_sources.exact_json import CatalogEntries, parse_json
from webapp.price_sources.genai_rules import type_of
from webapp.price_sources.litellm_fields import LITELLM_ENDINGS, LITELLM_FACTORS, LITELLM_FIELDS, LITELLM_TIERS, UNKNOWN_FIELD

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
# `input_cost_per_token_above_272k_tokens_batches`: a field, a threshold and a service tier. `output_cost_per_second_1080p`: a resolution.
FIELD_NAME = re.compile(
    r"(?P<base>.+?)(?:_(?P<resolution>[0-9]+p|[0-9.]+[kK]|[0-9]+))?(?:_above_(?P<size>[0-9]{1,6})(?P<unit>[km]?)_tokens)?"
    r"(?:_(?P<tier>" + "|".join(LITELLM_TIERS) + r"))?",
    re.ASCII,
)
SIZE_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}
SEARCH, TIERED, OFF_PEAK = "search_context_cost_per_query", "tiered_pricing", "off_peak_pricing"
SEARCH_SIZES = {f"search_context_size_{size}": size for size in ("low", "medium", "high")}
EXACT_RANK = -1  # A table of ranges states rates more exactly than the fields next to it.
SAME_USAGE = "the same usage as another field, in another unit"
OTHER_MODE = "counted input images have no meter"
NO_SEARCH_SIZE = "its search context size is unknown"
NO_TOKEN_RANGE = "its range does not count input tokens"


class FieldName(NamedTuple):
    """A field without its threshold, service tier and resolution, and these as the terms of its rate. `rank` replaces that of the field."""

    base: str
    terms: RateTerms
    rank: int | None = None


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
    url = as_url(row.get("source"), f"{key}: source", log)
    price = rates.price("litellm", url, _media(row), is_free=is_free_name(key))
    return catalog_entries.model_entry(provider, model_id, price, attributes)


def _media(row: Mapping[str, Any]) -> Media:
    """Return the media that the record says the model takes and gives."""
    inputs = {"image": "supports_vision", "audio": "supports_audio_input", "video": "supports_video_input"}
    outputs = {"image": "supports_image_output", "audio": "supports_audio_output", "video": "supports_video_output"}
    return Media(
        {medium for medium, flag in inputs.items() if row.get(flag) is True or medium in as_list(row.get("supported_modalities"))},
        {medium for medium, flag in outputs.items() if row.get(flag) is True or medium in as_list(row.get("supported_output_modalities"))},
    )


def _add_rates(rates: RecordRates, row: Mapping[str, Any]) -> None:
    """Account for every cost field of the record."""
    for field, value in row.items():
        if field in LITELLM_FACTORS:
            rates.add_factor(field, value, LITELLM_FACTORS[field])
        else:
            OBJECT_READERS.get(field, _add_leaves)(rates, field, value, row)


def _add_leaves(rates: RecordRates, field: str, value: object, row: Mapping[str, Any]) -> None:
    for path, leaf in cost_leaves(value, field):
        _add_field(rates, path, parse_field(path), leaf, row)


def parse_field(field: str) -> FieldName:
    """Split a field's name. Names in the table are whole names, and only fields of the table can have a resolution."""
    match = FIELD_NAME.fullmatch(field)
    if field in LITELLM_FIELDS or match is None:
        return FieldName(field, RateTerms())
    base, resolution = match["base"], match["resolution"]
    if resolution and base not in LITELLM_FIELDS:
        base, resolution = f"{base}_{resolution}", None
    above = int(match["size"]) * SIZE_UNITS[match["unit"]] if match["size"] else None
    when = (("resolution", resolution),) if resolution else ()
    return FieldName(base, RateTerms(above, LITELLM_TIERS[match["tier"]] if match["tier"] else STANDARD, None, when))


def _add_field(rates: RecordRates, location: str, name: FieldName, value: object, row: Mapping[str, Any]) -> None:
    rate = LITELLM_FIELDS.get(name.base) or _unread_reason(name.base)
    if isinstance(rate, str):
        rates.leave_out(location, value, rate)
    elif any(not is_zero(amount) for field, amount in row.items() if rate.unless and field.startswith(rate.unless)):
        rates.leave_out(location, value, SAME_USAGE)
    elif rate.modes and str(row.get("mode")) not in rate.modes:
        rates.leave_out(location, value, OTHER_MODE)
    else:
        above = None if name.terms.above is None else catalog_entries.threshold_of(str(row["litellm_provider"]), name.terms.above)
        rates.add(location, value, rate if name.rank is None else rate._replace(rank=name.rank), name.terms._replace(above=above))


def _unread_reason(base: str) -> str:
    return next((reason for ending, reason in LITELLM_ENDINGS if re.search(ending, base)), UNKNOWN_FIELD)


def _add_search(rates: RecordRates, _: str, value: object, row: Mapping[str, Any]) -> None:
    """Add the price of a search, by the search context size if the sizes cost different amounts."""
    sizes = as_object(value)
    is_flat = set(sizes) == set(SEARCH_SIZES) and len(set(map(str, sizes.values()))) == 1
    for path, leaf in cost_leaves(value, SEARCH):
        size = SEARCH_SIZES.get(path.removeprefix(f"{SEARCH}."))
        if size is None:
            rates.leave_out(path, leaf, NO_SEARCH_SIZE)
        else:
            _add_field(rates, path, FieldName(SEARCH, RateTerms(when=() if is_flat else (("search_context", size),))), leaf, row)


def _add_ranges(rates: RecordRates, _: str, value: object, row: Mapping[str, Any]) -> None:
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
                _add_field(rates, location, FieldName(name.base, name.terms._replace(above=above or None), EXACT_RANK), amount, row)
        if not isinstance(entry, dict):
            rates.leave_out(TIERED, entry, NO_TOKEN_RANGE)


def _add_off_peak(rates: RecordRates, field: str, value: object, row: Mapping[str, Any]) -> None:
    """Add the off-peak rates. Nothing of them is read unless all their hours can be read."""
    if not isinstance(value, Mapping):
        _add_leaves(rates, field, value, row)
        return
    windows = litellm_hours.windows_of(value)
    for key, amount in value.items():
        if not windows:
            rates.leave_out(f"{OFF_PEAK}.{key}", amount, litellm_hours.UNREADABLE)
        for window in windows if key not in litellm_hours.FIELDS else ():
            name = parse_field(key)
            _add_field(rates, f"{OFF_PEAK}.{key}", FieldName(name.base, name.terms._replace(window=window)), amount, row)


def _add_settings(rates: RecordRates, field: str, value: object, _: Mapping[str, Any]) -> None:
    """Add the factors among a record's settings. Whole numbers and texts are no factors."""
    for name, setting in as_object(value).items():
        location = f"{field}.{name}"
        if location in LITELLM_FACTORS:
            rates.add_factor(location, setting, LITELLM_FACTORS[location])
        elif isinstance(setting, Decimal) and setting != int(setting):
            rates.leave_out(location, setting, UNKNOWN_FIELD)
        else:
            for path, leaf in cost_leaves(setting, location):
                rates.leave_out(path, leaf, UNKNOWN_FIELD)


OBJECT_READERS = {SEARCH: _add_search, TIERED: _add_ranges, OFF_PEAK: _add_off_peak, "provider_specific_entry": _add_settings}
