"""The audit log: who did what and when, with the values before and after. The log itself is read-only."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from flask import request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from markupsafe import Markup
from sqlalchemy import ColumnElement, or_

from webapp.admin.audit.event_text import RESOURCE_VERBS, VERBS, describe_event, list_value_changes, matching_action_suffixes, target_url
from webapp.admin.core.confirmations import confirmed_keys
from webapp.admin.core.filters import ChoiceFilter, Filter, SinceFilter
from webapp.admin.core.formatters import tag, time_tag
from webapp.admin.core.lists import ChangeResult, RowsView
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.field_changes import format_value
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.models.text_search import contains_text
from webapp.runtime import container
from webapp.services.restore import restore as restoring
from webapp.web.auth import has_permission

TARGET_KINDS = (
    "model",
    "provider",
    "proposal",
    "project",
    "template",
    "bench",
    "run",
    "incident",
    "user",
    "request",
    "token",
    "catalog",
    "cache",
    "keys",
    "database",
)
SEARCH_COLUMNS = (AuditEvent.target_name, AuditEvent.actor, AuditEvent.action, AuditEvent.request_id)


class AuditLog(RowsView):
    """All audit events, newest first."""

    needs = Permission.AUDIT_READ
    table = AuditEvent
    singular_name = "event"
    purpose = "Every change: who, what, when, and the values before and after. Keys appear as fingerprints only."
    empty_title = "Nothing has happened yet"
    empty_text = "Every change is written down here in the moment it is made."
    can_create = can_edit = can_delete = False
    simple_list_pager = True  # Counting would read the whole audit log for every page.
    details_template = "admin/audit/details.html"
    column_list = ("what", "target_kind", "changed", "actor", "created_at")
    column_labels: ClassVar[dict[str, str]] = {
        "what": "What",
        "target_kind": "Kind",
        "changed": "Fields",
        "actor": "Who",
        "created_at": "When",
    }
    sort_by: ClassVar[Mapping[str, Any]] = {"created_at": AuditEvent.id, "actor": AuditEvent.actor, "target_kind": AuditEvent.target_kind}
    default_order = (AuditEvent.id.desc(),)
    column_filters = (
        Filter("Actor", lambda text: contains_text(AuditEvent.actor, text)),
        ChoiceFilter(
            "Action",
            lambda verb: AuditEvent.action.endswith(f":{verb}", autoescape=True),
            [(verb, verb.replace("_", " ").capitalize()) for verb in sorted({*VERBS, *(verb for _, verb in RESOURCE_VERBS)})],
        ),
        ChoiceFilter("Kind", lambda kind: AuditEvent.target_kind == kind, [(kind, kind) for kind in TARGET_KINDS]),
        SinceFilter("When", lambda start: AuditEvent.created_at >= start),
    )
    column_formatters: ClassVar[dict[str, Any]] = {
        "what": lambda _, __, event, ___: describe_event(event),
        "target_kind": lambda _, __, event, ___: tag(event.target_kind),
        "changed": lambda _, __, event, ___: changed_fields(event),
        "created_at": lambda _, __, event, ___: time_tag(event.created_at),
    }

    can_export = True
    column_export_list = ("id", "created_at", "actor", "action", "target_kind", "target_name", "target_id", "before", "after", "request_id")
    column_formatters_export: ClassVar[dict[str, Any]] = {
        "created_at": lambda _, __, event, ___: format_timestamp(event.created_at),
        "before": lambda _, __, event, ___: as_json(event.before),
        "after": lambda _, __, event, ___: as_json(event.after),
    }

    def search_condition(self, word: str) -> ColumnElement[bool]:
        """Match a word in the stored columns, or in the verbs that the page shows."""
        action_matches = [AuditEvent.action.endswith(suffix, autoescape=True) for suffix in matching_action_suffixes(word)]
        return or_(*(contains_text(column, word) for column in SEARCH_COLUMNS), *action_matches)

    def search_placeholder(self) -> str:
        return "target, who, what, request"

    def row_name(self, row: AuditEvent) -> str:
        return describe_event(row)

    def details_of(self, row: AuditEvent) -> dict[str, Any]:
        return {
            "what": describe_event(row),
            "differences": list_value_changes(row),
            "target_url": target_url(row),
            "restoring": restore_view_model(row),
        }

    def requires_reauthentication(self, name: str) -> bool:
        return name == "restore"

    @expose("/restore/", methods=("POST",))
    def restore(self) -> ResponseReturnValue:
        """Restore the state before an event."""
        row = self.find_row(request.form.get("id"))
        self.require_permission(has_permission(restoring.required_permission(row)))
        return self.apply_change(
            lambda session: ChangeResult(
                restoring.restore(session, row.id, actor=self.actor(), policy=container.current().outbound, confirmed=confirmed_keys()),
                refresh=True,
            )
        )


def restore_view_model(event: AuditEvent) -> dict[str, Any] | None:
    """Return the values that a restore would write, or the reason why none is possible.

    Returns None if the user has no permission to change the target.
    """
    if not has_permission(restoring.required_permission(event)):
        return None
    plan = restoring.plan(db.session(), event)
    if isinstance(plan, str):
        return {"reason": plan}
    after = event.after or {}
    lines = [
        {
            "field": name.replace("_", " "),
            "now": format_value(plan.current_values.get(name)),
            "back": format_value(value),
            "meanwhile": name in after and plan.current_values.get(name) != after[name],
        }
        for name, value in plan.values.items()
    ]
    return {"lines": lines, "warning": plan.warning, "meanwhile": any(line["meanwhile"] for line in lines)}


def as_json(values: Mapping[str, Any] | None) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True) if values else ""


def changed_fields(event: AuditEvent) -> Markup | str:
    """Return the names of the changed fields. A new or deleted row has too many, so it gets none."""
    names = [change.field for change in list_value_changes(event)] if event.before and event.after else []
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
