"""JSON parser with exact decimals."""

import json
from decimal import Decimal
from typing import Any, NoReturn

from webapp.domain.shared.errors import Invalid

CatalogEntries = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # Providers, then models.


def parse_json(data: bytes) -> Any:
    """Parse JSON with exact decimals. Raises `Invalid` with the position of the syntax error."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_float=_parse_decimal, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid.field("file", f"is not JSON: {str(error)[:200]}") from None


def _parse_decimal(text: str) -> Decimal:
    """Parse a number with a fraction or an exponent.

    Extreme exponents are rejected: the plain form of such a number has millions of digits and would exhaust memory.
    """
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or len(text) > 60 or abs(exponent) > 60:
        raise ValueError(f"{text[:40]} is no amount")
    return number


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")
