"""Taking the chosen rows of a proposal over, all or none, and taking them back. Prices are only ever added: undoing adds corrections."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.catalog_diff import ADDED, GONE
from webapp.domain.catalog.serializers import price_document
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.shared.errors import Conflict, FieldError, Forbidden, Invalid, ModeldeskError
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import Model, Price, Proposal, ProposalRow, Provider
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange
from webapp.services.catalog import models, providers
from webapp.services.catalog_sync.proposals import APPLIED, OPEN, UNDONE, catalog_price_entry, find, proposal_target, selection_digest
from webapp.services.pricing import prices

MAX_ERRORS = 20
SECOND_APPROVER_REQUIRED = (
    "Somebody else has to approve what you opened. On a desk of one person set MODELDESK_FOUR_EYES=off and start it again."
)


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approves, when, whether that must be somebody else than who opened it, and the seal of the rows that were shown."""

    actor: str
    at: datetime
    four_eyes: bool
    selection_digest: str


def apply(session: Session, proposal_id: int, by: Approval) -> Proposal:
    """Takes the chosen rows over in this transaction. Raises `Conflict` that names the rows which changed since, and then takes none."""
    revision.bump(session)
    proposal = find(session, proposal_id, lock=True)
    if proposal.status != OPEN:
        raise Conflict("This proposal is no longer open.", code="not_open")
    if by.four_eyes and by.actor == proposal.opened_by:
        raise Forbidden(SECOND_APPROVER_REQUIRED)
    rows = _list_chosen_rows(session, proposal_id)
    if not rows:
        raise Invalid("Nothing is chosen. Tick the rows that are to be taken over.")
    if by.selection_digest != selection_digest(
        session, proposal_id
    ):  # Four eyes are worth nothing where the first pair may change what the second has seen.
        raise Conflict("Other rows are ticked now than those you saw, so nothing was taken over. Look them through.", code="changed_since")
    errors: list[FieldError] = []
    for row in rows:
        try:
            row.done = _apply_row(session, row, by)
        except ModeldeskError as error:
            errors.append(FieldError(row.ref, error.detail))
    if errors:
        told = " ".join(f"{error.field}: {error.message}" for error in errors[:MAX_ERRORS])
        raise Conflict(f"Nothing was taken over. {told}", errors, code="changed_since")
    proposal.status, proposal.applied_by, proposal.applied_at = APPLIED, by.actor, by.at
    change = AuditChange({"status": OPEN}, {"status": APPLIED, "rows": len(rows), "opened_by": proposal.opened_by})
    audit_log.record(session, "catalog:proposal:apply", actor=by.actor, target=proposal_target(proposal), change=change)
    return proposal


def _list_chosen_rows(session: Session, proposal_id: int) -> list[ProposalRow]:
    query = select(ProposalRow).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen).order_by(ProposalRow.ref)
    return list(session.execute(query).scalars())


def _apply_row(session: Session, row: ProposalRow, by: Approval) -> dict[str, Any]:
    """What was made and replaced, for undoing."""
    if row.kind == ADDED:
        return _add_model(session, row, by)
    model = _find_model(session, row.ref)
    if row.kind == GONE:
        models.set_active(session, model.id, False, actor=by.actor)
        return {"model": model.id, "deactivated": True}
    return _update_model(session, model, row, by)


def _add_model(session: Session, row: ProposalRow, by: Approval) -> dict[str, Any]:
    if providers.get_by_slug_or_none(session, row.provider) is None:
        name = row.entry.get("provider_name") or row.provider
        values = {"slug": row.provider, "display_name": name[:100], "driver": "custom", "active": False, "sort_order": 1_000}
        providers.create(session, values | {"description": f"Came with {row.proposal}."}, actor=by.actor)
    model = models.create(session, row.entry["model"], actor=by.actor)
    for document in row.entry["prices"]:
        prices.import_price(session, model, catalog_price_entry(document, row.proposal.source), actor=by.actor)
    return {"model": model.id}


def _update_model(session: Session, model: Model, row: ProposalRow, by: Approval) -> dict[str, Any]:
    entry, done = row.entry, {"model": model.id}
    present = price_at(timeline(prices.history(session, model)), by.at)
    if (present.id if present else None) != entry["price_before"]:
        raise Conflict("its price changed since the proposal was opened.")
    now = models.audit_values(model)
    if any(now[name] != value for name, value in entry["fields_before"].items()):
        raise Conflict("it was edited since the proposal was opened.")
    if entry["fields"]:
        models.update(session, model.id, entry["fields"], actor=by.actor)
        done |= {"fields": entry["fields_before"], "taken": entry["fields"]}
    if entry["price"]:
        moment = format_timestamp(by.at.replace(microsecond=0))
        added = prices.import_price(
            session, model, catalog_price_entry(entry["price"] | {"effective_from": moment}, row.proposal.source), actor=by.actor
        )
        done |= {"price": added.id, "price_before": entry["price_before"]}
    return done


def _find_model(session: Session, ref: str) -> Model:
    query = select(Model).join(Provider).where(Provider.slug + "/" + Model.model_id == ref)
    model = session.execute(query).scalar_one_or_none()
    if model is None:
        raise Conflict("it was deleted or renamed since the proposal was opened.")
    return model


# Back.


def undo(session: Session, proposal_id: int, *, actor: str) -> list[str]:
    """Takes back what was taken over, as far as nobody has changed it since. What was left alone, in words.

    New models came inactive and have never answered anything; they stay so, because their prices are history and are never removed.
    """
    revision.bump(session)
    proposal = find(session, proposal_id, lock=True)
    if proposal.status != APPLIED:
        raise Conflict("Only a proposal that was taken over can be undone.", code="not_applied")
    rows = _list_chosen_rows(session, proposal_id)
    left = [f"{row.ref} {why}" for row in rows if (why := _undo_row(session, row, actor))]
    proposal.status, proposal.ended_by, proposal.ended_at = UNDONE, actor, audit_log.now()
    change = AuditChange({"status": APPLIED}, {"status": UNDONE, "left": left[:100]})
    audit_log.record(session, "catalog:proposal:undo", actor=actor, target=proposal_target(proposal), change=change)
    return left


def _undo_row(session: Session, row: ProposalRow, actor: str) -> str | None:
    """None, or why it was left as it is."""
    done = row.done or {}
    model = session.get(Model, done.get("model", 0))
    if model is None:
        return None  # Somebody deleted it: there is nothing to take back.
    if row.kind == ADDED:
        return "was activated since, so it stays." if model.is_active else None
    if done.get("deactivated"):
        if not model.is_active:
            models.set_active(session, model.id, True, actor=actor)
        return None
    reasons = [_restore_fields(session, model, done, actor), _restore_price(session, model, done, row, actor=actor)]
    return "; ".join(reason for reason in reasons if reason) or None


def _restore_fields(session: Session, model: Model, done: dict[str, Any], actor: str) -> str | None:
    if not done.get("fields"):
        return None
    now = models.audit_values(model)
    if any(now[name] != value for name, value in done["taken"].items()):
        return "was edited since"
    models.update(session, model.id, done["fields"], actor=actor)
    return None


def _restore_price(session: Session, model: Model, done: dict[str, Any], row: ProposalRow, *, actor: str) -> str | None:
    """A correction in the place of the price that was added, with the rates that held before it."""
    added = session.get(Price, done.get("price") or 0)
    if added is None:
        return None
    if session.execute(select(Price.id).where(Price.corrects_id == added.id)).first():
        return "has a corrected price since"
    before = session.get(Price, done["price_before"] or 0)
    nothing: dict[str, Any] = {"state": "unknown", "currency": added.currency, "rates": []}
    document: dict[str, Any] = (price_document(prices.to_domain(before)) if before else None) or nothing
    again = {"effective_from": format_timestamp(added.effective_from), "note": f"Undo of the proposal {row.proposal}."}
    entry = catalog_price_entry(document | again, row.proposal.source)
    kept = document.get("source") or entry.source
    prices.import_price(session, model, entry._replace(corrects=added.id, source=kept), actor=actor)
    return None
