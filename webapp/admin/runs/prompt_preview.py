"""The preview of a prompt template: the rendered prompt, the model that would respond, and the estimated cost."""

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

SAVED_PREFIX = "kept-"  # The prefix of a saved incident's id among the options.


def build_preview(row: PromptTemplate, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the preview of one template version. Pasted text takes precedence over the selected incident."""
    saved, text = saved_incidents.list_all(db.session()), values.get("incident", "").strip()
    selected = values.get("sample", "")
    preview: dict[str, Any] = {"samples": SAMPLES, "kept": saved, "sample": selected, "pasted_text": text, "words": None}
    try:
        parsed = parsing.parse_incident(text) if text else ParsedIncident(parsing.INCIDENT, _selected_incident(selected, saved))
    except Invalid as error:
        return preview | {"plan": None, "errors": {"incident": "; ".join(parsing.list_messages(error))}}
    prompt = render_prompt(prompt_templates.value_of(row), parsed.incident)
    return (
        preview
        | {"words": prompt}
        | preview_incident({"kind": parsed.kind, "incident": parsed.incident, "model": "", "template": row.name})
    )


def _selected_incident(choice: str, saved: list[SavedIncident]) -> Incident:
    row = next((row for row in saved if choice == f"{SAVED_PREFIX}{row.id}"), None)
    if row is not None:
        return incident_from(row.incident)
    return (SAMPLES_BY_SLUG.get(choice) or SAMPLES[0]).incident()
