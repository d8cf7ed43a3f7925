"""Texts for users about the conditions of a rate and about the missing part of a cost."""

from collections.abc import Mapping

from webapp.domain.pricing.meters import label_of
from webapp.domain.pricing.pricing import Rate
from webapp.domain.pricing.windows import Window

MISSING_TEXTS: Mapping[str, str] = {
    "service_tier": "the {} service tier (standard rates are used)",
    "raw": "{}, a count of the provider that no meter holds",
    "attribute": "the price for the {} of the call",
    "context_tier": "the higher price of large requests",
    "failed_attempt": "an attempt that failed, which the provider may bill",
}
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def describe_conditions(rate: Rate) -> list[str]:
    """Return the conditions of a rate as text, or an empty list for a plain rate."""
    conditions = [] if rate.service_tier == "standard" else [f"{rate.service_tier} rate"]
    conditions += [f"{name} {value}" for name, value in rate.when]
    if rate.above is not None:
        conditions.append(f"above {rate.above:,} input tokens")
    if rate.window is not None:
        conditions.append(describe_window(rate.window))
    return conditions


def describe_window(window: Window) -> str:
    """Return the hours of a window: `from 16:30 to 00:30 UTC on Sat, Sun`, `all day UTC on Sun`."""
    zone = window.tz or "UTC"
    hours = f"all day {zone}" if window.is_whole_day else f"from {window.start:%H:%M} to {window.end:%H:%M} {zone}"
    days = ", ".join(DAY_NAMES[day] for day in window.days)
    return f"{hours} on {days}" if days else hours


def describe_missing(missing: str) -> str:
    """Return an entry of a cost's `missing` as text for users."""
    kind, _, name = missing.partition(":")
    if describe := MISSING_TEXTS.get(kind):
        return describe.format(name)
    meter, _, names = missing.partition(" when ")
    return f"{label_of(meter).lower()} (its rates depend on {names})" if names else label_of(missing).lower()
