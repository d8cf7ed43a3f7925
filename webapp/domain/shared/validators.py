"""Validators of entered values. Each takes a value and its field name, and returns the clean value or raises `Invalid`.

The JSON endpoint and the forms share one table of checks per kind of row, so both reject the same values with the same messages.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from webapp.domain.shared import urls
from webapp.domain.shared.errors import FieldError, Invalid, Malformed, combine_errors
from webapp.domain.shared.money import AMOUNT_RULE, parse_amount
from webapp.domain.shared.timestamps import parse_day, parse_timestamp

Check = Callable[[object, str], Any]
SLUG = re.compile(r"[a-z0-9]([a-z0-9\-]{0,58}[a-z0-9])?", re.ASCII)
# Printable ASCII without spaces, like every vendor's model ids. Look-alike letters of other alphabets would allow duplicates.
MODEL_ID = re.compile(r"(?=[^A-Za-z0-9]*[A-Za-z0-9])[A-Za-z0-9@/~][A-Za-z0-9._:@/+~\-]{0,199}", re.ASCII)
HTTP_URL = re.compile(r"https?://[^\s\"'<>\\^`{|}]{1,480}", re.ASCII)
EMAIL = re.compile(r"[^\s@,;<>\"\x00-\x1f\x7f\ud800-\udfff]{1,64}@[A-Za-z0-9]([A-Za-z0-9.\-]{0,180}[A-Za-z0-9])?", re.ASCII)
FORBIDDEN_CATEGORIES = ("Cc", "Cs", "Co", "Cn")
ALLOWED_WHITESPACE = "\n\r\t"


def text(maximum: int, minimum: int = 0) -> Check:
    """Accept text within these lengths, trimmed and in Unicode NFC, without control characters or lone surrogates."""

    def check(value: object, field: str) -> str:
        if not isinstance(value, str):
            raise Invalid.field(field, "must be text")
        stripped = value.strip()
        if any(
            unicodedata.category(character) in FORBIDDEN_CATEGORIES and character not in ALLOWED_WHITESPACE
            for character in stripped[: maximum + 1]
        ):
            raise Invalid.field(field, "holds characters that cannot be shown")
        clean = unicodedata.normalize("NFC", stripped)
        if not minimum <= len(clean) <= maximum:
            raise Invalid.field(
                field, f"must have {minimum} to {maximum} characters" if minimum else f"must have at most {maximum} characters"
            )
        return clean

    return check


def amount(value: object, field: str) -> Decimal:
    """Accept a plain decimal string."""
    parsed = parse_amount(value)
    if parsed is None:
        raise Invalid.field(field, AMOUNT_RULE)
    return parsed


def line(maximum: int, minimum: int = 0) -> Check:
    """Accept text on one line."""
    checked = text(maximum, minimum)

    def check(value: object, field: str) -> str:
        clean: str = checked(value, field)
        if any(character in ALLOWED_WHITESPACE for character in clean):
            raise Invalid.field(field, "must be on one line")
        return clean

    return check


def regex(pattern: re.Pattern[str], message: str) -> Check:
    """Accept text that matches the whole pattern."""

    def check(value: object, field: str) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value.strip()) is None:
            raise Invalid.field(field, message)
        return value.strip()

    return check


def require_stable_in_urls(name: str, field: str) -> None:
    """Raise `Invalid` for a name that clients and proxies rewrite in a URL: one with `//` or a segment `.` or `..`."""
    if "//" in name or {".", ".."} & set(name.split("/")):
        raise Invalid.field(field, "must not contain //, /./ or /../, because clients and proxies rewrite such URLs: remove it")


slug = regex(SLUG, "must be 1 to 60 lower-case letters, digits and hyphens, such as acme-gateway")
model_id = regex(
    MODEL_ID,
    "must be 1 to 200 letters, digits and . _ : @ / + ~ - as the vendor spells it, such as gpt-4o-mini. "
    "It starts with a letter, a digit, @, / or ~",
)
url = regex(HTTP_URL, "must be an address that begins with https:// or http://")
email = regex(EMAIL, "must be an e-mail address")


def base_url(value: object, field: str) -> str:
    """Accept a provider's base URL that every URL parser reads alike."""
    address: str = url(value, field)
    try:
        urls.parse_base_url(address)
    except Invalid as error:
        raise Invalid.of([FieldError(field, error.detail)]) from None
    return address


def integer(minimum: int, maximum: int) -> Check:
    """Accept an integer, but not a bool, a float or a string."""

    def check(value: object, field: str) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            kind = Malformed if isinstance(value, Decimal) else Invalid
            raise kind.field(field, f"must be a whole number from {minimum:,} to {maximum:,}")
        return value

    return check


def boolean(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid.field(field, "must be true or false")
    return value


def choice(values: Sequence[str]) -> Check:
    """Accept one of these words."""

    def check(value: object, field: str) -> str:
        if not isinstance(value, str) or value not in values:
            raise Invalid.field(field, f"must be one of {', '.join(values)}")
        return value

    return check


def optional(check: Check) -> Check:
    """Accept None or a value that passes the check. Empty text counts as None."""

    def checked(value: object, field: str) -> Any:
        return None if value is None or value == "" else check(value, field)

    return checked


def list_of(check: Check, max_items: int) -> Check:
    """Accept a list, check each item and drop duplicates."""

    def checked(value: object, field: str) -> list[Any]:
        if not isinstance(value, list | tuple) or len(value) > max_items:
            raise Invalid.field(field, f"must be a list of at most {max_items}")
        return list(dict.fromkeys(check(item, f"{field}[{index}]") for index, item in enumerate(value)))

    return checked


def small_object(max_entries: int) -> Check:
    """Accept a small JSON object with text keys and at most three levels."""

    def check(value: object, field: str) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > max_entries or not _is_small_json(value, 3):
            raise Invalid.field(field, f"must be an object of at most {max_entries} entries and three levels")
        return value

    return check


def _is_small_json(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        names = all(isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() for name in value)
        return levels > 0 and names and all(_is_small_json(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels > 0 and len(value) <= 100 and all(_is_small_json(item, levels - 1) for item in value)
    if isinstance(value, str):
        return len(value) <= 2000 and not any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in value)
    return value is None or type(value) in (bool, int)


date: Check = parse_day
timestamp: Check = parse_timestamp


def nested(value: object, field: str, checks: Mapping[str, Check], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the clean values of a nested object. Errors carry the whole path."""
    if not isinstance(value, dict):
        raise Invalid.field(field, "must be an object")
    try:
        return validate(value, checks, required)
    except Invalid as error:
        raise type(error).of(FieldError(f"{field}.{inner.field}", inner.message) for inner in error.errors) from None


def validate(values: Mapping[str, object], checks: Mapping[str, Check], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the clean values. Raises one `Invalid` for all invalid or missing fields, or `Malformed` for unknown ones."""
    if unknown := [name for name in values if name not in checks]:
        raise Malformed.of(FieldError(name[:60], "is not a field that can be set here") for name in unknown)
    clean: dict[str, Any] = {}
    errors = [Invalid.field(name, "is required") for name in required if name not in values]
    for name, value in values.items():
        try:
            if isinstance(value, Decimal):
                raise Malformed.field(name, "must not be a number with a fraction: send amounts as strings and quantities as whole numbers")
            clean[name] = checks[name](value, name)
        except Invalid as error:
            errors.append(error)
    if errors:
        raise combine_errors(errors)
    return clean
