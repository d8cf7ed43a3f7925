"""Conversion of genai-prices prices into dated price rows, with the reasons for every omitted rate."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from genai_prices import types

from webapp.domain.catalog.rate_schemas import validate_attributes
from webapp.domain.pricing.meters import MEDIA
from webapp.domain.pricing.pricing import Conditions
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD
from webapp.domain.shared.errors import Invalid
from webapp.price_sources import genai_rules
from webapp.price_sources.cost_fields import Media, ReadLog, media_at_text_rate, scaled_amount
from webapp.price_sources.genai_fields import CONDITION_NAMES, GENAI_FIELDS, METER_ORDER, OUTPUT_MEDIA, TIER_BY_CONDITION, TIER_CONDITIONS

PriceValues = dict[str, Any]  # Price key -> Decimal or TieredPrices.
JsonObject = dict[str, Any]


class UnsupportedRate(Exception):
    """A rate that the price model cannot express. The message is the reason."""


@dataclass
class DatedRates:
    """The rates that apply from one date, with the reasons for omitted ones."""

    rates: list[JsonObject] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)

    def key(self) -> str:
        return json.dumps([self.rates, list(self.reasons)])


def format_plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_values(prices: types.ModelPrice) -> PriceValues:
    return {key: value for key, value in vars(prices).items() if value is not None}


def start_date_of(constraint: object) -> date:
    if constraint is None or isinstance(constraint, types.TimeOfDateConstraint):
        return genai_rules.EPOCH
    if isinstance(constraint, types.StartDateConstraint):
        return constraint.start_date
    raise TypeError(f"a constraint that this script does not know: {constraint!r}")


def conditional_prices(model: types.ModelInfo) -> list[types.ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]


def has_hours(entry: types.ConditionalPrice) -> bool:
    return isinstance(entry.constraint, types.TimeOfDateConstraint)


def prices_at(model: types.ModelInfo, day: date) -> list[types.ConditionalPrice]:
    """Return the price that applies from a day on, then those that replace it for certain hours.

    The last listed price that has started counts. Prices for certain hours belong to the dated price that is listed before them.
    """
    listed = conditional_prices(model)
    started = [index for index, entry in enumerate(listed) if not has_hours(entry) and start_date_of(entry.constraint) <= day]
    first = started[-1] if started else 0
    following = listed[first + 1 :]
    end = next((index for index, entry in enumerate(following) if not has_hours(entry)), len(following))
    return [listed[first], *following[:end]]


def utc_hours(entry: types.ConditionalPrice) -> JsonObject | None:
    """Return the hours of a price in UTC. The same start and end is no time at all, as in the package."""
    if not isinstance(entry.constraint, types.TimeOfDateConstraint):
        return None
    begin, end = _utc_time(entry.constraint.start_time), _utc_time(entry.constraint.end_time)
    return None if begin == end else {"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}"}


def _utc_time(clock: time) -> time:
    """Return a time in UTC. A time without a time zone is in UTC."""
    if clock.tzinfo is None:
        return clock
    return datetime.combine(date(2026, 1, 1), clock).astimezone(UTC).time()


def start_dates(model: types.ModelInfo, name: str) -> list[date]:
    listed = conditional_prices(model)
    dates = {start_date_of(entry.constraint) for entry in listed if not has_hours(entry)} or {genai_rules.EPOCH}
    dates.update(start_date_of(variant.constraint) for variant in model.price_variants or ())
    if any(has_hours(entry) for entry in listed):
        dates.add(genai_rules.WEEKDAYS_FROM.get(name, genai_rules.EPOCH))
    return sorted(dates)


class VariantTerms(NamedTuple):
    """The service tier and the conditions of a price variant."""

    service_tier: str = STANDARD
    when: Conditions = ()


def variant_terms(when: Mapping[str, str]) -> VariantTerms | None:
    """Return the terms of a variant, or None if no rate can have them."""
    tiers = [TIER_BY_CONDITION.get(pair) for pair in when.items() if pair[0] in TIER_CONDITIONS]
    attributes = {CONDITION_NAMES.get(name, name): value for name, value in when.items() if name not in TIER_CONDITIONS}
    tier = tiers[0] if tiers else STANDARD
    if len(tiers) > 1 or tier is None or (tier == STANDARD and not attributes):
        return None
    try:
        return VariantTerms(tier, tuple(sorted(validate_attributes(attributes, "when").items())))
    except Invalid:
        return None


def variant_values(model: types.ModelInfo, day: date) -> dict[VariantTerms, PriceValues]:
    """Return the partial prices by their terms. For each key, the first active variant wins."""
    values: dict[VariantTerms, PriceValues] = {}
    for variant in model.price_variants or ():
        terms = variant_terms(variant.when)
        if terms and start_date_of(variant.constraint) <= day:
            values[terms] = {**price_values(variant.prices), **values.get(terms, {})}
    return values


def add_unsupported_variants(row: DatedRates, model: types.ModelInfo, day: date) -> None:
    """Add a reason for each price variant that no rate can state. A variant without prices says that the usual ones apply."""
    for variant in model.price_variants or ():
        values = price_values(variant.prices)
        if variant_terms(variant.when) is None and values and start_date_of(variant.constraint) <= day:
            condition = ", ".join("=".join(pair) for pair in variant.when.items())
            row.reasons[f"{condition} is neither a service tier nor a condition here: {', '.join(values)} left out."] = None
            row.unread |= {f"{key} when {condition}" for key in values}


def context_tiers(value: Decimal | types.TieredPrices) -> list[tuple[int | None, Decimal]]:
    """Return (above, amount) pairs.

    The source has the same semantics: the comparison is strictly greater, and the tier's price applies to the whole request.
    """
    if isinstance(value, types.TieredPrices):
        return [(None, value.base), *((tier.start, tier.price) for tier in value.tiers)]
    return [(None, value)]


def rates_for(key: str, value: Decimal | types.TieredPrices, terms: VariantTerms, window: JsonObject | None) -> list[JsonObject]:
    if key not in GENAI_FIELDS:
        raise UnsupportedRate(f"{key} ({format_amounts(value)}) is left out: no meter counts it.")
    meter, _, per, *_ = GENAI_FIELDS[key]
    return [
        {
            "meter": meter,
            "amount": short_amount(key, amount),
            "per": per,
            "above": above,
            "service_tier": terms.service_tier,
            "window": window,
            "when": dict(terms.when) or None,
        }
        for above, amount in context_tiers(value)
    ]


def short_amount(key: str, amount: Decimal) -> str:
    text = scaled_amount(amount, 1)
    if text is None:
        raise UnsupportedRate(f"{key} ({format_plain(amount)}) is left out: it has more digits than a price can have.")
    return text


def format_amounts(value: Decimal | types.TieredPrices) -> str:
    return ", ".join(
        format_plain(amount) if above is None else f"{format_plain(amount)} above {above}" for above, amount in context_tiers(value)
    )


def remove_second_keys(values: PriceValues) -> tuple[PriceValues, list[str]]:
    """Remove each key whose meter has an earlier key, and return the reason if it states another amount."""
    usable: PriceValues = {}
    reasons: list[str] = []
    first: dict[str, str] = {}
    for key, rate in GENAI_FIELDS.items():
        if key in values:
            first.setdefault(rate.meter, key)
    for key, value in values.items():
        main = first[GENAI_FIELDS[key].meter] if key in GENAI_FIELDS else key
        if main == key:
            usable[key] = value
        elif value != values[main]:
            reasons.append(f"{key} ({format_amounts(value)}) is left out: {main} is {format_amounts(values[main])}.")
    return usable, reasons


def add_rates(row: DatedRates, values: PriceValues, terms: VariantTerms, window: JsonObject | None = None) -> None:
    """Add the rates of one service tier. The reason for a field is recorded once: the other tiers mostly omit the same fields."""
    usable, reasons = remove_second_keys(values)
    unread = {key for key in values if key not in usable and any(reason.startswith(f"{key} ") for reason in reasons)}
    for key, value in usable.items():
        try:
            row.rates += rates_for(key, value, terms, window)
        except UnsupportedRate as reason:
            unread.add(key)
            reasons.append(str(reason))
    if not unread <= row.unread:
        row.reasons.update(dict.fromkeys(reasons))
    row.unread |= unread
    row.read |= {key for key, value in values.items() if value} - unread


def add_window_rates(row: DatedRates, windowed: list[types.ConditionalPrice], name: str, day: date) -> None:
    """Add rates for hours of the day."""
    weekdays = genai_rules.WEEKDAYS_FROM.get(name, date.max) <= day
    for entry in windowed:
        if hours := utc_hours(entry):
            add_rates(row, price_values(entry.prices), VariantTerms(), {"days": [0, 1, 2, 3, 4], **hours} if weekdays else hours)
    if weekdays and windowed:
        row.reasons[genai_rules.WEEKDAYS_NOTE] = None


def dated_rates_of(model: types.ModelInfo, name: str, day: date) -> DatedRates:
    row = DatedRates()
    base, *windowed = prices_at(model, day)
    gaps = genai_rules.PEAK_UNKNOWN.get((name, day), ())
    for begin, end in gaps:
        add_rates(row, price_values(base.prices), VariantTerms(), {"from": begin, "to": end})
    if gaps:
        row.reasons[genai_rules.PEAK_UNKNOWN_NOTE] = None
    else:
        add_rates(row, price_values(base.prices), VariantTerms())
        add_window_rates(row, windowed, name, day)
    for terms, values in variant_values(model, day).items():
        add_rates(row, values, terms)
    add_unsupported_variants(row, model, day)
    row.rates += media_output_rates(row.rates, name)
    row.rates.sort(key=rate_sort_key)
    return row


def media_output_rates(rates: list[JsonObject], name: str) -> list[JsonObject]:
    """Return the rates of media output of a model that gives one medium only: the source's rate of output is theirs."""
    meter = f"output_{genai_rules.only_output_medium(name)}"
    is_stated = any(rate["meter"] == meter for rate in rates)
    return [{**rate, "meter": meter} for rate in rates if rate["meter"] == "output"] if meter in METER_ORDER and not is_stated else []


def rate_sort_key(rate: JsonObject) -> tuple[Any, ...]:
    above = -1 if rate["above"] is None else rate["above"]
    when = json.dumps(rate["when"] or {})
    return SERVICE_TIERS.index(rate["service_tier"]), METER_ORDER.index(rate["meter"]), when, json.dumps(rate["window"]), above


class Origin(NamedTuple):
    """The source of a model's prices, the media that the model takes and gives, and whether it is free on purpose."""

    name: str
    url: str | None = None
    media: Media = Media()
    is_free: bool = False


def price_entry(day: date, rates: list[JsonObject], origin: Origin, note: str) -> JsonObject:
    """Return a price. Without rates it is free on purpose or unknown."""
    return {
        "state": "priced" if rates else "free" if origin.is_free else "unknown",
        "effective_from": f"{day.isoformat()}T00:00:00Z",
        "currency": "USD",
        "rates": rates,
        "media_at_text_rate": media_at_text_rate(rates, origin.media),
        "source": {"kind": "seed", "name": origin.name, "url": origin.url, "verified_at": None},
        "note": note,
    }


def price_history(model: types.ModelInfo, name: str, url: str | None, log: ReadLog) -> list[JsonObject]:
    """Return the dated prices, oldest first, without dates at which no supported rate changes."""
    history: list[JsonObject] = []
    read: set[str] = set()
    unread: set[str] = set()
    last_key = ""
    media = Media(frozenset(MEDIA), OUTPUT_MEDIA.get(genai_rules.type_of(name), frozenset()))
    origin = Origin("genai-prices", url, media, name in genai_rules.FREE_MODELS)
    for day in start_dates(model, name):
        row = dated_rates_of(model, name, day)
        if row.key() != last_key:
            history.append(price_entry(day, row.rates, origin, " ".join(row.reasons)))
        last_key = row.key()
        read, unread = read | row.read, unread | row.unread
    log.fields_read += len(read - unread)
    log.fields_noted += len(unread)
    return history
