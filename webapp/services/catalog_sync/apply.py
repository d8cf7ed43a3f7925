"""Application of the chosen rows of a proposal, all or none, and its undo."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.catalog_diff import ADDED, GONE
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.shared.errors import Confirmation, Conflict, FieldError, Forbidden, Invalid, ModeldeskError
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import Model, Proposal, ProposalRow
from webapp.registry import revision
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange
from webapp.services.catalog import model_names, models, providers
from webapp.services.catalog.model_names import confirmed_values
from webapp.services.catalog.registry_batch import Batch, open_batch
from webapp.services.catalog_sync import undo_rows
from webapp.services.catalog_sync.proposals import (
    APPLIED,
    OPEN,
    UNDONE,
    catalog_price_entry,
    count_chosen,
    find,
    find_open,
    proposal_target,
    selection_digest,
)
from webapp.services.jobs import queue
from webapp.services.pricing import prices

MAX_ERRORS = 20
Applied = Callable[[], dict[str, Any]]
SECOND_APPROVER_REQUIRED = (
    "Somebody else has to approve what you opened. On a desk of one person set MODELDESK_FOUR_EYES=off and start it again."
)


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval: the actor, the time, whether four-eyes approval is required, and the digest of the reviewed selection.

    `confirmed` has the keys of what must be confirmed: ids that differ from another only in case, and names that get another meaning.
    """

    actor: str
    at: datetime
    four_eyes: bool
    selection_digest: str
    confirmed: Collection[str] = ()


def apply(session: Session, proposal_id: int, approval: Approval) -> Proposal:
    """Apply the chosen rows in this transaction, all or none.

    Raises `Conflict` that names the rows that changed since, or `ConfirmationRequired`.
    """
    proposal = require_applicable(session, proposal_id, approval)
    rows = list_chosen_rows(session, proposal_id)
    with model_names.keep_meanings(session, approval.confirmed) as confirmations:
        confirmations += apply_rows(session, rows, approval)
    proposal.status, proposal.applied_by, proposal.applied_at = APPLIED, approval.actor, approval.at
    after = {"status": APPLIED, "rows": len(rows), "opened_by": proposal.opened_by} | confirmed_values(confirmations)
    change = AuditChange({"status": OPEN}, after)
    audit_log.record(session, "catalog:proposal:apply", actor=approval.actor, target=proposal_target(proposal), change=change)
    return proposal


def require_applicable(session: Session, proposal_id: int, approval: Approval) -> Proposal:
    """Return the proposal, locked. Raises an error if it cannot be applied, or not by this actor, or not as it was reviewed."""
    revision.bump(session)
    proposal = find_open(session, proposal_id)
    if approval.four_eyes and approval.actor == proposal.opened_by:
        raise Forbidden(SECOND_APPROVER_REQUIRED)
    if not count_chosen(session, proposal_id):
        raise Invalid("Nothing is chosen. Tick the rows that are to be taken over.")
    # Without this check, the first person could change the selection after the second one reviewed it.
    if approval.selection_digest != selection_digest(session, proposal_id):
        raise Conflict("Other rows are ticked now than those you saw, so nothing was taken over. Look them through.", code="changed_since")
    return proposal


def list_chosen_rows(session: Session, proposal_id: int, *, after: str = "", limit: int | None = None) -> list[ProposalRow]:
    """Return the chosen rows by ref: all of them, or a slice of `limit` rows with refs greater than `after`."""
    query = select(ProposalRow).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen, ProposalRow.ref > after)
    return list(session.execute(query.order_by(ProposalRow.ref).limit(limit)).scalars())


def apply_rows(session: Session, rows: Sequence[ProposalRow], approval: Approval) -> list[Confirmation]:
    """Apply any slice of the rows of a proposal in the caller's transaction, all or none, and store in each row how to undo it.

    Return what the approver must confirm besides names in use. The caller requires it, and the confirmation of names, for the whole
    proposal. Raises `Conflict` that names the rows that changed since.
    """
    errors: list[FieldError] = []
    confirmations: list[Confirmation] = []
    results: list[tuple[ProposalRow, Applied]] = []
    with open_batch(session) as batch:
        batch.load_refs(row.ref for row in rows if row.kind != ADDED)
        for row in rows:
            try:
                results.append((row, _apply_row(session, batch, row, approval, confirmations)))
            except ModeldeskError as error:
                errors.append(FieldError(row.ref, error.detail))
        if errors:
            details = " ".join(f"{error.field}: {error.message}" for error in errors[:MAX_ERRORS])
            raise Conflict(f"Nothing was taken over. {details}", errors, code="changed_since")
        batch.flush()
        for row, applied in results:
            row.done = applied()
    return confirmations


def _apply_row(session: Session, batch: Batch, row: ProposalRow, approval: Approval, confirmations: list[Confirmation]) -> Applied:
    """Return a function that returns the created and replaced values, for undo. New rows have ids when it is called.

    What the approver must confirm is added to `confirmations`.
    """
    if row.kind == ADDED:
        return _add_model(session, batch, row, approval, confirmations)
    model = batch.model_or_none(row.ref)
    if model is None:
        raise Conflict("it was deleted or renamed since the proposal was opened.")
    if row.kind == GONE:
        models.set_active_rows(session, [model], False, actor=approval.actor)
        return lambda: {"model": model.id, "deactivated": True}
    return _update_model(session, batch, model, row, approval)


def _add_model(session: Session, batch: Batch, row: ProposalRow, approval: Approval, confirmations: list[Confirmation]) -> Applied:
    if row.provider not in batch.providers:
        name = row.entry.get("provider_name") or row.provider
        values = {"slug": row.provider, "display_name": name[:100], "driver": "custom", "active": False, "sort_order": 1_000}
        providers.create(session, values | {"description": f"Came with {row.proposal}."}, actor=approval.actor)
    similar_ids = model_names.list_confirmations(session, row.provider, row.entry["model"]["model_id"])
    confirmations += similar_ids
    model = models.create(session, row.entry["model"], actor=approval.actor, confirmed=[similar.key for similar in similar_ids])
    for document in row.entry["prices"]:
        prices.import_price(session, model, catalog_price_entry(document, row.proposal.source), actor=approval.actor)
    return lambda: {"model": model.id}


def _update_model(session: Session, batch: Batch, model: Model, row: ProposalRow, approval: Approval) -> Applied:
    entry, applied_values = row.entry, {"model": model.id}
    current_price = price_at(timeline(map(prices.to_domain, batch.prices_of(model))), approval.at)
    if (current_price.id if current_price else None) != entry["price_before"]:
        raise Conflict("its price changed since the proposal was opened.")
    current_values = models.audit_values(model)
    if any(current_values[name] != value for name, value in entry["fields_before"].items()):
        raise Conflict("it was edited since the proposal was opened.")
    if entry["fields"]:
        models.change(session, model, entry["fields"], actor=approval.actor)
        applied_values |= {"fields": entry["fields_before"], "taken": entry["fields"]}
    if not entry["price"]:
        return lambda: applied_values
    effective_from = format_timestamp(approval.at.replace(microsecond=0))
    price_entry = catalog_price_entry(entry["price"] | {"effective_from": effective_from}, row.proposal.source)
    added = prices.import_price(session, model, price_entry, actor=approval.actor)
    return lambda: applied_values | {"price": added.id, "price_before": entry["price_before"]}


# Undo.


def undo(session: Session, proposal_id: int, *, actor: str, confirmed: Collection[str] = ()) -> list[str]:
    """Undo an applied proposal, except rows that changed since, and return a message for each remaining row.

    Raises `ConfirmationRequired` if names in use get another meaning, for example because another model has taken one of them since.
    """
    proposal = require_undoable(session, proposal_id)
    rows = list_chosen_rows(session, proposal_id)
    with model_names.keep_meanings(session, confirmed) as confirmations:
        remaining = undo_rows.undo_slice(session, rows, actor=actor)
    proposal.status, proposal.ended_by, proposal.ended_at = UNDONE, actor, audit_log.now()
    change = AuditChange({"status": APPLIED}, {"status": UNDONE, "left": remaining[:100]} | confirmed_values(confirmations))
    audit_log.record(session, "catalog:proposal:undo", actor=actor, target=proposal_target(proposal), change=change)
    return remaining


def require_undoable(session: Session, proposal_id: int) -> Proposal:
    """Return the proposal, locked. Raises `Conflict` unless it is applied, and while a job works on it."""
    revision.bump(session)
    proposal = find(session, proposal_id, lock=True)
    if proposal.status != APPLIED:
        raise Conflict("Only a proposal that was taken over can be undone.", code="not_applied")
    queue.require_no_active(session, proposal_target(proposal))
    return proposal
