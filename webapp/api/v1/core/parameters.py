"""Strict query parameters, each declared once for parsing and for the description. Unknown, repeated or invalid ones are rejected."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flask import request

from webapp.domain.pricing.service_tiers import SERVICE_TIERS, TIER_SYNONYMS, parse_service_tier
from webapp.domain.shared.errors import FieldError, Invalid, Malformed, quote_text
from webapp.domain.shared.timestamps import parse_timestamp

MAX_CONFIRMATIONS = 100
DIGITS = re.compile(r"-?[0-9]{1,16}", re.ASCII)
BOOLEAN_WORDS: Mapping[str, bool] = {"true": True, "false": False}
Parse = Callable[[str, str], Any]


class Parameter(NamedTuple):
    """One query parameter. `parse` takes the text and the name and raises `Invalid`. `schema` describes the parameter."""

    name: str
    parse: Parse
    schema: Mapping[str, Any]
    description: str
    required: bool = False


def read_query(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the parsed parameters of the request. Raises one `Malformed` that names every invalid or missing parameter."""
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    arguments = request.args
    for parameter in parameters:
        text = arguments.get(parameter.name)
        if text is None:
            errors += [FieldError(parameter.name, "is required")] if parameter.required else []
            continue
        try:
            values[parameter.name] = parameter.parse(text, parameter.name)
        except Invalid as error:
            errors.extend(error.errors)
    if errors:
        raise Malformed.of(errors)
    return values


def require_known_parameters(parameters: Sequence[Parameter]) -> None:
    """Raise `Malformed` for undeclared parameters and for those given twice."""
    known = {parameter.name for parameter in parameters}
    errors = [
        FieldError(name[:60], "is given twice" if name in known else "is not a parameter of this address")
        for name, values in request.args.lists()
        if name not in known or len(values) > 1
    ]
    if errors:
        raise Malformed(f"{quote_text(errors[0].field)} {errors[0].message}.", errors)


def parse_integer(text: str, name: str) -> int:
    """Parse a whole number in ASCII digits. The caller checks its range."""
    if DIGITS.fullmatch(text) is None:
        raise Invalid.field(name, "must be a whole number")
    return int(text)


def integer_range_parser(minimum: int, maximum: int) -> Parse:
    """Return a parser for a whole number in this range."""

    def parse(text: str, name: str) -> int:
        number = parse_integer(text, name)
        if not minimum <= number <= maximum:
            raise Invalid.field(name, f"must be a whole number from {minimum} to {maximum}")
        return number

    return parse


def parse_boolean(text: str, name: str) -> bool:
    if text not in BOOLEAN_WORDS:
        raise Invalid.field(name, "must be true or false")
    return BOOLEAN_WORDS[text]


def parse_text(text: str, name: str) -> str:
    """Parse printable text of reasonable length."""
    if not 0 < len(text) <= 300 or not text.isprintable():
        raise Invalid.field(name, "must be 1 to 300 printable characters")
    return text


def parse_ref(text: str, name: str) -> str:
    """Parse any text that could be a ref. A ref that names no model causes a 404 later."""
    if not text or len(text) > 2_000 or not text.isprintable():
        raise Invalid.field(name, "must be a ref such as openai/gpt-4o-mini")
    return text


def choice_parser(words: Sequence[str]) -> Parse:
    def parse(text: str, name: str) -> str:
        if text not in words:
            raise Invalid.field(name, f"must be one of {', '.join(words)}")
        return text

    return parse


INTEGER: Mapping[str, Any] = {"type": "integer"}
TEXT: Mapping[str, Any] = {"type": "string"}
BOOLEAN: Mapping[str, Any] = {"type": "boolean"}


def choice_parameter(name: str, words: Sequence[str], description: str) -> Parameter:
    """Return a parameter that takes one of these words."""
    return Parameter(name, choice_parser(words), {"type": "string", "enum": list(words)}, description)


def parse_keys(text: str, name: str) -> list[str]:
    """Parse the keys of confirmations, separated by commas."""
    keys = text.split(",")
    if len(keys) > MAX_CONFIRMATIONS:
        raise Invalid.field(name, f"must have at most {MAX_CONFIRMATIONS} keys")
    return keys


CONFIRM = Parameter(
    "confirm", parse_keys, TEXT, "Keys of the `confirmations` of a response with the code `confirmation_required`, separated by commas."
)
CONFIRM_QUERY = (CONFIRM,)
SERVICE_TIER = Parameter(
    "service_tier",
    parse_service_tier,
    {"type": "string", "enum": [*SERVICE_TIERS, *TIER_SYNONYMS]},
    "The service tier of the call; standard if left out.",
)
MODEL = Parameter("model", parse_ref, TEXT, "A ref, alias or bare model id.", required=True)
AT = Parameter("at", parse_timestamp, {"type": "string", "format": "date-time"}, "The moment in question; now if left out.")
LIMIT = Parameter(
    "limit", integer_range_parser(1, 200), {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "Rows on a page."
)
CURSOR = Parameter("cursor", parse_text, TEXT, "The `next_cursor` of the page before, with the same filters and sort.")
SEARCH = Parameter("q", parse_text, TEXT, "Rows whose names hold this text, whatever its case.")
