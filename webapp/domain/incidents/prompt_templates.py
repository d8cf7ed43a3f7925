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
PLACEHOLDER_CANDIDATE = re.compile(r"\{\{[^{}\n]{0,80}\}\}")
PLACEHOLDER_VALUES: Mapping[str, Callable[[Incident], str]] = {
    "incident": answer_schema.format_incident,
    "title": lambda incident: incident.title,
    "severity": lambda incident: incident.severity,
    "status": lambda incident: incident.status,
    "description": lambda incident: incident.description,
    "alerts": answer_schema.format_alerts,
    "metadata": answer_schema.format_metadata,
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


BUILT_IN = Template(answer_schema.TEMPLATE_NAME, 1, "Incident analysis", "incident", answer_schema.SYSTEM_PROMPT, "{{incident}}")


class RenderedPrompt(NamedTuple):
    """What would be sent."""

    system: str
    user: str


def render_prompt(template: Template, incident: Incident) -> RenderedPrompt:
    """The texts with the incident put in. What is put in is never looked at again, whatever it holds."""
    return RenderedPrompt(_fill_placeholders(template.system, incident), _fill_placeholders(template.user, incident))


def _fill_placeholders(text: str, incident: Incident) -> str:
    return PLACEHOLDER.sub(lambda match: PLACEHOLDER_VALUES[match[1]](incident) if match[1] in PLACEHOLDER_VALUES else match[0], text)


def validate_template_text(text: str, field: str, *, needs_incident: bool) -> str:
    """The text, if every placeholder in it is known. Raises `Invalid` naming the field."""
    known = ", ".join(f"{{{{{name}}}}}" for name in PLACEHOLDER_VALUES)
    for found in PLACEHOLDER_CANDIDATE.findall(text):
        match = PLACEHOLDER.fullmatch(found)
        if match is None or match[1] not in PLACEHOLDER_VALUES:
            raise Invalid.field(field, f"holds {found[:60]}, which is no placeholder; known are {known}")
    if needs_incident and not PLACEHOLDER.search(text):
        raise Invalid.field(field, f"says nothing about the incident: use at least one of {known}")
    return text


class TextDiffLine(NamedTuple):
    """One line of a comparison: `mark` is + for added, - for removed, and a space for what stayed."""

    mark: str
    text: str


def diff_lines(before: str, after: str) -> Iterator[TextDiffLine]:
    """The lines of both texts, in order, with what was added and removed."""
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line[:1] in "+- ":
            yield TextDiffLine(line[0], line[2:])
