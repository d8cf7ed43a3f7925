"""Exact decimals: parsing of typed amounts, arithmetic that never rounds, and one plain format for amounts."""

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from functools import lru_cache

# A result that cannot be represented exactly raises an error instead of rounding. The largest cost has 24 digits before the point
# (10^12 units of each meter at 10^9 each, and a surcharge of ten times that). The finest has 55 after it (18 of the amount, 3 of seconds,
# 29 of dividing by 2^29, 5 of the surcharge). The rest is for sums and projections.
EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])
# For means and projections, which are shown and never charged. Python's default of 28 digits is too narrow for some sums.
ROUNDED = Context(prec=100, rounding=ROUND_HALF_EVEN)
# For the price of one unit, which is compared and shown. It is exact for every `per` with the factors 2 and 5.
ROUNDED_UNIT = Context(prec=60, rounding=ROUND_HALF_EVEN)

# Checked before the text is parsed as a Decimal: a large exponent would cost minutes of CPU (security.md, finding 5).
AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?", re.ASCII)
AMOUNT_RULE = "must be a plain decimal such as 0.15: up to 9 digits, and up to 18 after the point; no sign, no exponent"

ZERO = Decimal(0)
# The maximum length of a stored amount, which the longest exact cost just reaches (see EXACT).
MAX_LENGTH = 80
ROUNDED_DIGITS = 18  # The digits after the point of a cost that has no finite decimal expansion.


def parse_amount(text: object) -> Decimal | None:
    """Return the amount, or None if the text is not a plain decimal string (see AMOUNT_RULE)."""
    if not isinstance(text, str) or AMOUNT.fullmatch(text) is None:
        return None
    return Decimal(text)


def add_to(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    """Add an amount to the sum of its currency. Amounts of different currencies are never added."""
    sums[currency] = EXACT.add(sums.get(currency, ZERO), amount)


def sort_sums(sums: Mapping[str, Decimal]) -> list[tuple[str, Decimal]]:
    """Return the sums by currency, US dollars first. Zero sums are left out if another currency has a sum."""
    nonzero = [(currency, total) for currency, total in sums.items() if total] or list(sums.items())[:1]
    return sorted(nonzero, key=lambda entry: (entry[0] != "USD", entry[0]))


def format_decimal(amount: Decimal) -> str:
    """Return the amount without an exponent and without trailing zeros after the point: `0.15`, `0`, `12500000`."""
    text = str(amount)
    if "E" in text:  # format() takes three times as long as str(), and few amounts need it.
        text = format(amount, "f")
    if text[-1] == "0" and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def format_for_storage(amount: Decimal) -> str:
    """Return the amount as `format_decimal` does, for a table.

    Raises `ValueError` for a value that no calculation of Modeldesk gives: too long, infinite, or not a number. The size is checked
    before the text is made, because `1E-30000000` would have thirty million characters.
    """
    if not amount.is_finite() or (amount and abs(amount.adjusted()) > MAX_LENGTH):
        raise ValueError(f"an amount that does not fit into {MAX_LENGTH} characters")
    text = format_decimal(amount) if amount else "0"
    if len(text) > MAX_LENGTH:
        raise ValueError(f"an amount that does not fit into {MAX_LENGTH} characters")
    return text


def from_fraction(exact: Fraction) -> tuple[Decimal, bool]:
    """Return the decimal and whether it is rounded: half-even at 18 digits, if the fraction has no finite decimal expansion."""
    if is_finite_divisor(exact.denominator):
        return EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator)), False
    return Decimal(round(exact * 10**ROUNDED_DIGITS)).scaleb(-ROUNDED_DIGITS, EXACT), True


@lru_cache(maxsize=1_024)
def is_finite_divisor(per: int) -> bool:
    """Return whether division by `per` always gives a finite decimal, that is, `per` has only the factors 2 and 5."""
    for factor in (2, 5):
        while per % factor == 0:
            per //= factor
    return per == 1
