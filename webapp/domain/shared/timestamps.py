"""Moments: RFC 3339 in, aware UTC datetimes inside, RFC 3339 with `Z` out."""

import re
from datetime import UTC, date, datetime

from webapp.domain.shared.errors import Invalid

TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What may be entered or asked for. Nothing older matters, and near the ends of the calendar adding a month to a moment is an error.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2199, 12, 31)


def parse_timestamp(text: object, field: str) -> datetime:
    """An aware UTC datetime from RFC 3339 text with an offset. Raises `Invalid` naming the field."""
    if isinstance(text, str) and TIMESTAMP.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # month 13, or a moment that leaves the calendar when moved to UTC: refused below
        else:
            _require_supported_range(moment.date(), field)
            return moment
    raise Invalid.field(field, "must be a moment such as 2026-11-21T00:00:00Z")


def parse_day(text: object, field: str) -> date:
    """A date from ISO text. Raises `Invalid` naming the field."""
    if isinstance(text, str) and DAY.fullmatch(text):
        try:
            day = date.fromisoformat(text)
        except ValueError:
            pass  # the 30th of February: refused below
        else:
            _require_supported_range(day, field)
            return day
    raise Invalid.field(field, "must be a date such as 2026-11-21")


def _require_supported_range(day: date, field: str) -> None:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise Invalid.field(field, f"must lie between {FIRST_DAY} and {LAST_DAY}")


def format_timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`; fractions of a second only where there are some."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def start_of_day(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
