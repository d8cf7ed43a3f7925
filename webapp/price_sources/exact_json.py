"""JSON parser with exact decimals, and without characters that a database cannot store."""

import json
import re
from decimal import Decimal
from typing import Any

from webapp.domain.shared.errors import Invalid

CatalogEntries = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # Providers, then models.


# NUL, and halves of surrogate pairs: escapes in a file can state them, but no encoding and no database can store them.
_UNSTORABLE = re.compile("[\\x00\\ud800-\\udfff]")
MAX_DIGITS = 60
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def parse_json(data: bytes) -> Any:
    """Parse JSON with exact decimals. A number that is no amount stays text. Raises `Invalid` with the position of the syntax error."""
    try:
        return storable(json.loads(data.decode("utf-8-sig"), parse_float=_parse_decimal, parse_int=_parse_integer, parse_constant=str))
    except (ValueError, RecursionError) as error:
        raise Invalid.field("file", f"is not JSON: {str(error)[:200]}") from None


def storable(value: Any) -> Any:
    """Return a parsed document with a replacement for each character that cannot be stored, in keys as well."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(REPLACEMENT, value)
    if isinstance(value, dict):
        return {storable(key): storable(child) for key, child in value.items()}
    return [storable(child) for child in value] if isinstance(value, list) else value


def _parse_decimal(text: str) -> Decimal | str:
    """Parse a number with a fraction or an exponent.

    A number with an extreme exponent stays text: its plain form has millions of digits and would exhaust memory.
    """
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    return number if isinstance(exponent, int) and len(text) <= MAX_DIGITS and abs(exponent) <= MAX_DIGITS else text


def _parse_integer(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text
