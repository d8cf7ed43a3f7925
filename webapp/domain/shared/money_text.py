"""Amounts for reading: exact with grouped digits, and beside long ones a rounding that says that it is one."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal

from webapp.domain.shared.money import ZERO, format_decimal, sort_sums

LONG_FRACTION = 6  # Digits after the point from which on nobody takes an amount in at a glance.
SIGNIFICANT_DIGITS = 3
APPROXIMATE_SIGN = "≈ "
CURRENCY_SIGNS: Mapping[str, str] = {"USD": "$", "EUR": "€", "GBP": "£"}
ONE = Decimal(1)
_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)


def format_amount(exact: Decimal, currency: str | None = "USD") -> str:
    """Exact: `$1,234.50`, `$0.0065`, `12 CHF`. One digit after the point becomes two, as people write money."""
    whole, _, fraction = format_decimal(exact).partition(".")
    digits = f"{int(whole):,}{'.' if fraction else ''}{fraction.ljust(2, '0') if fraction else ''}"
    sign = CURRENCY_SIGNS.get(currency or "USD")
    return f"{sign}{digits}" if sign else f"{digits} {currency}"


def format_amounts(sums: Mapping[str, Decimal]) -> list[str]:
    """Sums by currency, each as its own amount; `$0` where there is none."""
    return [format_amount(total, currency) for currency, total in sort_sums(sums)] or [format_amount(ZERO)]


def format_rounded(exact: Decimal, currency: str | None = "USD") -> str | None:
    """The amount rounded for reading, marked as such, or None if it is short as it is."""
    _, _, fraction = format_decimal(exact).partition(".")
    short = format_approximate(exact, currency) if len(fraction) > LONG_FRACTION else ""
    return short if short.removeprefix(APPROXIMATE_SIGN) != format_amount(exact, currency) and short else None


def format_approximate(exact: Decimal, currency: str | None = "USD") -> str:
    """Half-even to three significant digits, and no fewer than two after the point: `≈ $0.00123`."""
    places = max(2, SIGNIFICANT_DIGITS - 1 - exact.adjusted())
    return f"{APPROXIMATE_SIGN}{format_amount(exact.quantize(Decimal(1).scaleb(-places), context=_WIDE), currency)}"


def format_ratio(part: Decimal, whole: Decimal) -> str:
    """How many times as much, in one digit after the point: `2.4`, or `120` where that says enough."""
    factor = quotient(part, whole)
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:,.1f}"


def quotient(part: Decimal, whole: Decimal) -> Decimal:
    """The same as a number, for comparing and never for charging: it is rounded after 80 digits."""
    return _WIDE.divide(part, whole)
