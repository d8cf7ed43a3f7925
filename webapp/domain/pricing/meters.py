"""Display texts of the meters: labels instead of `cache_write_1h`, and units."""

from collections.abc import Mapping
from typing import NamedTuple

from webapp.domain.pricing.pricing import Rate


class MeterLabels(NamedTuple):
    """A meter's label, the singular and plural of its unit, and a hint."""

    label: str
    unit: str
    units: str
    hint: str = ""


METER_LABELS: Mapping[str, MeterLabels] = {
    "input": MeterLabels("Input", "token", "tokens", "Every input token, cached ones included"),
    "cache_read": MeterLabels("Read from cache", "token", "tokens", "Part of input"),
    "cache_write": MeterLabels("Written to cache", "token", "tokens", "Part of input"),
    "cache_write_1h": MeterLabels("Written for 1 hour", "token", "tokens", "Part of written to cache"),
    "input_audio": MeterLabels("Audio input", "token", "tokens", "Part of input"),
    "input_image": MeterLabels("Image input", "token", "tokens", "Part of input"),
    "output": MeterLabels("Output", "token", "tokens", "Every output token, reasoning included"),
    "reasoning": MeterLabels("Reasoning", "token", "tokens", "Part of output"),
    "output_audio": MeterLabels("Audio output", "token", "tokens", "Part of output"),
    "image": MeterLabels("Images", "image", "images"),
    "request": MeterLabels("Requests", "request", "requests"),
    "second": MeterLabels("Seconds", "second", "seconds"),
    "character": MeterLabels("Characters", "character", "characters"),
    "page": MeterLabels("Pages", "page", "pages"),
    "web_search": MeterLabels("Web searches", "search", "searches"),
}

# What a cost can miss besides a rate of a meter.
MISSING_TEXTS: Mapping[str, str] = {
    "service_tier": "the {} service tier (standard rates are used)",
    "raw": "{}, a count of the provider that no meter holds",
    "attribute": "the price for the {} of the call",
    "context_tier": "the higher price of large requests",
    "failed_attempt": "an attempt that failed, which the provider may bill",
}


def label_of(meter: str) -> str:
    labels = METER_LABELS.get(meter)
    return labels.label if labels else meter


def unit_of(meter: str, per: int) -> str:
    """Return the quantity that a rate applies to: `1M tokens`, `1,000 requests`, `image`."""
    labels = METER_LABELS.get(meter) or MeterLabels(meter, meter, meter)
    if per == 1:
        return labels.unit
    return f"{per // 1_000_000:,}M {labels.units}" if per % 1_000_000 == 0 else f"{per:,} {labels.units}"


def describe_conditions(rate: Rate) -> list[str]:
    """Return the conditions of a rate as text, or an empty list for a plain rate."""
    conditions = [] if rate.service_tier == "standard" else [f"{rate.service_tier} rate"]
    if rate.above is not None:
        conditions.append(f"above {rate.above:,} input tokens")
    if rate.window is not None:
        conditions.append(f"from {rate.window.start:%H:%M} to {rate.window.end:%H:%M} UTC")
    return conditions


def describe_missing(missing: str) -> str:
    """Return an entry of a cost's `missing` as text for users."""
    kind, _, name = missing.partition(":")
    describe = MISSING_TEXTS.get(kind)
    return describe.format(name) if describe else label_of(missing).lower()
