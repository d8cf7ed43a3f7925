"""Edit conflicts: when two people edit one row, the second sees both versions side by side, and no input is lost.

The form carries the row's version and the values it was filled from (`row_base`, as JSON). Those values are only compared with the input.
The version alone decides whether a change is stored, so a forged `row_base` misleads only its sender.
"""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import request
from sqlalchemy import select

from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.three_way_merge import FieldConflict, merge
from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.web.auth import has_permission

VERSION_FIELD, BASE_FIELD, TAKE_FIELD = "row_version", "row_base", "take"


@dataclass(frozen=True, slots=True)
class EditConflict:
    """Conflict notice above the fields of a form."""

    changed_by: str | None
    changed_at: datetime | None
    merged_labels: list[str]
    conflicts: list[tuple[str, FieldConflict]]  # Each with the field's label.


def prepare_form(form: Any, row_values: Mapping[str, Any]) -> Any:
    """Store the form's initial values in it. On POST, apply the other user's changes that the sender selected."""
    if request.method != "POST":
        form[BASE_FIELD].data = json.dumps(comparable_texts(row_values), ensure_ascii=False)
    for name in request.form.getlist(TAKE_FIELD) if request.method == "POST" else ():
        if name in comparable_texts(row_values):
            form[name].data = row_values[name]
    return form


def show_conflict(form: Any, row_values: Mapping[str, Any], kind: str, row_id: int, actions: Collection[str] = ()) -> None:
    """Prepare an outdated form for another submission. Fields that the sender did not change get the other user's values.

    `actions` names the audit actions that change the form's fields. It is needed if the row has other events, such as sign-ins.
    """
    current = comparable_texts(row_values)
    merged = merge(_read_base(form), current, comparable_texts({name: form[name].data for name in current}))
    for name in merged.accepted:
        form[name].data = row_values[name]
    form[VERSION_FIELD].data, form[BASE_FIELD].data = row_values[VERSION_FIELD], json.dumps(current, ensure_ascii=False)
    changed_by, changed_at = _last_change(kind, row_id, actions)
    labels = {name: str(form[name].label.text) for name in current}
    form.edit_conflict = EditConflict(
        changed_by, changed_at, [labels[name] for name in merged.accepted], [(labels[clash.field], clash) for clash in merged.conflicts]
    )


def comparable_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of fields as texts that people can compare."""
    return {name: _comparable_text(value) for name, value in values.items() if name != VERSION_FIELD}


def _comparable_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(sorted(map(str, value)))
    return "" if value is None else str(value)


def _read_base(form: Any) -> dict[str, str]:
    """Return the values the form was filled from, without those that are unreadable."""
    with suppress(ValueError, RecursionError):
        base = json.loads(form[BASE_FIELD].data or "{}")
        if isinstance(base, dict):
            return {name: text for name, text in base.items() if isinstance(text, str)}
    return {}


def _last_change(kind: str, row_id: int, actions: Collection[str]) -> tuple[str | None, datetime | None]:
    """Return who changed the row last and when, if the user can read the audit log."""
    if not has_permission(Permission.AUDIT_READ):
        return None, None
    query = select(AuditEvent.actor, AuditEvent.created_at).where(AuditEvent.target_kind == kind, AuditEvent.target_id == row_id)
    if actions:
        query = query.where(AuditEvent.action.in_(actions))
    event = db.session.execute(query.order_by(AuditEvent.id.desc()).limit(1)).one_or_none()
    return (event.actor, event.created_at) if event else (None, None)
