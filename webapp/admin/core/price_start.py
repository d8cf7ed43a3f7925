"""The start of a price in the price form: now, at an entered time, or where the corrected price starts."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.timestamps import format_timestamp, parse_timestamp

NOW_TOLERANCE = timedelta(minutes=1)
LOCAL_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}", re.ASCII)


def effective_from(values: Mapping[str, str], now: datetime) -> str:
    """Return the start in whole seconds, so that a form submitted twice is rejected the second time."""
    at = values.get("at", "")
    if values.get("corrects"):
        return values.get("starts", "")
    if _starts_now(values):
        return format_timestamp(now.replace(microsecond=0))
    return f"{at}:00Z" if LOCAL_DATETIME.fullmatch(at) else at


def _starts_now(values: Mapping[str, str]) -> bool:
    return values.get("when", "at" if values.get("at") else "now") == "now"


def _is_contradictory(values: Mapping[str, str]) -> bool:
    return bool(values.get("at")) and _starts_now(values) and not values.get("corrects")


def require_one_start(values: Mapping[str, str]) -> None:
    """Raise `Invalid` if the form has a date, and “immediately” is selected."""
    if _is_contradictory(values):
        raise Invalid.field("effective_from", "has a date, but “immediately” is selected: select the date, or clear it")


def parse_start(values: Mapping[str, str], now: datetime) -> datetime | None:
    """Return the start from the form, or None if it is contradictory or not a valid time."""
    if _is_contradictory(values):
        return None
    try:
        return parse_timestamp(effective_from(values, now), "at")
    except Invalid:
        return None


def submit_label(values: Mapping[str, str], now: datetime) -> str:
    """Return the text of the submit button, which names the start."""
    if values.get("corrects"):
        return "Save the correction"
    start = parse_start(values, now)
    return f"Add this price, starting {format_start(start, now)}" if start else "Add this price"


def format_start(start: datetime, now: datetime) -> str:
    """Return `now`, or the start with its time."""
    return "now" if now - NOW_TOLERANCE <= start <= now else f"{start.day} {start:%b %Y}, {start:%H:%M} UTC"
