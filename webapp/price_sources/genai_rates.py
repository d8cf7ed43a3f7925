"""Turns the prices of a genai-prices record into ours: dated rows of rates, and the reasons for what is left out of them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, Inexact, localcontext
from typing import Any, NamedTuple

from genai_prices import types

from webapp.price_sources import genai_rules

MILLION = 1_000_000
# The source's price key -> our meter, per so many units, and how many of our units one of its units has.
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
PriceValues = dict[str, Any]  # price key -> Decimal or TieredPrices
JsonObject = dict[str, Any]


class UnsupportedRate(Exception):
    """A rate that our price model cannot say; the text is the reason."""


@dataclass
class DatedRates:
    """The rates of one moment on the way, with the reasons for what is missing."""

    rates: list[JsonObject] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)

    def key(self) -> str:
        return json.dumps([self.rates, list(self.reasons)])


def plain(amount: Decimal) -> str:
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
    """The prices for all hours, by their first day."""
    flat = [entry for entry in conditional_prices(model) if not isinstance(entry.constraint, types.TimeOfDateConstraint)]
    return sorted(((start_date_of(entry.constraint), price_values(entry.prices)) for entry in flat), key=lambda entry: entry[0])


def windowed_prices(model: types.ModelInfo) -> list[tuple[JsonObject, PriceValues]]:
    """The prices for certain hours of the day, in UTC."""
    found = []
    for entry in conditional_prices(model):
        if isinstance(entry.constraint, types.TimeOfDateConstraint):
            begin, end = entry.constraint.start_time, entry.constraint.end_time
            found.append(({"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}"}, price_values(entry.prices)))
    return found


def start_dates(model: types.ModelInfo, name: str) -> list[date]:
    found = {start for start, _ in dated_prices(model)}
    found.update(start_date_of(variant.constraint) for variant in model.price_variants or ())
    if windowed_prices(model):
        found.add(genai_rules.WEEKDAYS_FROM.get(name, genai_rules.EPOCH))
    return sorted(found)


def tier_values(model: types.ModelInfo, tier: str, day: date) -> PriceValues:
    """The partial prices of a service tier; the first active variant wins, for each key on its own."""
    found: PriceValues = {}
    for variant in model.price_variants or ():
        if TIER_BY_CONDITION.get(next(iter(variant.when.items()))) == tier and start_date_of(variant.constraint) <= day:
            found = {**price_values(variant.prices), **found}
    return found


def unsupported_variants(model: types.ModelInfo, day: date) -> Iterator[str]:
    """The prices of conditions that are no service tier of ours. OpenAI's `fast` is its newer word for `priority`."""
    priority = tier_values(model, "priority", day)
    for variant in model.price_variants or ():
        condition = next(iter(variant.when.items()))
        values = price_values(variant.prices)
        if condition not in TIER_BY_CONDITION and values and values != priority and start_date_of(variant.constraint) <= day:
            yield f"{'='.join(condition)} is no service tier here: its rates are left out."


def context_tiers(value: Decimal | types.TieredPrices) -> list[tuple[int | None, Decimal]]:
    """(above, amount): the source also compares with strictly greater, and also bills the whole request at the tier's price."""
    if isinstance(value, types.TieredPrices):
        return [(None, value.base), *((tier.start, tier.price) for tier in value.tiers)]
    return [(None, value)]


def rates_for(key: str, value: Decimal | types.TieredPrices, tier: str, window: JsonObject | None) -> list[JsonObject]:
    if key not in METERS:
        raise UnsupportedRate(f"{key} ({format_amounts(value)}) is left out: no meter counts it.")
    meter, per, share = METERS[key]
    return [
        {
            "meter": meter,
            "amount": plain(divide_exactly(key, amount, share)),
            "per": per,
            "above": above,
            "service_tier": tier,
            "window": window,
        }
        for above, amount in context_tiers(value)
    ]


def divide_exactly(key: str, amount: Decimal, share: int) -> Decimal:
    with localcontext() as context:
        context.traps[Inexact] = True
        try:
            return amount / share
        except Inexact:
            raise UnsupportedRate(f"{key} ({plain(amount)}) is left out: a second would cost no finite decimal.") from None


def format_amounts(value: Decimal | types.TieredPrices) -> str:
    return ", ".join(plain(amount) if above is None else f"{plain(amount)} above {above}" for above, amount in context_tiers(value))


def remove_ambiguous_rates(values: PriceValues) -> tuple[PriceValues, list[str]]:
    """Takes out `output` where one number would price text and image (or video) tokens alike, and what is said twice."""
    kept, reasons = dict(values), []
    if kept.get("input_audio_hours") == kept.get("audio_hours"):
        kept.pop("input_audio_hours", None)
    for medium in ("image", "video"):
        other = kept.pop(f"output_{medium}_mtok", None)
        if other is not None and other != kept.get("output_mtok"):
            text = kept.pop("output_mtok", None)
            costs = f"text costs {format_amounts(text)} and " if text is not None else ""
            reasons.append(f"output is left out: {costs}{medium} tokens cost {format_amounts(other)}, and no meter tells them apart.")
    return kept, reasons


def add_rates(row: DatedRates, values: PriceValues, tier: str, window: JsonObject | None = None) -> None:
    """Adds the rates of one service tier. Reasons are told for the standard tier only; the others leave out the same."""
    kept, reasons = remove_ambiguous_rates(values)
    for key, value in kept.items():
        try:
            row.rates += rates_for(key, value, tier, window)
        except UnsupportedRate as reason:
            reasons.append(str(reason))
    if tier == "standard":
        row.reasons.update(dict.fromkeys(reasons))


def add_window_rates(row: DatedRates, model: types.ModelInfo, name: str, day: date) -> None:
    """Hours carry no date in the source; they belong to its last dated price, as its comments say."""
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
    """Where a price comes from."""

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


def price_history(model: types.ModelInfo, name: str, url: str | None) -> list[JsonObject]:
    """The dated prices, oldest first; moments at which nothing that we can say changes are left out."""
    found: list[JsonObject] = []
    last = ""
    for day in start_dates(model, name):
        row = dated_rates_of(model, name, day)
        if row.key() != last:
            state = "priced" if row.rates else "free" if name in genai_rules.FREE_MODELS else "unknown"
            found.append(price_entry(state, day, row.rates, Origin("genai-prices", url), " ".join(row.reasons)))
        last = row.key()
    return found
