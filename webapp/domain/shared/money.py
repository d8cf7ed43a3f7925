"""Exact decimals: parsing what people type, arithmetic that never rounds, and one plain way to write an amount."""

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation

# Anything that cannot be represented exactly raises instead of rounding. The largest cost has 22 digits before the point (10^12 units at
# 10^9 each), the finest 41 after it (12 of the amount, 29 of dividing by 2^29); what is left over is for sums and projections of them.
EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])
# For means and projections, which are shown and never charged: wide enough for every sum, where Python's own 28 digits are not.
ROUNDED = Context(prec=100, rounding=ROUND_HALF_EVEN)

# Checked before Decimal sees the text: a large exponent would cost minutes of CPU (security.md, finding 5).
AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?", re.ASCII)
AMOUNT_RULE = "must be a plain decimal such as 0.15: up to 9 digits, and up to 12 after the point; no sign, no exponent"

ZERO = Decimal(0)
# Characters of the longest amount that is stored. The longest exact cost has 64 (see EXACT), a sum over all meters one more.
MAX_LENGTH = 80


def parse_amount(text: object) -> Decimal | None:
    """The amount, or None if the text is not a plain decimal string (see AMOUNT_RULE)."""
    if not isinstance(text, str) or AMOUNT.fullmatch(text) is None:
        return None
    return Decimal(text)


def add_to(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    """Adds an amount to the sum of its currency: amounts of different currencies are never added up."""
    sums[currency] = EXACT.add(sums.get(currency, ZERO), amount)


def sort_sums(sums: Mapping[str, Decimal]) -> list[tuple[str, Decimal]]:
    """The sums by currency, US dollars first; beside others nothing is said of a currency that comes to zero."""
    some = [(currency, total) for currency, total in sums.items() if total] or list(sums.items())[:1]
    return sorted(some, key=lambda one: (one[0] != "USD", one[0]))


def format_decimal(amount: Decimal) -> str:
    """No exponent, and no zeros after the point beyond what is needed: `0.15`, `0`, `12500000`."""
    text = str(amount)
    if "E" in text:  # Formatting takes three times as long, and few amounts need it.
        text = format(amount, "f")
    if text[-1] == "0" and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def format_for_storage(amount: Decimal) -> str:
    """As `plain`, for a table. Raises `ValueError` for what no calculation of ours gives: too long, infinite, or no number.

    The size is looked at before the text is made: written out, `1E-30000000` would have thirty million characters.
    """
    if not amount.is_finite() or (amount and abs(amount.adjusted()) > MAX_LENGTH):
        raise ValueError(f"an amount that does not fit into {MAX_LENGTH} characters")
    text = format_decimal(amount) if amount else "0"
    if len(text) > MAX_LENGTH:
        raise ValueError(f"an amount that does not fit into {MAX_LENGTH} characters")
    return text


def is_finite_divisor(per: int) -> bool:
    """Whether dividing by it always gives a finite decimal, so that no cost needs rounding: only the factors 2 and 5."""
    for factor in (2, 5):
        while per % factor == 0:
            per //= factor
    return per == 1
