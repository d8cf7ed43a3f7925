"""Texts for users about the conditions of a rate and about the missing part of a cost."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from webapp.domain.pricing.meters import METER_TABLE, TOKEN, label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.windows import Window
from webapp.domain.shared import money_text
from webapp.domain.shared.money import format_decimal

MISSING_TEXTS: Mapping[str, str] = {
    "service_tier": "the {} service tier (standard rates are used)",
    "raw": "{}, a count of the provider that no meter holds",
    "attribute": "the price for the {} of the call",
    "context_tier": "the higher price of large requests",
    "failed_attempt": "an attempt that failed, which the provider may bill",
}
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MIN_RUN = 3  # Fewer days in a row are listed.


def label_with_conditions(rate: Rate) -> str:
    """Return what a rate is for: `Images, quality high`."""
    return ", ".join([label_of(rate.meter), *describe_conditions(rate)])


def format_rate(rate: Rate, currency: str) -> str:
    """Return a rate with its unit: `$3 per 1M tokens`, `$0.034 per minute`.

    Rates of tokens are given per million. If that amount would have to be rounded, the rate is given as it was entered.
    """
    per_million = rate.per_million if METER_TABLE[rate.meter].unit == TOKEN else None
    if per_million is not None:
        return f"{money_text.format_amount(per_million, currency)} per 1M tokens"
    return format_entered_rate(rate, currency)


def format_entered_rate(rate: Rate, currency: str) -> str:
    """Return a rate with the quantity that it was entered for: `$3 per 1,000 tokens`."""
    return f"{money_text.format_amount(rate.amount, currency)} per {unit_of(rate.meter, rate.per)}"


def describe_conditions(rate: Rate) -> list[str]:
    """Return the conditions of a rate as text, or an empty list for a plain rate."""
    conditions = [] if rate.service_tier == "standard" else [f"{rate.service_tier} rate"]
    conditions += [f"{name} {value}" for name, value in rate.when]
    if rate.above is not None:
        conditions.append(f"above {rate.above:,} input tokens")
    if rate.window is not None:
        conditions.append(describe_window(rate.window))
    return conditions


def describe_terms(price: Price, *, with_media: bool = True) -> list[str]:
    """Return what applies to a whole price next to its rates, as clauses."""
    if price.state != "priced":
        return []
    terms = ["media without a rate of their own are billed at the text rate"] if price.media_at_text_rate and with_media else []
    if price.minimum is not None:
        terms.append(f"each line of a cost is at least {format_term('minimum', price.minimum, price.currency)}, unless it is 0")
    if price.surcharge_percent is not None:
        terms.append(f"a surcharge of {format_term('surcharge_percent', price.surcharge_percent, price.currency)} is added to the total")
    return terms


def format_term(name: str, value: Decimal | bool | None, currency: str) -> str | None:
    """Return the value of one of the `PRICE_TERMS`: `yes`, `$0.01`, `5%`, or None if the price does not state it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return money_text.format_amount(value, currency) if name == "minimum" else f"{format_decimal(value)}%"


def describe_window(window: Window) -> str:
    """Return the hours of a window: `from 16:30 to 00:30 UTC on Sat, Sun`, `all day UTC on Sun`."""
    zone = window.tz or "UTC"
    hours = f"all day {zone}" if window.is_whole_day else f"from {window.start:%H:%M} to {window.end:%H:%M} {zone}"
    return f"{hours} on {describe_days(window.days)}" if window.days else hours


def describe_days(days: Iterable[int]) -> str:
    """Return days of the week as text: `Sat, Sun`; three or more in a row as `Mon-Fri`."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(_describe_run([DAY_NAMES[day] for day in run]) for run in runs)


def _describe_run(names: Sequence[str]) -> str:
    return f"{names[0]}-{names[-1]}" if len(names) >= MIN_RUN else ", ".join(names)


def describe_missing(missing: str) -> str:
    """Return an entry of a cost's `missing` as text for users."""
    kind, _, name = missing.partition(":")
    if describe := MISSING_TEXTS.get(kind):
        return describe.format(name)
    meter, _, names = missing.partition(" when ")
    return f"{label_of(meter).lower()} (its rates depend on {names})" if names else label_of(missing).lower()
