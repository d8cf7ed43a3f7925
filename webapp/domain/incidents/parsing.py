"""Parser of pasted incidents: native JSON, an Alertmanager payload, or plain text."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from webapp.domain.incidents.alertmanager import incident_from_payload, is_alertmanager
from webapp.domain.incidents.incidents import MAX_TITLE, Incident, incident_document, incident_from
from webapp.domain.shared.errors import Invalid, Malformed, ModeldeskError

MAX_INPUT_LENGTH = 100_000
MAX_DIGITS = 18
FIELD = "incident"
INCIDENT, ALERTMANAGER, TEXT = "incident", "alertmanager", "text"


@dataclass(frozen=True, slots=True)
class ParsedIncident:
    """An incident and its input format."""

    kind: str
    incident: Incident


def parse_incident(text: str) -> ParsedIncident:
    """Return the incident in a text. Raises `Invalid` with a message that says what to change."""
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Invalid.field(FIELD, "is empty: choose a sample, or paste an incident")
    if len(text) > MAX_INPUT_LENGTH:
        raise Invalid.field(FIELD, f"is longer than {MAX_INPUT_LENGTH:,} characters: leave out what does not matter")
    if text[0] not in "{[":
        return ParsedIncident(TEXT, _parse_plain_text(text))
    try:
        parsed = _DECODER.decode(text)
    except Invalid:
        raise
    except (ValueError, RecursionError) as error:
        # A plain-text title such as “[FIRING:1] HostOutOfMemory” also starts with a bracket.
        if text[0] == "[":
            return ParsedIncident(TEXT, _parse_plain_text(text))
        raise Malformed.field(FIELD, f"begins like JSON but is not: {_describe_json_error(error)}") from None
    if not isinstance(parsed, dict):
        raise Malformed.field(FIELD, "is a list: paste one incident, or the whole payload of one Alertmanager webhook")
    return ParsedIncident(ALERTMANAGER if is_alertmanager(parsed) else INCIDENT, incident_from_payload(parsed))


def dump_incident(incident: Incident) -> str:
    """Return an incident as text that parses back to an equal incident."""
    return json.dumps(incident_document(incident), indent=2, ensure_ascii=False)


def _parse_plain_text(text: str) -> Incident:
    """Return an incident with the first line as its title and the rest as its description.

    A first line that is too long is shortened, and the description then has the whole text.
    """
    first, _, rest = text.partition("\n")
    title = " ".join(first.split())
    if len(title) > MAX_TITLE:
        title, rest = f"{title[: MAX_TITLE - 1]}…", text
    return incident_from({"title": title, "description": rest.strip()})


def _describe_json_error(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}, column {error.colno}. Plain text must not begin with a brace"
    return "it is nested too deep" if isinstance(error, RecursionError) else "it holds a number that is too long"


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise Malformed.field(FIELD, f"names {duplicate[:60]} twice in one object")
    return members


def _bounded_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Malformed.field(FIELD, f"holds a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _reject_constant(name: str) -> NoReturn:
    raise Malformed.field(FIELD, f"holds {name}, which is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_int=_bounded_integer, parse_constant=_reject_constant)


def list_messages(error: ModeldeskError) -> list[str]:
    """Return the errors in a pasted text, one sentence each."""
    errors = error.errors if isinstance(error, Invalid) else ()
    return [f"{field_error.field} {field_error.message}" for field_error in errors] or [error.detail]
