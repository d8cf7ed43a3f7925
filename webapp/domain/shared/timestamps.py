"""Timestamps: RFC 3339 as input, aware UTC datetimes inside, RFC 3339 with `Z` as output."""

import re
from datetime import UTC, date, datetime

from webapp.domain.shared.errors import Invalid

TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The accepted range. Older dates do not matter, and adding a month near the ends of the calendar is an error.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def parse_timestamp(text: object, field: str) -> datetime:
    """Return an aware UTC datetime from RFC 3339 text with an offset. Raises `Invalid` naming the field."""
    if isinstance(text, str) and TIMESTAMP.fullmatch(text):
        try:
            parsed = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # Month 13, or a time outside the calendar when converted to UTC. Rejected below.
        else:
            _require_supported_range(parsed.date(), field)
            return parsed
    raise Invalid.field(field, "must be a moment such as 2026-11-21T00:00:00Z")


def parse_day(text: object, field: str) -> date:
    """Return a date from ISO text. Raises `Invalid` naming the field."""
    if isinstance(text, str) and DAY.fullmatch(text):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            pass  # February 30. Rejected below.
        else:
            _require_supported_range(day, field)
            return day
    raise Invalid.field(field, "must be a date such as 2026-11-21")


def _require_supported_range(day: date, field: str) -> None:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise Invalid.field(field, f"must lie between {FIRST_DAY} and {LAST_DAY}")


def format_timestamp(at: datetime) -> str:
    """Return RFC 3339 text in UTC with `Z`. Fractions of a second are included only if they are not zero."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def start_of_day(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
