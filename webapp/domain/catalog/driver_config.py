"""Validation of a provider's `config`: how a driver builds requests for a non-standard server. It is data only, never code."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from webapp.domain.shared.errors import FieldError, Invalid

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,2000}", re.ASCII)
AUTH_SCHEME = re.compile(r"[\x21-\x7e]{0,40}", re.ASCII)
REQUEST_PATH = re.compile(
    r"(?!.*//)(?!.*/\.{1,2}(/|$))/[A-Za-z0-9._~:@/-]{0,200}", re.ASCII
)  # No `..`: the path must stay below the base URL.
RESPONSE_PATH = re.compile(r"[A-Za-z0-9_-]{1,60}(\.[A-Za-z0-9_-]{1,60}){0,9}", re.ASCII)
PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]*)\s*\}\}")
# Headers that frame the message or belong to the connection, and cookies.
RESERVED_HEADERS = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "cookie",
        "accept-encoding",
        "proxy-authorization",
        "content-type",
    }
)
MAX_HEADERS = 20
TOKEN_PARAMETERS = ("max_completion_tokens", "max_tokens")
JSON_MODES = ("json_schema", "json_object", "prompt")
PLACEHOLDERS = ("model", "system", "user", "max_tokens", "temperature", "schema")
RESPONSE_PARTS = ("text", "finish", "model", "input", "output", "cache_read", "cache_write", "reasoning")
MAX_DEPTH = 8

Values = Mapping[str, Any]


def validate_config(value: object, field: str) -> dict[str, Any]:
    """Return the config if a driver can use it. Raises `Invalid` that names every invalid entry."""
    if not isinstance(value, dict):
        raise Invalid.field(field, "must be an object")
    errors = [FieldError(f"{field}.{str(name)[:60]}", message) for name, message in _config_errors(value)]
    if errors:
        raise Invalid.of(errors)
    return dict(value)


def _config_errors(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        check = CHECKS.get(name)
        if check is None:
            yield str(name), f"is not known here; known are {', '.join(CHECKS)}"
        elif value is not None and (message := check(value)):
            yield name, message
    if config.get("response_paths") and not config.get("request_template"):
        yield "response_paths", "say where the answer to a request template lies: give a request_template too"
    if config.get("request_template") and "text" not in (config.get("response_paths") or {"text": ""}):
        yield "response_paths", "must say where the text lies, such as choices.0.message.content"


def _pattern_check(pattern: re.Pattern[str], message: str) -> Callable[[object], str | None]:
    return lambda value: None if isinstance(value, str) and pattern.fullmatch(value) else message


def _choice_check(words: tuple[str, ...]) -> Callable[[object], str | None]:
    return lambda value: None if value in words else f"must be one of {', '.join(words)}"


def _check_auth_header(value: object) -> str | None:
    if value == "":
        return None
    if not isinstance(value, str) or HEADER_NAME.fullmatch(value) is None:
        return "must be the name of a header, such as X-Api-Key"
    return f"must not be {value}: that header frames the message" if value.lower() in RESERVED_HEADERS else None


def _check_headers(value: object) -> str | None:
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        return f"must be an object of at most {MAX_HEADERS} headers"
    for name, text in value.items():
        if HEADER_NAME.fullmatch(name) is None:
            return f"holds {name[:40]!r}, which is no name of a header"
        if name.lower() in RESERVED_HEADERS or name.lower() == "authorization":
            return f"must not hold {name}: it belongs to the message or to the key"
        if not isinstance(text, str) or HEADER_VALUE.fullmatch(text) is None:
            return f"holds a value of {name} that is no plain text on one line"
    return None


def _check_request_template(value: object) -> str | None:
    if not isinstance(value, dict) or not value:
        return "must be a JSON object"
    unknown = sorted({name for text in _texts(value, MAX_DEPTH) for name in PLACEHOLDER.findall(text)} - set(PLACEHOLDERS))
    if unknown:
        known = ", ".join(f"{{{{{name}}}}}" for name in PLACEHOLDERS)
        return f"holds {{{{{unknown[0][:40]}}}}}, which is not known; known are {known}"
    used = {name for text in _texts(value, MAX_DEPTH) for name in PLACEHOLDER.findall(text)}
    return None if "user" in used else "must hold {{user}}: the question would not be asked"


def _texts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    if depth <= 0:
        return
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item, depth - 1)


def _check_response_paths(value: object) -> str | None:
    if not isinstance(value, dict):
        return "must be an object of paths"
    for name, path in value.items():
        if name not in RESPONSE_PARTS:
            return f"holds {str(name)[:40]!r}; known are {', '.join(RESPONSE_PARTS)}"
        if not isinstance(path, str) or RESPONSE_PATH.fullmatch(path) is None:
            return f"holds a path for {name} that is not like choices.0.message.content"
    return None


CHECKS: Mapping[str, Callable[[object], str | None]] = {
    "auth_header": _check_auth_header,
    "auth_prefix": _pattern_check(AUTH_SCHEME, "must be at most 40 printable characters without spaces, such as Token; empty for none"),
    "extra_headers": _check_headers,
    "token_parameter": _choice_check(TOKEN_PARAMETERS),
    "json_mode": _choice_check(JSON_MODES),
    "path": _pattern_check(REQUEST_PATH, "must be a path such as /chat/completions, without . or .. or empty parts"),
    "request_template": _check_request_template,
    "response_paths": _check_response_paths,
}


def request_overrides(base_url: str | None, config: Values) -> Values:
    """Return the parts of the config that change the request from the driver's standard chat request, or an empty mapping.

    They decide what a key is used for, within the address that the key is bound to.
    """
    overrides = {name: config[name] for name in ("path", "request_template") if config.get(name)}
    return overrides | {"base_url": base_url, **{name: config.get(name) for name in ("auth_header", "auth_prefix")}} if overrides else {}


def fill_template(template: object, values: Values) -> Any:
    """Return the template with its placeholders replaced once. Inserted values are never scanned again.

    A text that consists of one placeholder becomes the value itself, such as a number for {{max_tokens}}. Entries without a value are
    omitted.
    """
    if isinstance(template, dict):
        filled = {name: fill_template(part, values) for name, part in template.items()}
        return {name: part for name, part in filled.items() if part is not ABSENT}
    if isinstance(template, list):
        return [part for part in (fill_template(item, values) for item in template) if part is not ABSENT]
    if not isinstance(template, str):
        return template
    if (single := PLACEHOLDER.fullmatch(template)) is not None:
        value = values.get(single[1])
        return ABSENT if value is None else value
    return PLACEHOLDER.sub(lambda match: _format_placeholder(values.get(match[1])), template)


ABSENT = object()


def _format_placeholder(value: object) -> str:
    return "" if value is None else str(value)


def value_at(document: object, path: str) -> object:
    """Return the value at a dotted path of a response, or None."""
    for step in path.split("."):
        if isinstance(document, Mapping):
            document = document.get(step)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and int(step[:6]) < len(document):
            document = document[int(step[:6])]
        else:
            return None
    return document
