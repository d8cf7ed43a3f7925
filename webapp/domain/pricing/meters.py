"""The meters in words: what staff read instead of `cache_write_1h`, and what each is counted in."""

from collections.abc import Mapping
from typing import NamedTuple

from webapp.domain.pricing.pricing import Rate


class MeterLabels(NamedTuple):
    """A meter's label, the unit of its quantities (one, several), and what belongs in it."""

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


def label_of(meter: str) -> str:
    words = METER_LABELS.get(meter)
    return words.label if words else meter


def unit_of(meter: str, per: int) -> str:
    """What a rate is for: `1M tokens`, `1,000 requests`, `image`."""
    words = METER_LABELS.get(meter) or MeterLabels(meter, meter, meter)
    if per == 1:
        return words.unit
    return f"{per // 1_000_000:,}M {words.units}" if per % 1_000_000 == 0 else f"{per:,} {words.units}"


def describe_conditions(rate: Rate) -> list[str]:
    """Under which conditions this rate holds, where it is not the plain one."""
    found = [] if rate.service_tier == "standard" else [f"{rate.service_tier} rate"]
    if rate.above is not None:
        found.append(f"above {rate.above:,} input tokens")
    if rate.window is not None:
        found.append(f"from {rate.window.start:%H:%M} to {rate.window.end:%H:%M} UTC")
    return found


def describe_missing(missing: str) -> str:
    """An entry of a cost's `missing` for people."""
    tier = missing.removeprefix("service_tier:")
    return f"the {tier} service tier (standard rates are used)" if tier != missing else label_of(missing).lower()
