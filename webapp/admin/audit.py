"""The audit log: who did what, when, with the values before and after. Nothing here changes anything."""

from collections.abc import Mapping
from typing import Any, ClassVar

from markupsafe import Markup
from sqlalchemy import ColumnElement, or_

from webapp.admin.filters import ChoiceFilter, Filter, SinceFilter
from webapp.admin.formatters import tag, when
from webapp.admin.history import address_of, differences, sentence
from webapp.admin.lists import RowsView
from webapp.domain.permissions import Permission
from webapp.models import AuditEvent

KINDS = ("model", "provider", "user", "token")
VERBS = ("create", "update", "delete", "activate", "deactivate", "set_default", "set_primary", "clear_primary", "add", "replace", "remove",
         "set_role", "enable", "disable", "set_password", "begin", "revoke", "make_link")  # fmt: skip
SEARCHED = (AuditEvent.target_name, AuditEvent.actor, AuditEvent.action, AuditEvent.request_id)


class AuditLog(RowsView):
    """Every change, newest first."""

    needs = Permission.AUDIT_READ
    table = AuditEvent
    name_one = "event"
    purpose = "Every change: who, what, when, and the values before and after. Keys appear as fingerprints only."
    empty_title = "Nothing has happened yet"
    empty_text = "Every change is written down here in the moment it is made."
    can_create = can_edit = can_delete = False
    simple_list_pager = True  # Counting would read the whole trail for every page.
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
        Filter("Actor", lambda text: AuditEvent.actor.icontains(text, autoescape=True)),
        ChoiceFilter(
            "Action",
            lambda verb: AuditEvent.action.endswith(f":{verb}", autoescape=True),
            [(verb, verb.replace("_", " ")) for verb in VERBS],
        ),
        ChoiceFilter("Kind", lambda kind: AuditEvent.target_kind == kind, [(kind, kind) for kind in KINDS]),
        SinceFilter("When", lambda moment: AuditEvent.created_at >= moment),
    )
    column_formatters: ClassVar[dict[str, Any]] = {
        "what": lambda _, __, event, ___: sentence(event),
        "target_kind": lambda _, __, event, ___: tag(event.target_kind),
        "changed": lambda _, __, event, ___: changed(event),
        "created_at": lambda _, __, event, ___: when(event.created_at),
    }

    def matching(self, word: str) -> ColumnElement[bool]:
        return or_(*(column.icontains(word, autoescape=True) for column in SEARCHED))

    def search_placeholder(self) -> str:
        return "target, who, action, request"

    def row_name(self, row: AuditEvent) -> str:
        return sentence(row)

    def details_of(self, row: AuditEvent) -> dict[str, Any]:
        return {"what": sentence(row), "differences": differences(row), "target_url": address_of(row)}


def changed(event: AuditEvent) -> Markup | str:
    """The names of the fields that changed; a new or deleted row has too many to name."""
    names = [difference.field for difference in differences(event)] if event.before and event.after else []
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
