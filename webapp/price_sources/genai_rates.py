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
ORDER = [meter for meter, _, _ in METERS.values()]
TIER_OF = {("processing", "batch"): "batch", ("service_tier", "flex"): "flex", ("service_tier", "priority"): "priority"}
TIERS = ("standard", "batch", "flex", "priority")
Values = dict[str, Any]  # price key -> Decimal or TieredPrices
Rate = dict[str, Any]


class Inexpressible(Exception):
    """A rate that our price model cannot say; the text is the reason."""


@dataclass
class Row:
    """The rates of one moment on the way, with the reasons for what is missing."""

    rates: list[Rate] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)

    def key(self) -> str:
        return json.dumps([self.rates, list(self.reasons)])


def plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def priced(prices: types.ModelPrice) -> Values:
    return {key: value for key, value in vars(prices).items() if value is not None}


def starts(constraint: object) -> date:
    if constraint is None:
        return genai_rules.EPOCH
    if isinstance(constraint, types.StartDateConstraint):
        return constraint.start_date
    raise TypeError(f"a constraint that this script does not know: {constraint!r}")


def conditions(model: types.ModelInfo) -> list[types.ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]


def dated(model: types.ModelInfo) -> list[tuple[date, Values]]:
    """The prices for all hours, by their first day."""
    flat = [entry for entry in conditions(model) if not isinstance(entry.constraint, types.TimeOfDateConstraint)]
    return sorted(((starts(entry.constraint), priced(entry.prices)) for entry in flat), key=lambda entry: entry[0])


def windowed(model: types.ModelInfo) -> list[tuple[Rate, Values]]:
    """The prices for certain hours of the day, in UTC."""
    found = []
    for entry in conditions(model):
        if isinstance(entry.constraint, types.TimeOfDateConstraint):
            begin, end = entry.constraint.start_time, entry.constraint.end_time
            found.append(({"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}"}, priced(entry.prices)))
    return found


def moments(model: types.ModelInfo, name: str) -> list[date]:
    found = {start for start, _ in dated(model)}
    found.update(starts(variant.constraint) for variant in model.price_variants or ())
    if windowed(model):
        found.add(genai_rules.WEEKDAYS_FROM.get(name, genai_rules.EPOCH))
    return sorted(found)


def tier_values(model: types.ModelInfo, tier: str, day: date) -> Values:
    """The partial prices of a service tier; the first active variant wins, for each key on its own."""
    found: Values = {}
    for variant in model.price_variants or ():
        if TIER_OF.get(next(iter(variant.when.items()))) == tier and starts(variant.constraint) <= day:
            found = {**priced(variant.prices), **found}
    return found


def other_variants(model: types.ModelInfo, day: date) -> Iterator[str]:
    """The prices of conditions that are no service tier of ours. OpenAI's `fast` is its newer word for `priority`."""
    priority = tier_values(model, "priority", day)
    for variant in model.price_variants or ():
        condition = next(iter(variant.when.items()))
        values = priced(variant.prices)
        if condition not in TIER_OF and values and values != priority and starts(variant.constraint) <= day:
            yield f"{'='.join(condition)} is no service tier here: its rates are left out."


def steps(value: Decimal | types.TieredPrices) -> list[tuple[int | None, Decimal]]:
    """(above, amount): the source also compares with strictly greater, and also bills the whole request at the tier's price."""
    if isinstance(value, types.TieredPrices):
        return [(None, value.base), *((tier.start, tier.price) for tier in value.tiers)]
    return [(None, value)]


def rates_for(key: str, value: Decimal | types.TieredPrices, tier: str, window: Rate | None) -> list[Rate]:
    if key not in METERS:
        raise Inexpressible(f"{key} ({shown(value)}) is left out: no meter counts it.")
    meter, per, share = METERS[key]
    return [
        {"meter": meter, "amount": plain(shared(key, amount, share)), "per": per, "above": above, "service_tier": tier, "window": window}
        for above, amount in steps(value)
    ]


def shared(key: str, amount: Decimal, share: int) -> Decimal:
    with localcontext() as context:
        context.traps[Inexact] = True
        try:
            return amount / share
        except Inexact:
            raise Inexpressible(f"{key} ({plain(amount)}) is left out: a second would cost no finite decimal.") from None


def shown(value: Decimal | types.TieredPrices) -> str:
    return ", ".join(plain(amount) if above is None else f"{plain(amount)} above {above}" for above, amount in steps(value))


def without_ambiguity(values: Values) -> tuple[Values, list[str]]:
    """Takes out `output` where one number would price text and image (or video) tokens alike, and what is said twice."""
    kept, reasons = dict(values), []
    if kept.get("input_audio_hours") == kept.get("audio_hours"):
        kept.pop("input_audio_hours", None)
    for medium in ("image", "video"):
        other = kept.pop(f"output_{medium}_mtok", None)
        if other is not None and other != kept.get("output_mtok"):
            text = kept.pop("output_mtok", None)
            costs = f"text costs {shown(text)} and " if text is not None else ""
            reasons.append(f"output is left out: {costs}{medium} tokens cost {shown(other)}, and no meter tells them apart.")
    return kept, reasons


def add(row: Row, values: Values, tier: str, window: Rate | None = None) -> None:
    """Adds the rates of one service tier. Reasons are told for the standard tier only; the others leave out the same."""
    kept, reasons = without_ambiguity(values)
    for key, value in kept.items():
        try:
            row.rates += rates_for(key, value, tier, window)
        except Inexpressible as reason:
            reasons.append(str(reason))
    if tier == "standard":
        row.reasons.update(dict.fromkeys(reasons))


def add_windows(row: Row, model: types.ModelInfo, name: str, day: date) -> None:
    """Hours carry no date in the source; they belong to its last dated price, as its comments say."""
    if day < dated(model)[-1][0]:
        return
    weekdays = genai_rules.WEEKDAYS_FROM.get(name, date.max) <= day
    for hours, values in windowed(model):
        add(row, values, "standard", {"days": [0, 1, 2, 3, 4], **hours} if weekdays else hours)
    if weekdays and windowed(model):
        row.reasons[genai_rules.WEEKDAYS_NOTE] = None


def row_of(model: types.ModelInfo, name: str, day: date) -> Row:
    row = Row()
    base = next(values for start, values in reversed(dated(model)) if start <= day)
    gaps = genai_rules.PEAK_UNKNOWN.get((name, day), ())
    for begin, end in gaps:
        add(row, base, "standard", {"from": begin, "to": end})
    if gaps:
        row.reasons[genai_rules.PEAK_UNKNOWN_NOTE] = None
    else:
        add(row, base, "standard")
        add_windows(row, model, name, day)
    for tier in TIERS[1:]:
        add(row, tier_values(model, tier, day), tier)
    row.reasons.update(dict.fromkeys(other_variants(model, day)))
    row.rates.sort(key=rate_order)
    return row


def rate_order(rate: Rate) -> tuple[Any, ...]:
    above = -1 if rate["above"] is None else rate["above"]
    return TIERS.index(rate["service_tier"]), ORDER.index(rate["meter"]), json.dumps(rate["window"]), above


class Origin(NamedTuple):
    """Where a price comes from."""

    name: str
    url: str | None = None


def price(state: str, day: date, rates: list[Rate], source: Origin, note: str) -> Rate:
    origin = {"kind": "seed", "name": source.name, "url": source.url, "verified_at": None}
    return {
        "state": state,
        "effective_from": f"{day.isoformat()}T00:00:00Z",
        "currency": "USD",
        "rates": rates,
        "source": origin,
        "note": note,
    }


def history(model: types.ModelInfo, name: str, url: str | None) -> list[Rate]:
    """The dated prices, oldest first; moments at which nothing that we can say changes are left out."""
    found: list[Rate] = []
    last = ""
    for day in moments(model, name):
        row = row_of(model, name, day)
        if row.key() != last:
            state = "priced" if row.rates else "free" if name in genai_rules.FREE else "unknown"
            found.append(price(state, day, row.rates, Origin("genai-prices", url), " ".join(row.reasons)))
        last = row.key()
    return found
