"""The rows of the price form: rates with a threshold, a service tier, hours or conditions, as text in both directions."""

import re
from collections.abc import Mapping
from typing import Any

from webapp.admin.core.fields import parse_whole_number
from webapp.domain.pricing.pricing import Rate
from webapp.domain.pricing.rate_text import DAY_NAMES, describe_days
from webapp.domain.pricing.serializers import window_document
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.errors import FieldError, Invalid
from webapp.domain.shared.money import format_decimal

ROW_FIELDS = (
    "more_meter",
    "more_amount",
    "more_per",
    "more_above",
    "more_tier",
    "more_when",
    "more_days",
    "more_from",
    "more_to",
    "more_tz",
)
BLANK_ROW: Mapping[str, str] = dict.fromkeys(ROW_FIELDS, "") | {"more_tier": STANDARD}
CHOSEN_FIELDS = frozenset({"more_per", "more_tier"})  # A row that has only these is blank.
HOUR_FIELDS = ("more_days", "more_from", "more_to", "more_tz")
# The paths of the fields in an error about a rate, with their labels.
ROW_LABELS: Mapping[str, str] = {
    "meter": "Meter",
    "amount": "Amount",
    "per": "Per",
    "above": "Above input tokens",
    "service_tier": "Service tier",
    "when": "Attribute",
    "window.days": "Days",
    "window.from": "From",
    "window.to": "To",
    "window.tz": "Time zone",
}
PAIR = re.compile(r"([^=]*)=(.*)")
SECOND_PAIR = re.compile(r",\s*[a-z_]+\s*=")
DAY_RANGE = re.compile(r"([a-z]{3})[a-z]*(?:-([a-z]{3})[a-z]*)?")
DAY_NUMBERS = {name.lower(): number for number, name in enumerate(DAY_NAMES)}


def is_blank(row: Mapping[str, str]) -> bool:
    return not any(text for name, text in row.items() if name not in CHOSEN_FIELDS)


def row_from_rate(rate: Rate) -> dict[str, str]:
    """Return the texts of a row for a rate. `rate_from_row` returns the same rate."""
    row = {
        "more_meter": rate.meter,
        "more_amount": format_decimal(rate.amount),
        "more_per": str(rate.per),
        "more_above": "" if rate.above is None else f"{rate.above:,}",
        "more_tier": rate.service_tier,
        "more_when": "\n".join(f"{name} = {value}" for name, value in rate.when),
    }
    return {**BLANK_ROW, **row, **_hours(rate.window)}


def _hours(window: Window | None) -> dict[str, str]:
    document = window_document(window)
    if document is None:
        return {}
    return {
        "more_days": describe_days(document["days"]),
        "more_from": document["from"],
        "more_to": document["to"],
        "more_tz": document.get("tz", "UTC"),
    }


def rate_from_row(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions of a rate, for the services. Raises `Invalid` with the paths of the fields within the rate."""
    conditions: dict[str, Any] = {"above": parse_whole_number(row["more_above"]), "service_tier": row["more_tier"] or STANDARD}
    errors: list[FieldError] = []
    for name, parse in (("when", _parse_conditions), ("window", _parse_hours)):
        try:
            conditions[name] = parse(row)
        except Invalid as error:
            errors += error.errors
    if errors:
        raise Invalid.of(errors)
    return conditions


def _parse_conditions(row: Mapping[str, str]) -> dict[str, str] | None:
    """Return the pairs, one from each line."""
    conditions: dict[str, str] = {}
    for line in row["more_when"].splitlines():
        if not line.strip():
            continue
        pair = PAIR.fullmatch(line)
        if pair is None:
            raise Invalid.field("when", f"must be a name and a value, such as quality = high; “{line.strip()[:60]}” has no equals sign")
        name, value = pair[1].strip(), pair[2].strip()
        if SECOND_PAIR.search(value):
            raise Invalid.field("when", f"must be one name and value per line; “{line.strip()[:60]}” has several")
        if name in conditions:
            raise Invalid.field("when", f"must name {name[:60]} only once")
        conditions[name] = value
    return conditions or None


def _parse_hours(row: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the window, or None if no field of it has content. Days without hours are whole days."""
    days, start, end, zone = (row[name] for name in HOUR_FIELDS)
    if not (days or start or end or zone):
        return None
    if not (start or end) and days:
        start, end = "00:00", "24:00"
    if not (start and end):
        missing = "window.from" if not start else "window.to"
        raise Invalid.field(missing, "is missing: enter both hours such as 16:30, or days alone for whole days")
    return {"days": _parse_days(days), "from": start, "to": end, "tz": zone or None}


def _parse_days(text: str) -> list[int]:
    """Return the days of a text such as `Mon-Fri` or `Sat, Sun`. An empty text means every day."""
    days: list[int] = []
    for part in re.sub(r"\s*[-–]\s*", "-", text.lower()).replace(",", " ").split():
        names = DAY_RANGE.fullmatch(part)
        first = DAY_NUMBERS.get(names[1]) if names else None
        last = DAY_NUMBERS.get(names[2] or names[1]) if names else None
        if first is None or last is None:
            raise Invalid.field("window.days", "must be days such as Sat, Sun or Mon-Fri; leave it empty for every day")
        days += [day % 7 for day in range(first, last + 1 if last >= first else last + 8)]
    return sorted(set(days))
