"""The hours in which a rate applies (design: pricing.md, section 3)."""

from bisect import bisect
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTES_PER_DAY = 24 * 60
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY
# Two zones are compared over one year, because their distance changes with summer time.
COMPARED_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
COMPARED_DAYS = 365
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


class Window(NamedTuple):
    """Days of the week (0 is Monday; empty means every day) and hours in the time zone `tz`, an IANA name; None is UTC.

    `start` is inclusive, `end` exclusive. A window that ends before it starts runs over midnight and belongs to the day of its start.
    The same `start` and `end` is the whole day.
    """

    days: tuple[int, ...]
    start: time
    end: time
    tz: str | None = None

    @property
    def is_whole_day(self) -> bool:
        return self.start == self.end

    def contains(self, at: datetime) -> bool:
        local = at.astimezone(self._zone())
        clock, day = local.time(), local.weekday()
        if self.is_whole_day:
            return self._includes_day(day)
        if self.start < self.end:
            return self.start <= clock < self.end and self._includes_day(day)
        return (clock >= self.start and self._includes_day(day)) or (clock < self.end and self._includes_day((day - 1) % 7))

    def overlaps(self, window: "Window") -> bool:
        """Return whether both windows include the same minute of a week, at any distance of their time zones."""
        distances = {0} if self.tz == window.tz else _zone_distances(self.tz or "UTC", window.tz or "UTC")
        return any(
            (begin - second_begin - distance) % MINUTES_PER_WEEK < second_length
            or (second_begin + distance - begin) % MINUTES_PER_WEEK < length
            for begin, length in self._spans()
            for second_begin, second_length in window._spans()
            for distance in distances
        )

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield the local minute of the week at which the window starts and its length in minutes, for each day."""
        start, end = (clock.hour * 60 + clock.minute for clock in (self.start, self.end))
        for day in self.days or range(7):
            yield day * MINUTES_PER_DAY + start, (end - start) % MINUTES_PER_DAY or MINUTES_PER_DAY

    def _includes_day(self, day: int) -> bool:
        return not self.days or day in self.days

    def _zone(self) -> tzinfo:
        return ZoneInfo(self.tz) if self.tz else UTC


@cache
def _zone_distances(first: str, second: str) -> frozenset[int]:
    """Return the minutes that the clocks of the first zone are ahead of those of the second, at all times of a year."""
    first_changes, second_changes = _offset_changes(first), _offset_changes(second)
    return frozenset(_offset_at(first_changes, at) - _offset_at(second_changes, at) for at in {*first_changes, *second_changes})


def _offset_at(changes: Mapping[datetime, int], at: datetime) -> int:
    return changes[max(change for change in changes if change <= at)]


@cache
def _offset_changes(name: str) -> Mapping[datetime, int]:
    """Return the minutes that the clocks of a zone are ahead of UTC, by the time from which on they are, for one year."""
    zone = ZoneInfo(name)
    days = [COMPARED_YEAR + DAY * number for number in range(COMPARED_DAYS)]
    changed = (day for day in days[:-1] if _offset(zone, day) != _offset(zone, day + DAY))
    times = [COMPARED_YEAR, *(_find_change(zone, day) for day in changed)]
    return {at: _offset(zone, at) for at in times}


def _find_change(zone: ZoneInfo, day: datetime) -> datetime:
    """Return the minute, within a day from `day`, at which the clocks of the zone are set forward or back."""
    minutes = range(MINUTES_PER_DAY)
    offset = _offset(zone, day)
    return day + MINUTE * bisect(minutes, False, key=lambda minute: _offset(zone, day + MINUTE * minute) != offset)


def _offset(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset() or timedelta()
    return int(offset.total_seconds()) // 60
