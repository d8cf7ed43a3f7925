"""Putting back what an event of the trail changed, through the same services as any other change, and audited like one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PROVIDER_CHECKS
from webapp.domain.catalog.serializers import price_document
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.shared.errors import Conflict, NotFound
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import MAX_ID, AuditEvent, Model, Price, Project, Provider
from webapp.security.urlguard import OutboundPolicy
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import models, providers
from webapp.services.pricing import prices
from webapp.services.projects import projects

UPDATE_VERBS = ("update", "activate", "deactivate")


@dataclass(frozen=True, slots=True)
class RestoreContext:
    """Who puts something back, and which addresses may be entered."""

    actor: str
    policy: OutboundPolicy


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What putting back would do. `values` are what comes back, `now` what they are at present; `warning` is said before."""

    values: Mapping[str, Any]
    current_values: Mapping[str, Any]
    run: Callable[[Session, RestoreContext], object]
    warning: str | None = None


def find_event(session: Session, event_id: int) -> AuditEvent:
    """Raises `NotFound`."""
    event = session.get(AuditEvent, event_id) if event_id <= MAX_ID else None
    if event is None:
        raise NotFound("There is no such event.")
    return event


def required_permission(event: AuditEvent) -> Permission:
    """What whoever puts it back must be allowed, which is what the change itself needed."""
    return Permission.CREDENTIALS_WRITE if event.action.split(":")[1:2] == ["project"] else Permission.REGISTRY_WRITE


def restore(session: Session, event_id: int, *, actor: str, policy: OutboundPolicy) -> str:
    """Puts back what was there before the event; the sentence that says so. Raises `Conflict` if that cannot be done, and why."""
    event = find_event(session, event_id)
    found = plan(session, event)
    if isinstance(found, str):
        raise Conflict(found, code="not_restorable")
    found.run(session, RestoreContext(actor, policy))
    what = Target(event.target_kind, event.target_id, event.target_name)
    audit_log.record(session, "audit:event:restore", actor=actor, target=what, change=AuditChange(None, {"event": event.id}))
    return f"{event.target_name} is as it was before event {event.id}."


def plan(session: Session, event: AuditEvent) -> RestorePlan | str:
    """What restoring the event would do, or why it cannot be restored."""
    _, resource, verb = [*event.action.split(":"), "", ""][:3]
    if resource == "price" and verb == "add":
        return _plan_price(session, event)
    if resource in ROW_ADAPTERS and verb in UPDATE_VERBS:
        return _plan_update(session, event, ROW_ADAPTERS[resource])
    if resource in ROW_ADAPTERS and verb == "delete":
        return _plan_recreation(session, event, ROW_ADAPTERS[resource])
    if (resource, verb) == ("model", "set_default"):
        return _plan_default(session, event)
    if resource == "provider" and verb in ("set_primary", "clear_primary"):
        return _plan_primary(session, event)
    if verb == "create":
        return "There was nothing before it: delete or deactivate it on its own page instead."
    return "Events of this kind are not put back from here."


# Rows with fields.


@dataclass(frozen=True, slots=True)
class RowAdapter:
    """How rows of one kind are found, described and written. `name` is what makes a deleted one the same again."""

    table: Any
    audit_values: Callable[[Any], dict[str, Any]]
    fields: Mapping[str, Any]
    update: Callable[[Session, int, Mapping[str, Any], RestoreContext], object]
    create: Callable[[Session, Mapping[str, Any], RestoreContext], object]


ROW_ADAPTERS: Mapping[str, RowAdapter] = {
    "model": RowAdapter(
        Model,
        models.audit_values,
        MODEL_CHECKS,
        lambda session, row_id, values, by: models.update(session, row_id, values, actor=by.actor),
        lambda session, values, by: models.create(session, values, actor=by.actor),
    ),
    "provider": RowAdapter(
        Provider,
        providers.audit_values,
        PROVIDER_CHECKS,
        lambda session, row_id, values, by: providers.update(session, row_id, values, actor=by.actor, policy=by.policy),
        lambda session, values, by: providers.create(session, values, actor=by.actor, policy=by.policy),
    ),
    "project": RowAdapter(
        Project,
        projects.project_audit_values,
        projects.CHECKS,
        lambda session, row_id, values, by: projects.update(session, row_id, values, actor=by.actor),
        lambda session, values, by: projects.create(session, values, actor=by.actor),
    ),
}


def _plan_update(session: Session, event: AuditEvent, kind: RowAdapter) -> RestorePlan | str:
    row = session.get(kind.table, event.target_id) if event.target_id is not None else None
    if row is None:
        return f"{event.target_name} was deleted since. Put that event back first."
    values = {name: value for name, value in (event.before or {}).items() if name in kind.fields}
    facts = kind.audit_values(row)
    now = {name: facts.get(name) for name in values}
    if values == now:
        return "It is as it was before this event: there is nothing to put back."
    row_id: int = row.id
    return RestorePlan(values, now, lambda session, by: kind.update(session, row_id, values, by), _warning(row, values))


def _warning(row: object, values: Mapping[str, Any]) -> str | None:
    if isinstance(row, Provider) and providers.changes_destination(row, values):
        return f"The keys of {row.display_name} will be removed: they were entered for the present address."
    return None


def _plan_recreation(session: Session, event: AuditEvent, kind: RowAdapter) -> RestorePlan | str:
    values = {name: value for name, value in (event.before or {}).items() if name in kind.fields}
    if not values:
        return "What it was is not kept."
    again = "It comes back with a new number"
    keys = " and without keys, which are never kept" if kind.table is Provider else ""
    return RestorePlan(values, {}, lambda session, by: kind.create(session, values | _without_default(values), by), f"{again}{keys}.")


def _without_default(values: Mapping[str, Any]) -> dict[str, Any]:
    """What comes back is not the default by itself: that may be another one by now."""
    return {"default": False} if "default" in values else {}


# Choices of which there is one.


def _plan_default(session: Session, event: AuditEvent) -> RestorePlan | str:
    ref = (event.before or {}).get("default")
    if not ref:
        return "There was no default before it. Choose another one on the page of that model."
    query = select(Model).join(Provider).where(Provider.slug + "/" + Model.model_id == ref)
    row = session.execute(query).scalar_one_or_none()
    if row is None:
        return f"{ref}, which was the default before, is gone."
    if row.is_default:
        return f"{ref} is the default: there is nothing to put back."
    query = select(Model).where(Model.type == row.type, Model.is_default)
    present = session.execute(query).scalar_one_or_none()
    row_id = row.id
    now = {"default": present.ref if present else None}
    return RestorePlan({"default": ref}, now, lambda session, by: models.set_default(session, row_id, actor=by.actor))


def _plan_primary(session: Session, event: AuditEvent) -> RestorePlan | str:
    slug = (event.before or {}).get("primary")
    present = session.execute(select(Provider.slug).where(Provider.is_primary)).scalar_one_or_none()
    if slug == present:
        return "It is as it was before this event: there is nothing to put back."
    if slug is None:
        return RestorePlan({"primary": None}, {"primary": present}, lambda session, by: providers.clear_primary(session, actor=by.actor))
    row = providers.get_by_slug_or_none(session, slug)
    if row is None:
        return f"{slug}, which was primary before, is gone."
    row_id = row.id
    return RestorePlan({"primary": slug}, {"primary": present}, lambda session, by: providers.set_primary(session, row_id, actor=by.actor))


# Prices: nothing is taken back, a new one is added.


def _plan_price(session: Session, event: AuditEvent) -> RestorePlan | str:
    """The price that counted before the event, from now on; if the event's one has not begun, in its place as a correction."""
    added = session.get(Price, (event.after or {}).get("id") or 0)
    row = session.get(Model, event.target_id) if event.target_id is not None else None
    if added is None or row is None:
        return f"{event.target_name} was deleted since."
    before = price_at(timeline([price for price in prices.history(session, row) if (price.id or 0) < added.id]), added.effective_from)
    if before is None:
        return "There was no price before it. Add one on the page of the model, or mark it as unknown."
    scheduled = added.effective_from > audit_log.now()
    moment = added.effective_from if scheduled else audit_log.now()
    present = price_at(timeline(prices.history(session, row)), moment)
    if present is not None and _price_values(present) == _price_values(before):
        return "The price is as it was before this event: there is nothing to put back."
    if scheduled and session.execute(select(Price.id).where(Price.corrects_id == added.id)).first():
        return "That price was already corrected: put the correction back instead."
    entry = _price_input(before) | {
        "effective_from": format_timestamp(moment),
        "corrects": added.id if scheduled else None,
        "note": f"As before event {event.id}.",
    }
    row_id = row.id
    return RestorePlan(
        _price_values(before),
        _price_values(present) if present else {},
        lambda session, by: prices.add(session, row_id, entry, actor=by.actor),
        f"A new price is added that counts from {'its beginning' if scheduled else 'now'} on. Past costs stay what they are.",
    )


def _price_input(price: PriceValue) -> dict[str, Any]:
    document = price_document(price) or {}
    kept = {name: document[name] for name in ("state", "currency", "rates")}
    return kept | {"source": {"kind": "manual", "name": price.source.name, "url": price.source.url}}


def _price_values(price: PriceValue) -> dict[str, Any]:
    document = price_document(price) or {}
    return {name: document[name] for name in ("state", "currency", "rates")}
