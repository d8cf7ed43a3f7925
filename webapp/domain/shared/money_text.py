"""Amounts for display: exact with grouped digits, and a marked rounding in addition to long ones."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal

from webapp.domain.shared.money import ZERO, format_decimal, sort_sums

LONG_FRACTION = 6  # Amounts with more digits after the point also get a rounding.
SIGNIFICANT_DIGITS = 3
APPROXIMATE_SIGN = "≈ "
CURRENCY_SIGNS: Mapping[str, str] = {"USD": "$", "EUR": "€", "GBP": "£"}
ONE = Decimal(1)
_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)


def format_amount(exact: Decimal, currency: str | None = "USD") -> str:
    """Return the exact amount: `$1,234.50`, `$0.0065`, `12 CHF`. One digit after the point becomes two, as is usual for money."""
    whole, _, fraction = format_decimal(exact).partition(".")
    digits = f"{int(whole):,}{'.' if fraction else ''}{fraction.ljust(2, '0') if fraction else ''}"
    sign = CURRENCY_SIGNS.get(currency or "USD")
    return f"{sign}{digits}" if sign else f"{digits} {currency}"


def format_amounts(sums: Mapping[str, Decimal]) -> list[str]:
    """Return one amount per currency, or `$0` if there are no sums."""
    return [format_amount(total, currency) for currency, total in sort_sums(sums)] or [format_amount(ZERO)]


def format_rounded(exact: Decimal, currency: str | None = "USD") -> str | None:
    """Return the rounded amount with its sign, or None if the exact amount is short."""
    _, _, fraction = format_decimal(exact).partition(".")
    short = format_approximate(exact, currency) if len(fraction) > LONG_FRACTION else ""
    return short if short.removeprefix(APPROXIMATE_SIGN) != format_amount(exact, currency) and short else None


def format_approximate(exact: Decimal, currency: str | None = "USD") -> str:
    """Round half-even to three significant digits, but at least two after the point: `≈ $0.00123`."""
    places = max(2, SIGNIFICANT_DIGITS - 1 - exact.adjusted())
    return f"{APPROXIMATE_SIGN}{format_amount(exact.quantize(Decimal(1).scaleb(-places), context=_WIDE), currency)}"


def format_ratio(part: Decimal, whole: Decimal) -> str:
    """Return the ratio with one digit after the point, such as `2.4`, or without decimals from 100 on."""
    factor = quotient(part, whole)
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:,.1f}"


def quotient(part: Decimal, whole: Decimal) -> Decimal:
    """Return the ratio as a number for comparisons. Never use it for charges, because it is rounded to 80 digits."""
    return _WIDE.divide(part, whole)
