"""What somebody pastes, read as an incident: its own JSON, an Alertmanager payload, or plain text."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from webapp.domain.incidents.alertmanager import incident_from_payload, is_alertmanager
from webapp.domain.incidents.incidents import MAX_TITLE, Incident, incident_dict, incident_from
from webapp.domain.shared.errors import Invalid, Malformed, ModeldeskError

MAX_INPUT_LENGTH = 100_000
MAX_DIGITS = 18
FIELD = "incident"
INCIDENT, ALERTMANAGER, TEXT = "incident", "alertmanager", "text"


@dataclass(frozen=True, slots=True)
class ParsedIncident:
    """An incident, and as what it was read."""

    kind: str
    incident: Incident


def parse_incident(text: str) -> ParsedIncident:
    """The incident in a text. Raises `Invalid` whose message says what to change."""
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Invalid.field(FIELD, "is empty: choose a sample, or paste an incident")
    if len(text) > MAX_INPUT_LENGTH:
        raise Invalid.field(FIELD, f"is longer than {MAX_INPUT_LENGTH:,} characters: leave out what does not matter")
    if text[0] not in "{[":
        return ParsedIncident(TEXT, _parse_plain_text(text))
    try:
        found = _DECODER.decode(text)
    except Invalid:
        raise
    except (ValueError, RecursionError) as error:
        # “[FIRING:1] HostOutOfMemory” begins like JSON too.
        if text[0] == "[":
            return ParsedIncident(TEXT, _parse_plain_text(text))
        raise Malformed.field(FIELD, f"begins like JSON but is not: {_describe_json_error(error)}") from None
    if not isinstance(found, dict):
        raise Malformed.field(FIELD, "is a list: paste one incident, or the whole payload of one Alertmanager webhook")
    return ParsedIncident(ALERTMANAGER if is_alertmanager(found) else INCIDENT, incident_from_payload(found))


def dump_incident(incident: Incident) -> str:
    """An incident as the text that reads back as the same one."""
    return json.dumps(incident_dict(incident), indent=2, ensure_ascii=False)


def _parse_plain_text(text: str) -> Incident:
    """The first line is the title, the rest the description. A first line that is too long is both."""
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
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed.field(FIELD, f"names {twice[:60]} twice in one object")
    return found


def _bounded_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Malformed.field(FIELD, f"holds a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _reject_constant(name: str) -> NoReturn:
    raise Malformed.field(FIELD, f"holds {name}, which is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_int=_bounded_integer, parse_constant=_reject_constant)


def list_messages(error: ModeldeskError) -> list[str]:
    """What is wrong with a pasted text, a sentence each."""
    errors = error.errors if isinstance(error, Invalid) else ()
    return [f"{found.field} {found.message}" for found in errors] or [error.detail]
