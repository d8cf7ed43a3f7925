"""Conversion of genai-prices prices into dated price rows, with the reasons for every omitted rate."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, Inexact, localcontext
from typing import Any, NamedTuple

from genai_prices import types

from webapp.price_sources import genai_rules
from webapp.price_sources.cost_fields import MILLION, ReadLog, scaled_amount

# The source's price key -> (meter, quantity of the rate, number of our units in one of the source's units).
METERS: Mapping[str, tuple[str, int, int]] = {
    "input_mtok": ("input", MILLION, 1),
    "cache_read_mtok": ("cache_read", MILLION, 1),
    "cache_write_mtok": ("cache_write", MILLION, 1),
    "cache_write_1h_mtok": ("cache_write_1h", MILLION, 1),
    "input_audio_mtok": ("input_audio", MILLION, 1),
    "input_image_mtok": ("input_image", MILLION, 1),
    "output_mtok": ("output", MILLION, 1),
    "output_reasoning_mtok": ("reasoning", MILLION, 1),
    "output_audio_mtok": ("output_audio", MILLION, 1),
    "audio_hours": ("second", 1, 3600),
    "input_mchars": ("character", MILLION, 1),
    "input_document_kpages": ("page", 1000, 1),
    "web_searches_kcount": ("web_search", 1000, 1),
    "requests_kcount": ("request", 1000, 1),
}
METER_ORDER = [meter for meter, _, _ in METERS.values()]
TIER_BY_CONDITION = {("processing", "batch"): "batch", ("service_tier", "flex"): "flex", ("service_tier", "priority"): "priority"}
TIERS = ("standard", "batch", "flex", "priority")
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
    if constraint is None:
        return genai_rules.EPOCH
    if isinstance(constraint, types.StartDateConstraint):
        return constraint.start_date
    raise TypeError(f"a constraint that this script does not know: {constraint!r}")


def conditional_prices(model: types.ModelInfo) -> list[types.ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]


def dated_prices(model: types.ModelInfo) -> list[tuple[date, PriceValues]]:
    """Return the prices that apply at all hours, sorted by their first day."""
    flat = [entry for entry in conditional_prices(model) if not isinstance(entry.constraint, types.TimeOfDateConstraint)]
    return sorted(((start_date_of(entry.constraint), price_values(entry.prices)) for entry in flat), key=lambda entry: entry[0])


def windowed_prices(model: types.ModelInfo) -> list[tuple[JsonObject, PriceValues]]:
    """Return the prices for certain hours of the day, in UTC."""
    windows = []
    for entry in conditional_prices(model):
        if isinstance(entry.constraint, types.TimeOfDateConstraint):
            begin, end = entry.constraint.start_time, entry.constraint.end_time
            windows.append(({"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}"}, price_values(entry.prices)))
    return windows


def start_dates(model: types.ModelInfo, name: str) -> list[date]:
    dates = {start for start, _ in dated_prices(model)}
    dates.update(start_date_of(variant.constraint) for variant in model.price_variants or ())
    if windowed_prices(model):
        dates.add(genai_rules.WEEKDAYS_FROM.get(name, genai_rules.EPOCH))
    return sorted(dates)


def tier_values(model: types.ModelInfo, tier: str, day: date) -> PriceValues:
    """Return the partial prices of a service tier. For each key, the first active variant wins."""
    values: PriceValues = {}
    for variant in model.price_variants or ():
        if TIER_BY_CONDITION.get(next(iter(variant.when.items()))) == tier and start_date_of(variant.constraint) <= day:
            values = {**price_values(variant.prices), **values}
    return values


def unsupported_variants(model: types.ModelInfo, day: date) -> Iterator[str]:
    """Yield a reason for each price variant whose condition has no service tier.

    OpenAI's `fast` is its newer name for `priority`, so a variant equal to the priority prices is not reported.
    """
    priority = tier_values(model, "priority", day)
    for variant in model.price_variants or ():
        condition = next(iter(variant.when.items()))
        values = price_values(variant.prices)
        if condition not in TIER_BY_CONDITION and values and values != priority and start_date_of(variant.constraint) <= day:
            yield f"{'='.join(condition)} is no service tier here: its rates are left out."


def context_tiers(value: Decimal | types.TieredPrices) -> list[tuple[int | None, Decimal]]:
    """Return (above, amount) pairs.

    The source has the same semantics: the comparison is strictly greater, and the tier's price applies to the whole request.
    """
    if isinstance(value, types.TieredPrices):
        return [(None, value.base), *((tier.start, tier.price) for tier in value.tiers)]
    return [(None, value)]


def rates_for(key: str, value: Decimal | types.TieredPrices, tier: str, window: JsonObject | None) -> list[JsonObject]:
    if key not in METERS:
        raise UnsupportedRate(f"{key} ({format_amounts(value)}) is left out: no meter counts it.")
    meter, per, units = METERS[key]
    return [
        {
            "meter": meter,
            "amount": short_amount(key, divide_exactly(key, amount, units)),
            "per": per,
            "above": above,
            "service_tier": tier,
            "window": window,
        }
        for above, amount in context_tiers(value)
    ]


def divide_exactly(key: str, amount: Decimal, divisor: int) -> Decimal:
    with localcontext() as context:
        context.traps[Inexact] = True
        try:
            return amount / divisor
        except Inexact:
            raise UnsupportedRate(f"{key} ({format_plain(amount)}) is left out: a second would cost no finite decimal.") from None


def short_amount(key: str, amount: Decimal) -> str:
    text = scaled_amount(amount, 1)
    if text is None:
        raise UnsupportedRate(f"{key} ({format_plain(amount)}) is left out: it has more digits than a price can have.")
    return text


def format_amounts(value: Decimal | types.TieredPrices) -> str:
    return ", ".join(
        format_plain(amount) if above is None else f"{format_plain(amount)} above {above}" for above, amount in context_tiers(value)
    )


def remove_ambiguous_rates(values: PriceValues) -> tuple[PriceValues, list[str]]:
    """Remove rates that the meters cannot express, and return the reasons.

    This removes `output` if one meter would price text tokens and image or video tokens alike. It also removes duplicate rates.
    """
    rates, reasons = dict(values), []
    if rates.get("input_audio_hours") == rates.get("audio_hours"):
        rates.pop("input_audio_hours", None)
    for medium in ("image", "video"):
        medium_amount = rates.pop(f"output_{medium}_mtok", None)
        if medium_amount is not None and medium_amount != rates.get("output_mtok"):
            text = rates.pop("output_mtok", None)
            costs = f"text costs {format_amounts(text)} and " if text is not None else ""
            reasons.append(
                f"output is left out: {costs}{medium} tokens cost {format_amounts(medium_amount)}, and no meter tells them apart."
            )
    return rates, reasons


def add_rates(row: DatedRates, values: PriceValues, tier: str, window: JsonObject | None = None) -> None:
    """Add the rates of one service tier. The reason for a field is recorded once: the other tiers mostly omit the same fields."""
    usable, reasons = remove_ambiguous_rates(values)
    unread = set(values) - set(usable) if reasons else set()
    for key, value in usable.items():
        try:
            row.rates += rates_for(key, value, tier, window)
        except UnsupportedRate as reason:
            unread.add(key)
            reasons.append(str(reason))
    if not unread <= row.unread:
        row.reasons.update(dict.fromkeys(reasons))
    row.unread |= unread
    row.read |= {key for key, value in values.items() if value} - unread


def add_window_rates(row: DatedRates, model: types.ModelInfo, name: str, day: date) -> None:
    """Add rates for hours of the day. The source does not date them; its comments say that they belong to the last dated price."""
    if day < dated_prices(model)[-1][0]:
        return
    weekdays = genai_rules.WEEKDAYS_FROM.get(name, date.max) <= day
    for hours, values in windowed_prices(model):
        add_rates(row, values, "standard", {"days": [0, 1, 2, 3, 4], **hours} if weekdays else hours)
    if weekdays and windowed_prices(model):
        row.reasons[genai_rules.WEEKDAYS_NOTE] = None


def dated_rates_of(model: types.ModelInfo, name: str, day: date) -> DatedRates:
    row = DatedRates()
    base = next(values for start, values in reversed(dated_prices(model)) if start <= day)
    gaps = genai_rules.PEAK_UNKNOWN.get((name, day), ())
    for begin, end in gaps:
        add_rates(row, base, "standard", {"from": begin, "to": end})
    if gaps:
        row.reasons[genai_rules.PEAK_UNKNOWN_NOTE] = None
    else:
        add_rates(row, base, "standard")
        add_window_rates(row, model, name, day)
    for tier in TIERS[1:]:
        add_rates(row, tier_values(model, tier, day), tier)
    row.reasons.update(dict.fromkeys(unsupported_variants(model, day)))
    row.rates.sort(key=rate_sort_key)
    return row


def rate_sort_key(rate: JsonObject) -> tuple[Any, ...]:
    above = -1 if rate["above"] is None else rate["above"]
    return TIERS.index(rate["service_tier"]), METER_ORDER.index(rate["meter"]), json.dumps(rate["window"]), above


class Origin(NamedTuple):
    """The source of a price."""

    name: str
    url: str | None = None


def price_entry(state: str, day: date, rates: list[JsonObject], source: Origin, note: str) -> JsonObject:
    origin = {"kind": "seed", "name": source.name, "url": source.url, "verified_at": None}
    return {
        "state": state,
        "effective_from": f"{day.isoformat()}T00:00:00Z",
        "currency": "USD",
        "rates": rates,
        "source": origin,
        "note": note,
    }


def price_history(model: types.ModelInfo, name: str, url: str | None, log: ReadLog) -> list[JsonObject]:
    """Return the dated prices, oldest first, without dates at which no supported rate changes."""
    history: list[JsonObject] = []
    read: set[str] = set()
    unread: set[str] = set()
    last_key = ""
    for day in start_dates(model, name):
        row = dated_rates_of(model, name, day)
        if row.key() != last_key:
            state = "priced" if row.rates else "free" if name in genai_rules.FREE_MODELS else "unknown"
            history.append(price_entry(state, day, row.rates, Origin("genai-prices", url), " ".join(row.reasons)))
        last_key = row.key()
        read, unread = read | row.read, unread | row.unread
    log.fields_read += len(read - unread)
    log.fields_noted += len(unread)
    return history
