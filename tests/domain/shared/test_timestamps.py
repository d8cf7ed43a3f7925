"""Tests of timestamps: RFC 3339 as input, aware UTC inside, `Z` as output."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.timestamps import FIRST_DAY, LAST_DAY, format_timestamp, parse_day, parse_timestamp, start_of_day


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("2026-11-21T01:30:00+01:30", "2026-11-21T00:00:00Z"),
        ("2026-11-20T23:59:59.5-00:01", "2026-11-21T00:00:59.500000Z"),
    ],
)
def test_moments_are_moved_to_utc(text, shown):
    assert format_timestamp(parse_timestamp(text, "at")) == shown


@pytest.mark.parametrize("text", ["1899-12-31", "2200-01-01", "0001-01-01", "9999-12-31"])
def test_what_lies_outside_of_the_calendar_that_matters_is_refused_with_its_limits(text):
    for parse, typed in ((parse_day, text), (parse_timestamp, f"{text}T12:00:00Z")):
        with pytest.raises(Invalid, match="at") as refused:
            parse(typed, "at")
        assert refused.value.errors[0].message == "must lie between 1900-01-01 and 2199-12-31"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21",
        "2026-11-21T00:00:00",
        "2026-11-21 00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-21T24:00:01Z",
        "2026-11-21T00:00:60Z",
        "2026-11-21T00:00:00z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-11-21T00:00:00+99:99",
        "２026-11-21T00:00:00Z",
        "2026-11-21T00:00:00Z\n",
        "2026-11-21T00:00:00." + "1" * 7 + "Z",
        "",
        None,
        0,
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
def test_what_is_no_moment_with_an_offset_is_refused_by_name(text):
    with pytest.raises(Invalid, match="at must be a moment"):
        parse_timestamp(text, "at")


@given(st.datetimes(*(start_of_day(day).replace(tzinfo=None) for day in (FIRST_DAY, LAST_DAY)), timezones=st.just(UTC)))
def test_a_moment_reads_back_equal(at):
    assert parse_timestamp(format_timestamp(at), "at") == at


@given(st.text() | st.from_regex(r"[0-9TZ:.+\-]{0,32}") | st.integers() | st.floats() | st.none())
def test_whatever_comes_in_is_a_moment_in_utc_or_refused_as_invalid(value):
    try:
        parsed = parse_timestamp(value, "at")
    except Invalid:
        return
    assert parsed.tzinfo is UTC


@given(st.dates(FIRST_DAY, LAST_DAY))
def test_a_day_reads_back_equal(day):
    assert parse_day(day.isoformat(), "retires_on") == day


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-1-1", "20261121", "2026-W47-6", "2026-11-21T00:00:00Z", "", None, 20261121, "٢٠٢٦-11-21"]
)
def test_what_is_no_date_is_refused_by_name(text):
    with pytest.raises(Invalid, match="retires_on must be a date"):
        parse_day(text, "retires_on")
