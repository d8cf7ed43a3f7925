"""Audit events as text: action, target, and the values before and after."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import url_for
from sqlalchemy import select

from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.field_changes import format_value, readable_values
from webapp.extensions import db
from webapp.models import AuditEvent
from webapp.web.auth import has_permission

VERBS: Mapping[str, str] = {
    "create": "Added",
    "update": "Changed",
    "delete": "Deleted",
    "activate": "Activated",
    "deactivate": "Deactivated",
    "set_default": "Made default",
    "set_primary": "Made primary",
    "clear_primary": "No primary provider any more:",
    "add": "New price for",
    "replace": "Replaced the key of",
    "remove": "Removed the key of",
    "set_role": "Changed the role of",
    "enable": "Enabled",
    "disable": "Disabled",
    "set_password": "New password of",
    "begin": "Signed in:",
    "revoke": "Revoked",
    "make_link": "New link for",
    "check": "Tested",
    "revise": "New version of",
    "restore": "Put back",
    "rate": "Rated",
    "cancel": "Cancelled",
    "resume": "Resumed",
    "rename": "Renamed",
    "limit": "Changed the limits of the key of",
    "rotate": "Rotated",
    "clear": "Emptied",
    "seed": "Seeded",
    "accept": "Works, though it reads nothing of what there was, with",
    "switch_over": "Scheduled the successor of",
    "apply": "Took over",
    "verify": "Verified the price of",
    "undo": "Undid",
    "close": "Closed",
    "import": "Imported",
    "end": "Ended a sign-in of",
    "add_rule": "New rule of",
    "end_rule": "Ended a rule of",
    "confirm": "Confirmed again:",
    "turn_on": "Second factor on for",
    "renew": "New recovery codes for",
    "refuse": "Refused a code of",
    "use": "Recovery code used by",
    "link": "Linked at the identity provider:",
    "unlink": "Unlinked from the identity provider:",
    "deny": "Refused",
    "sign_out": "Signed out:",
    "use_up": "Too many wrong passwords for",
}
# Texts for actions whose verb depends on the resource.
RESOURCE_VERBS: Mapping[tuple[str, str], str] = {
    ("credential", "create"): "New key for",
    ("backup", "restore"): "Restored a backup:",
    ("bench", "create"): "Started the bench",
    ("run", "create"): "Ran",
    ("job", "start"): "Started a job:",
    ("job", "cancel"): "Canceled a job:",
    ("price", "cancel"): "Canceled a scheduled price of",
    ("proposal", "create"): "Opened the proposal",
    ("token", "create"): "Made the token",
    ("second_factor", "begin"): "Began to set up a second factor for",
    ("second_factor", "remove"): "Second factor off for",
}
TARGET_PAGES: Mapping[str, str] = {
    "model": "model.details_view",
    "provider": "provider.details_view",
    "user": "user.edit_view",
    "project": "project.edit_view",
}
MAX_EVENTS = 8


class ValueChange(NamedTuple):
    """One value that changed, as text."""

    field: str
    before: str | None
    after: str | None


def describe_event(event: AuditEvent) -> str:
    """Return a sentence such as `Activated openai/gpt-4o-mini`."""
    _, resource, verb = [*event.action.split(":"), "", ""][:3]
    return f"{RESOURCE_VERBS.get((resource, verb)) or VERBS.get(verb, verb.replace('_', ' ').capitalize())} {event.target_name}"


def matching_action_suffixes(words: str) -> list[str]:
    """Return the suffixes of the actions whose text contains `words`."""
    needle = words.casefold()
    verbs = [f":{verb}" for verb, text in VERBS.items() if needle in text.casefold()]
    return verbs + [f":{resource}:{verb}" for (resource, verb), text in RESOURCE_VERBS.items() if needle in text.casefold()]


def list_value_changes(event: AuditEvent) -> list[ValueChange]:
    """Return the changes by field. The audit log does not store unchanged fields."""
    before, after = readable_values(event.before or {}), readable_values(event.after or {})
    return [
        ValueChange(name.replace("_", " "), format_value(before.get(name)), format_value(after.get(name))) for name in {**before, **after}
    ]


def target_url(event: AuditEvent) -> str | None:
    """Return the URL of the target's page, or None if it has no page."""
    page = TARGET_PAGES.get(event.target_kind)
    return url_for(page, id=event.target_id) if page and event.target_id is not None else None


def event_rows(events: list[AuditEvent]) -> list[dict[str, Any]]:
    """Return the values that lists of events show."""
    return [
        {
            "at": event.created_at,
            "actor": event.actor,
            "text": describe_event(event),
            "url": url_for("audit.details_view", id=event.id),
            "changed": ", ".join(change.field for change in list_value_changes(event)[:4]) if event.before and event.after else "",
        }
        for event in events
    ]


def latest_events(*conditions: Any) -> list[dict[str, Any]] | None:
    """Return the newest events that meet the conditions, or None without the permission to read the audit log."""
    if not has_permission(Permission.AUDIT_READ):
        return None
    query = select(AuditEvent).where(*conditions).order_by(AuditEvent.id.desc()).limit(MAX_EVENTS)
    return event_rows(list(db.session.execute(query).scalars()))


def target_events(kind: str, row_id: int) -> list[dict[str, Any]] | None:
    return latest_events(AuditEvent.target_kind == kind, AuditEvent.target_id == row_id)
