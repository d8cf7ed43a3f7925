"""The preview of a prompt template: the words that an incident makes of it, who would answer, and about what that costs."""

from collections.abc import Mapping
from typing import Any

from webapp.admin.runs.tryit import preview_incident
from webapp.domain.incidents import parsing
from webapp.domain.incidents.incidents import Incident, incident_from
from webapp.domain.incidents.parsing import ParsedIncident
from webapp.domain.incidents.prompt_templates import render_prompt
from webapp.domain.incidents.samples import SAMPLES, SAMPLES_BY_SLUG
from webapp.domain.shared.errors import Invalid
from webapp.extensions import db
from webapp.models import PromptTemplate, SavedIncident
from webapp.services.runs import prompt_templates, saved_incidents

SAVED_PREFIX = "kept-"  # The prefix of a kept incident's number among the choices.


def build_preview(row: PromptTemplate, given: Mapping[str, str]) -> dict[str, Any]:
    """What the preview of one version shows; pasted text wins over the choice."""
    kept, text = saved_incidents.list_all(db.session()), given.get("incident", "").strip()
    chosen = given.get("sample", "")
    shown: dict[str, Any] = {"samples": SAMPLES, "kept": kept, "sample": chosen, "pasted_text": text, "words": None}
    try:
        read = parsing.parse_incident(text) if text else ParsedIncident(parsing.INCIDENT, _selected_incident(chosen, kept))
    except Invalid as error:
        return shown | {"plan": None, "errors": {"incident": "; ".join(parsing.list_messages(error))}}
    words = render_prompt(prompt_templates.value_of(row), read.incident)
    return shown | {"words": words} | preview_incident({"kind": read.kind, "incident": read.incident, "model": "", "template": row.name})


def _selected_incident(choice: str, kept: list[SavedIncident]) -> Incident:
    row = next((row for row in kept if choice == f"{SAVED_PREFIX}{row.id}"), None)
    if row is not None:
        return incident_from(row.incident)
    return (SAMPLES_BY_SLUG.get(choice) or SAMPLES[0]).incident()
