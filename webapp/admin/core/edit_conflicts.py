"""When two people edit one row: the second is shown both versions beside each other, and nothing of either is lost.

The form carries what it was filled from (`row_base`, as JSON) beside the version of the row. It is only compared with what is typed;
whether a change is stored is decided by the version alone, so a form that lies about it deceives nobody but its sender.
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
    """What the form says above its fields."""

    changed_by: str | None
    changed_at: datetime | None
    merged_labels: list[str]
    clashes: list[tuple[str, FieldConflict]]  # With the field's label.


def prepare_form(form: Any, typed: Mapping[str, Any]) -> Any:
    """Writes into a form what it is filled from; once it is sent, puts what was chosen of the others' changes into it."""
    if request.method != "POST":
        form[BASE_FIELD].data = json.dumps(comparable_texts(typed), ensure_ascii=False)
    for name in request.form.getlist(TAKE_FIELD) if request.method == "POST" else ():
        if name in comparable_texts(typed):
            form[name].data = typed[name]
    return form


def show_conflict(form: Any, typed: Mapping[str, Any], kind: str, row_id: int, actions: Collection[str] = ()) -> None:
    """Makes a form that was overtaken one that can be sent again: with the others' changes where the sender made none.

    `actions` are those that change what the form shows, where the trail has others of the same row, such as sign-ins.
    """
    theirs = comparable_texts(typed)
    found = merge(_read_base(form), theirs, comparable_texts({name: form[name].data for name in theirs}))
    for name in found.accepted:
        form[name].data = typed[name]
    form[VERSION_FIELD].data, form[BASE_FIELD].data = typed[VERSION_FIELD], json.dumps(theirs, ensure_ascii=False)
    who, at = _last_change(kind, row_id, actions)
    labels = {name: str(form[name].label.text) for name in theirs}
    form.merging = EditConflict(
        who, at, [labels[name] for name in found.accepted], [(labels[clash.field], clash) for clash in found.conflicts]
    )


def comparable_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The values of fields as the texts that people compare."""
    return {name: _comparable_text(value) for name, value in values.items() if name != VERSION_FIELD}


def _comparable_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(sorted(map(str, value)))
    return "" if value is None else str(value)


def _read_base(form: Any) -> dict[str, str]:
    """What the form was filled from, as far as it says so in a way that can be read."""
    with suppress(ValueError, RecursionError):
        found = json.loads(form[BASE_FIELD].data or "{}")
        if isinstance(found, dict):
            return {name: text for name, text in found.items() if isinstance(text, str)}
    return {}


def _last_change(kind: str, row_id: int, actions: Collection[str]) -> tuple[str | None, datetime | None]:
    """Who changed it last and when, for those who may read the trail."""
    if not has_permission(Permission.AUDIT_READ):
        return None, None
    query = select(AuditEvent.actor, AuditEvent.created_at).where(AuditEvent.target_kind == kind, AuditEvent.target_id == row_id)
    if actions:
        query = query.where(AuditEvent.action.in_(actions))
    found = db.session.execute(query.order_by(AuditEvent.id.desc()).limit(1)).one_or_none()
    return (found.actor, found.created_at) if found else (None, None)
