"""Strict JSON reader. It rejects ambiguous input, is fast, and never recurses into a client's nesting."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from webapp.api.v1.core.parameters import MAX_CONFIRMATIONS
from webapp.domain.shared.errors import FieldError, Invalid, Malformed, quote_text

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_DIGITS = 16  # 2^53 has 16. Beyond it, many clients lose digits.
MAX_DECIMAL_LENGTH = 30
TOO_MANY_DIGITS = b"0" * (MAX_DIGITS + 1)
# For bodies without escapes. An unterminated string matches to the end: a search for another start in it would take quadratic time.
STRING = re.compile(rb'"[^"]*"?')
NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'"[]{}')
BRACES_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else 32 for byte in range(256))
ParseFloat = Callable[[str], object]


def read_json_object(parse_float: ParseFloat | None = None) -> dict[str, Any]:
    """Return the JSON object in the request's body. Raises `Malformed` (400), or werkzeug's errors for 413 and 415."""
    return parse_json_object(_read_body(), parse_float)


def read_confirmed_object() -> tuple[dict[str, Any], list[str]]:
    """Return the object without its field `confirm`, and the keys in that field, which confirm the consequences of a change."""
    values = dict(read_json_object())
    keys = values.pop("confirm", [])
    if not isinstance(keys, list) or len(keys) > MAX_CONFIRMATIONS or not all(isinstance(key, str) for key in keys):
        raise Invalid.field("confirm", f"must be a list of at most {MAX_CONFIRMATIONS} keys of `confirmations`")
    return values, keys


def require_no_fields() -> None:
    """Require no body or an empty object. Raises `Malformed` for any field."""
    if request.content_length == 0 or (request.content_length is None and "Transfer-Encoding" not in request.headers):
        return
    if unknown := list(read_json_object()):
        raise Malformed.of(FieldError(name[:60], "is not a field that can be set here") for name in unknown)


def _read_body() -> bytes:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Send the body in UTF-8.")
    body = request.get_data(cache=False)
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLarge(f"A body may have {MAX_BYTES:,} bytes.")
    return body


def parse_json_object(body: bytes, parse_float: ParseFloat | None = None) -> dict[str, Any]:
    """Parse a JSON object. Raises `Malformed`, also for a number with a fraction unless `parse_float` takes it."""
    if is_too_deep(body):
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels, or its brackets do not match.", code="malformed_json")
    try:
        document = _decoder(body, parse_float or _reject_float).decode(body.decode("utf-8"))
        if b"\\u" in body:
            # A lone surrogate is not a character and cannot be encoded. Fractions are decimals, which only `str` can write.
            json.dumps(document, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeError:
        raise Malformed("The body is not UTF-8 text.", code="malformed_json") from None
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise Malformed(message, code="malformed_json") from None
    if not isinstance(document, dict):
        raise Malformed("The body must be a JSON object.", code="malformed_json")
    return document


def is_too_deep(body: bytes) -> bool:
    """Return whether brackets are left after `MAX_DEPTH` rounds of removing the innermost pairs."""
    brackets = _brackets(body)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _brackets(body: bytes) -> bytes:
    """Return the brackets outside of strings, with braces as square brackets."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Without escapes, a string without brackets is now an empty pair of quotes. A quote is left only if a string holds a bracket.
    brackets = body.translate(BRACES_TO_BRACKETS, NOT_STRUCTURE).replace(b'""', b"")
    if b'"' not in brackets:
        return brackets
    return STRING.sub(b"", body).translate(BRACES_TO_BRACKETS, NOT_STRUCTURE).replace(b'"', b"")


def _decoder(body: bytes, parse_float: ParseFloat) -> json.JSONDecoder:
    """Return the decoder for a body. It checks each integer only if one may be too long, because the check doubles the time."""
    return _decoder_of(parse_float, TOO_MANY_DIGITS in body.translate(DIGITS_AS_ZEROS))


@cache
def _decoder_of(parse_float: ParseFloat, checks_integers: bool) -> json.JSONDecoder:
    parse_int = _parse_integer if checks_integers else None
    return json.JSONDecoder(object_pairs_hook=_build_object, parse_float=parse_float, parse_int=parse_int, parse_constant=_reject_constant)


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise Malformed.of([FieldError(duplicate[:60], "is given twice")])
    return values


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Malformed(f"The number {quote_text(digits, 20)} is too large.")
    return int(digits)


def _reject_float(digits: str) -> None:
    raise Malformed(f"{quote_text(digits, 20)} is not an integer. Send amounts as strings and quantities as whole numbers.")


def parse_decimal(digits: str) -> Decimal:
    if len(digits) > MAX_DECIMAL_LENGTH:
        raise Malformed(f"The number {quote_text(digits, 20)} is too long.")
    return Decimal(digits)


def parse_float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Malformed(f"The number {quote_text(digits, 20)} is too large.")
    return number


def _reject_constant(name: str) -> None:
    raise Malformed(f"{name} is not a JSON value.", code="malformed_json")


def check_object(value: object, field: str) -> dict[str, Any]:
    """Return the value if it is an object. Raises `Invalid`."""
    if not isinstance(value, dict):
        raise Invalid.field(field, "must be an object")
    return value
