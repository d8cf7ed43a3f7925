"""Prompt templates: texts with placeholders that are replaced plainly, once. There is no template language, so nothing can be injected."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Incident
from webapp.domain.shared.errors import Invalid

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_]+)\s*\}\}")
LOOKS_LIKE_ONE = re.compile(r"\{\{[^{}\n]{0,80}\}\}")
VALUES: Mapping[str, Callable[[Incident], str]] = {
    "incident": answer_schema.user_text,
    "title": lambda incident: incident.title,
    "severity": lambda incident: incident.severity,
    "status": lambda incident: incident.status,
    "description": lambda incident: incident.description,
    "alerts": answer_schema.alerts_text,
    "metadata": answer_schema.metadata_text,
}
CATEGORIES = ("incident", "summary", "chat", "other")  # Suggestions: a category is any word.


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a prompt template. `cache_minutes` 0: every answer is asked for anew."""

    name: str
    version: int
    title: str
    category: str
    system: str
    user: str
    preferred_model: str | None = None
    temperature: Decimal | None = None
    max_tokens: int | None = None
    cache_minutes: int = 0
    active: bool = True


BUILT_IN = Template(answer_schema.TEMPLATE, 1, "Incident analysis", "incident", answer_schema.SYSTEM_PROMPT, "{{incident}}")


class Rendered(NamedTuple):
    """What would be sent."""

    system: str
    user: str


def rendered(template: Template, incident: Incident) -> Rendered:
    """The texts with the incident put in. What is put in is never looked at again, whatever it holds."""
    return Rendered(_filled(template.system, incident), _filled(template.user, incident))


def _filled(text: str, incident: Incident) -> str:
    return PLACEHOLDER.sub(lambda match: VALUES[match[1]](incident) if match[1] in VALUES else match[0], text)


def checked_text(text: str, field: str, *, needs_incident: bool) -> str:
    """The text, if every placeholder in it is known. Raises `Invalid` naming the field."""
    known = ", ".join(f"{{{{{name}}}}}" for name in VALUES)
    for found in LOOKS_LIKE_ONE.findall(text):
        match = PLACEHOLDER.fullmatch(found)
        if match is None or match[1] not in VALUES:
            raise Invalid.field(field, f"holds {found[:60]}, which is no placeholder; known are {known}")
    if needs_incident and not PLACEHOLDER.search(text):
        raise Invalid.field(field, f"says nothing about the incident: use at least one of {known}")
    return text


class Line(NamedTuple):
    """One line of a comparison: `mark` is + for added, - for removed, and a space for what stayed."""

    mark: str
    text: str


def differences(before: str, after: str) -> Iterator[Line]:
    """The lines of both texts, in order, with what was added and removed."""
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line[:1] in "+- ":
            yield Line(line[0], line[2:])
