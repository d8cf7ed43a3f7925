"""Prompt templates: texts whose placeholders are replaced once. There is no template language, so nothing can be injected."""

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
CATEGORIES = ("incident", "summary", "chat", "other")  # Suggestions only. A category can be any word.


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a prompt template. With `cache_minutes` 0, responses are not cached."""

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
    """The prompt texts to send."""

    system: str
    user: str


def render_prompt(template: Template, incident: Incident) -> RenderedPrompt:
    """Return the texts with the incident inserted. Inserted values are never scanned again."""
    return RenderedPrompt(_fill_placeholders(template.system, incident), _fill_placeholders(template.user, incident))


def _fill_placeholders(text: str, incident: Incident) -> str:
    return PLACEHOLDER.sub(lambda match: PLACEHOLDER_VALUES[match[1]](incident) if match[1] in PLACEHOLDER_VALUES else match[0], text)


def validate_template_text(text: str, field: str, *, needs_incident: bool) -> str:
    """Return the text if every placeholder in it is known. Raises `Invalid` naming the field."""
    known = ", ".join(f"{{{{{name}}}}}" for name in PLACEHOLDER_VALUES)
    for placeholder in PLACEHOLDER_CANDIDATE.findall(text):
        match = PLACEHOLDER.fullmatch(placeholder)
        if match is None or match[1] not in PLACEHOLDER_VALUES:
            raise Invalid.field(field, f"holds {placeholder[:60]}, which is no placeholder; known are {known}")
    if needs_incident and not PLACEHOLDER.search(text):
        raise Invalid.field(field, f"says nothing about the incident: use at least one of {known}")
    return text


class TextDiffLine(NamedTuple):
    """One line of a comparison. `mark` is + for added, - for removed, and a space for unchanged."""

    mark: str
    text: str


def diff_lines(before: str, after: str) -> Iterator[TextDiffLine]:
    """Yield the lines of both texts in order, marked as added, removed or unchanged."""
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line[:1] in "+- ":
            yield TextDiffLine(line[0], line[2:])
