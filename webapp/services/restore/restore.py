"""Restore of the state before an audit event, through the same services as any other change, and audited like one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PROVIDER_CHECKS
from webapp.domain.pricing.pricing import Price as PriceValue
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.pricing.serializers import billing_document, price_document
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
    """The actor of a restore, the policy for outbound addresses, and the keys of what the actor confirmed."""

    actor: str
    policy: OutboundPolicy
    confirmed: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """The effect of a restore: the restored values, the current ones, and a warning to show before it runs."""

    values: Mapping[str, Any]
    current_values: Mapping[str, Any]
    run: Callable[[Session, RestoreContext], object]
    warning: str | None = None


def find_event(session: Session, event_id: int) -> AuditEvent:
    """Return the audit event. Raises `NotFound`."""
    event = session.get(AuditEvent, event_id) if event_id <= MAX_ID else None
    if event is None:
        raise NotFound("There is no such event.")
    return event


def required_permission(event: AuditEvent) -> Permission:
    """Return the permission that a restore needs, which is that of the original change."""
    return Permission.CREDENTIALS_WRITE if event.action.split(":")[1:2] == ["project"] else Permission.REGISTRY_WRITE


def restore(session: Session, event_id: int, *, actor: str, policy: OutboundPolicy, confirmed: Collection[str] = ()) -> str:
    """Restore the state before the event, and return a message.

    Raises `Conflict` with the reason if that is impossible, or `ConfirmationRequired` if names in use get another meaning or a restored id
    differs from another of the provider only in case.
    """
    event = find_event(session, event_id)
    restore_plan = plan(session, event)
    if isinstance(restore_plan, str):
        raise Conflict(restore_plan, code="not_restorable")
    restore_plan.run(session, RestoreContext(actor, policy, confirmed))
    target = Target(event.target_kind, event.target_id, event.target_name)
    audit_log.record(session, "audit:event:restore", actor=actor, target=target, change=AuditChange(None, {"event": event.id}))
    return f"{event.target_name} is as it was before event {event.id}."


def plan(session: Session, event: AuditEvent) -> RestorePlan | str:
    """Return the plan of a restore, or the reason why the event cannot be restored."""
    _, resource, verb = [*event.action.split(":"), "", ""][:3]
    if resource == "price" and verb in ("add", "cancel"):
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


# Rows.


@dataclass(frozen=True, slots=True)
class RowAdapter:
    """The functions that read, describe and write rows of one kind. `fields` are the restorable ones."""

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
        lambda session, row_id, values, context: models.update(session, row_id, values, actor=context.actor, confirmed=context.confirmed),
        lambda session, values, context: models.create(session, values, actor=context.actor, confirmed=context.confirmed),
    ),
    "provider": RowAdapter(
        Provider,
        providers.audit_values,
        PROVIDER_CHECKS,
        lambda session, row_id, values, context: providers.update(
            session, row_id, values, actor=context.actor, policy=context.policy, confirmed=context.confirmed
        ),
        lambda session, values, context: providers.create(session, values, actor=context.actor, policy=context.policy),
    ),
    "project": RowAdapter(
        Project,
        projects.project_audit_values,
        projects.CHECKS,
        lambda session, row_id, values, context: projects.update(session, row_id, values, actor=context.actor),
        lambda session, values, context: projects.create(session, values, actor=context.actor),
    ),
}


def _plan_update(session: Session, event: AuditEvent, adapter: RowAdapter) -> RestorePlan | str:
    row = session.get(adapter.table, event.target_id) if event.target_id is not None else None
    if row is None:
        return f"{event.target_name} was deleted since. Put that event back first."
    values = {name: value for name, value in (event.before or {}).items() if name in adapter.fields}
    audit_values = adapter.audit_values(row)
    current_values = {name: audit_values.get(name) for name in values}
    if values == current_values:
        return "It is as it was before this event: there is nothing to put back."
    row_id: int = row.id
    return RestorePlan(
        values, current_values, lambda session, context: adapter.update(session, row_id, values, context), _warning(row, values)
    )


def _warning(row: object, values: Mapping[str, Any]) -> str | None:
    if isinstance(row, Provider) and providers.changes_destination(row, values):
        return f"The keys of {row.display_name} will be removed: they were entered for the present address."
    return None


def _plan_recreation(session: Session, event: AuditEvent, adapter: RowAdapter) -> RestorePlan | str:
    values = {name: value for name, value in (event.before or {}).items() if name in adapter.fields}
    if not values:
        return "What it was is not kept."
    new_id_notice = "It comes back with a new number"
    keys_notice = " and without keys, which are never kept" if adapter.table is Provider else ""
    return RestorePlan(
        values,
        {},
        lambda session, context: adapter.create(session, values | _without_default(values), context),
        f"{new_id_notice}{keys_notice}.",
    )


def _without_default(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a change that clears the default flag: another model can be the default by now."""
    return {"default": False} if "default" in values else {}


# Singletons: the default model of a type, and the primary provider.


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
    current_default = session.execute(query).scalar_one_or_none()
    row_id = row.id
    current_values = {"default": current_default.ref if current_default else None}
    return RestorePlan({"default": ref}, current_values, lambda session, context: models.set_default(session, row_id, actor=context.actor))


def _plan_primary(session: Session, event: AuditEvent) -> RestorePlan | str:
    slug = (event.before or {}).get("primary")
    current_slug = session.execute(select(Provider.slug).where(Provider.is_primary)).scalar_one_or_none()
    if slug == current_slug:
        return "It is as it was before this event: there is nothing to put back."
    if slug is None:
        return RestorePlan(
            {"primary": None}, {"primary": current_slug}, lambda session, context: providers.clear_primary(session, actor=context.actor)
        )
    row = providers.get_by_slug_or_none(session, slug)
    if row is None:
        return f"{slug}, which was primary before, is gone."
    row_id = row.id
    return RestorePlan(
        {"primary": slug}, {"primary": current_slug}, lambda session, context: providers.set_primary(session, row_id, actor=context.actor)
    )


# Prices are append-only: a restore adds a new price.


def _plan_price(session: Session, event: AuditEvent) -> RestorePlan | str:
    """Plan a new price with the rates before the event, effective now, or as a correction if the price of the event is still scheduled.

    A scheduled price that corrects no other is canceled.
    """
    added = session.get(Price, (event.after or {}).get("id") or 0)
    row = session.get(Model, event.target_id) if event.target_id is not None else None
    if added is None or row is None:
        return f"{event.target_name} was deleted since."
    if added.effective_from > audit_log.now() and added.corrects_id is None:
        return _plan_cancellation(session, added)
    before = price_at(timeline([price for price in prices.history(session, row) if (price.id or 0) < added.id]), added.effective_from)
    if before is None:
        return "There was no price before it. Add one on the page of the model, or mark it as unknown."
    scheduled = added.effective_from > audit_log.now()
    effective_from = added.effective_from if scheduled else audit_log.now()
    current = price_at(timeline(prices.history(session, row)), effective_from)
    if current is not None and _price_values(current) == _price_values(before):
        return "The price is as it was before this event: there is nothing to put back."
    if scheduled and session.execute(select(Price.id).where(Price.corrects_id == added.id)).first():
        return "That price was already corrected: put the correction back instead."
    entry = _price_input(before) | {
        "effective_from": format_timestamp(effective_from),
        "corrects": added.id if scheduled else None,
        "note": f"As before event {event.id}.",
    }
    row_id = row.id
    return RestorePlan(
        _price_values(before),
        _price_values(current) if current else {},
        lambda session, context: prices.add(session, row_id, entry, actor=context.actor),
        f"A new price is added that counts from {'its beginning' if scheduled else 'now'} on. Past costs stay what they are.",
    )


def _plan_cancellation(session: Session, added: Price) -> RestorePlan | str:
    if session.execute(select(Price.id).where(Price.corrects_id == added.id)).first():
        return "That price was corrected or canceled since: there is nothing to restore."
    price_id, before = added.id, prices.price_before(session, added)
    return RestorePlan(
        _price_values(before) if before else {"state": "unknown"},
        _price_values(prices.to_domain(added)),
        lambda session, context: prices.cancel(session, price_id, actor=context.actor),
        "The scheduled price is canceled. Past costs stay what they are.",
    )


def _price_input(price: PriceValue) -> dict[str, Any]:
    return _price_values(price) | {"source": {"kind": "manual", "name": price.source.name, "url": price.source.url}}


def _price_values(price: PriceValue) -> dict[str, Any]:
    return billing_document(price_document(price))
