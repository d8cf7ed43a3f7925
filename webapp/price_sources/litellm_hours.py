"""The hours of LiteLLM's off-peak prices. Hours are in UTC. Days of the week are those of `weekday_timezone`, which is UTC by default."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Window = tuple[tuple[str, Any], ...]

FIELDS = ("windows", "hours_utc", "weekdays", "weekday_timezone")
UNREADABLE = "its hours cannot be read"
MINUTES_PER_DAY = 24 * 60
HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)", re.ASCII)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# A zone with summer time has other local hours in January than in July.
COMPARED_TIMES = tuple(datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 13))


def windows_of(rule: Mapping[str, Any]) -> list[Window]:
    """Return the hours of the rule and of each of its `windows`, or an empty list if some of them cannot be read."""
    entries = rule.get("windows") if rule.get("windows") is not None else []
    if not isinstance(entries, list):
        return []
    stated = [rule, *entries] if rule.get("hours_utc") is not None else entries
    try:
        offset = _fixed_offset(rule.get("weekday_timezone") or "UTC")
        windows = [window for entry in stated for window in _windows_of_entry(entry, str(rule.get("weekday_timezone") or "UTC"), offset)]
    except (ValueError, TypeError, KeyError, AttributeError, ZoneInfoNotFoundError, OSError):
        return []
    return list(dict.fromkeys(windows))


def _windows_of_entry(entry: Mapping[str, Any], zone: str, offset: int | None) -> Iterator[Window]:
    """Yield the windows of an entry. Raises `ValueError` and others for hours or days that cannot be read."""
    hours = entry["hours_utc"]
    days = _days(entry.get("weekdays"))
    for text in hours if isinstance(hours, list) else [hours]:
        match = HOURS.fullmatch(text)
        if match is None:
            raise ValueError(text)
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3] or 0) * 60 + int(match[4] or 0)
        if not days:
            yield _window((), start, end, "UTC")
        elif offset is None:
            raise ValueError(f"{zone} has summer time, so its days start at different hours")
        else:
            yield from _windows_of_days(days, (start + offset) % MINUTES_PER_DAY, (end + offset) % MINUTES_PER_DAY, zone)


def _windows_of_days(days: tuple[int, ...], start: int, end: int, zone: str) -> Iterator[Window]:
    """Yield the parts before and after midnight: LiteLLM compares the day of each moment, a window has the day of its start."""
    if start == end:
        start = end = 0
    yield _window(days, start, end if start < end else 0, zone)
    if 0 < end < start:
        yield _window(days, 0, end, zone)


def _window(days: tuple[int, ...], start: int, end: int, zone: str) -> Window:
    if start == end:
        start = end = 0
    until = f"{end // 60:02}:{end % 60:02}" if end else "24:00"
    window: Window = (("days", days), ("from", f"{start // 60:02}:{start % 60:02}"), ("to", until))
    return window if zone == "UTC" else (*window, ("tz", zone))


def _days(value: object) -> tuple[int, ...]:
    """Return days of the week from 0, or an empty tuple for every day. The source counts from 1, or has names."""
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise ValueError("days of the week are a list")
    days = {_day(day) for day in value}
    return () if len(days) == len(WEEKDAYS) else tuple(sorted(days))


def _day(value: object) -> int:
    if isinstance(value, str) and len(value) >= 3:
        return WEEKDAYS.index(value[:3].lower())
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(WEEKDAYS):
        return value - 1
    raise ValueError(f"{value} is no day of the week")


def _fixed_offset(zone: str) -> int | None:
    """Return the minutes by which the zone is ahead of UTC, or None if they change within a year."""
    offsets = {at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta() for at in COMPARED_TIMES}
    return int(offsets.pop().total_seconds()) // 60 if len(offsets) == 1 else None
