"""Tests of amounts for display."""

from decimal import Decimal

import pytest

from webapp.domain.shared.money_text import format_amount, format_ratio, format_rounded


@pytest.mark.parametrize(
    ("exact", "currency", "shown"),
    [
        ("0.0065", "USD", "$0.0065"),
        ("2.5", "USD", "$2.50"),
        ("0", "USD", "$0"),
        ("12500000.00", "USD", "$12,500,000"),
        ("1234567.125", "EUR", "€1,234,567.125"),
        ("3.1", "CHF", "3.10 CHF"),
        ("1E+3", None, "$1,000"),
    ],
)
def test_amounts_are_exact_and_grouped(exact, currency, shown):
    assert format_amount(Decimal(exact), currency) == shown


@pytest.mark.parametrize(
    ("exact", "shown"),
    [("0.0065", None), ("0.0000345", None), ("0.000034567", "≈ $0.0000346"), ("12.3456789", "≈ $12.35"), ("0.1250000001", "≈ $0.125")],
)
def test_long_amounts_get_a_rounding_that_says_so(exact, shown):
    assert format_rounded(Decimal(exact)) == shown


def test_ratios_say_what_is_of_interest():
    assert (format_ratio(Decimal("6.5"), Decimal("0.39")), format_ratio(Decimal(1000), Decimal(7))) == ("16.7", "143")
