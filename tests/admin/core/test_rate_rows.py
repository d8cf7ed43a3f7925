"""Rates as rows of the price form: every rate survives the way into a row and back."""

from datetime import time
from decimal import Decimal

import pytest

from webapp.admin.core.rate_rows import BLANK_ROW, is_blank, rate_from_row, row_from_rate
from webapp.domain.catalog.rate_schemas import validate_rate
from webapp.domain.pricing.pricing import Rate
from webapp.domain.pricing.rate_text import describe_window
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.errors import Invalid

RATES = [
    Rate("input", Decimal(6), 1_000_000, 200_000),
    Rate("input", Decimal("1.25"), 1_000_000, 272_000, "batch"),
    Rate("output", Decimal("0.5"), 1_000_000, window=Window((5, 6), time(16, 30), time(0, 30), "Asia/Shanghai")),
    Rate("output", Decimal("0.5"), 1_000_000, window=Window((), time(16), time(0))),
    Rate("output", Decimal("0.5"), 1_000_000, window=Window((0, 2), time(), time())),
    Rate("image", Decimal("0.25"), 1, when=(("quality", "high"), ("size", "1536x1024, wide"))),
    Rate("second", Decimal("0.017"), 60, service_tier="scale", when=(("region", "a = b"),)),
    Rate("gb_day", Decimal("0.000000000000000001"), 7),
]


def as_rate(row):
    values = {"meter": row["more_meter"], "amount": row["more_amount"], "per": int(row["more_per"])} | rate_from_row(row)
    return validate_rate(values, "rate")


@pytest.mark.parametrize("rate", RATES)
def test_a_rate_is_the_same_after_the_way_through_a_row(rate):
    assert as_rate(row_from_rate(rate)) == rate


@pytest.mark.parametrize(
    ("days", "expected"),
    [("Sat, Sun", (5, 6)), ("Mon-Fri", (0, 1, 2, 3, 4)), ("fri – mon", (0, 4, 5, 6)), ("Saturday sunday", (5, 6)), ("", ())],
)
def test_days_are_names_and_ranges(days, expected):
    row = row_from_rate(RATES[2]) | {"more_days": days}
    assert as_rate(row).window.days == expected


@pytest.mark.parametrize(
    ("days", "text"),
    [
        ((0, 1, 2, 3, 4), "Mon-Fri"),
        ((5, 6), "Sat, Sun"),
        ((0, 4, 5, 6), "Mon, Fri-Sun"),
        ((0, 1, 3, 4, 5), "Mon, Tue, Thu-Sat"),
        (tuple(range(7)), "Mon-Sun"),
    ],
)
def test_three_days_in_a_row_are_shown_as_a_range_and_read_as_the_same_days(days, text):
    rate = RATES[2]._replace(window=Window(days, time(16, 30), time(0, 30)))
    assert row_from_rate(rate)["more_days"] == text
    assert as_rate(row_from_rate(rate)).window.days == days
    assert describe_window(rate.window) == f"from 16:30 to 00:30 UTC on {text}"


def test_days_without_hours_are_whole_days():
    row = row_from_rate(RATES[0]) | {"more_days": "Sun", "more_tz": "Europe/Berlin"}
    assert as_rate(row).window == Window((6,), time(), time(), "Europe/Berlin")


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"more_when": "quality"}, "when", "has no equals sign"),
        ({"more_when": "quality = high, size = large"}, "when", "has several"),
        ({"more_when": "quality = high\nquality = low"}, "when", "only once"),
        ({"more_days": "Someday"}, "window.days", "Mon-Fri"),
        ({"more_from": "16:30"}, "window.to", "is missing"),
        ({"more_tz": "Asia/Shanghai"}, "window.from", "is missing"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_field(fields, path, words):
    with pytest.raises(Invalid) as refused:
        rate_from_row(row_from_rate(RATES[0]) | fields)
    (error,) = refused.value.errors
    assert error.field == path
    assert words in error.message


def test_a_row_is_blank_only_without_any_content():
    assert is_blank(BLANK_ROW)
    for field in ("more_meter", "more_amount", "more_above", "more_when", "more_days", "more_tz"):
        assert not is_blank({**BLANK_ROW, field: "x"})
