"""Undo of the rows of an applied proposal. Prices are append-only: an undo adds corrections, and a model that has prices stays.

After an undo, every name means what it meant before: an added model that nothing uses gives up its id and its aliases.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from webapp.domain.catalog.catalog_diff import ADDED
from webapp.domain.catalog.input_schemas import PriceEntry, entry_from
from webapp.models import EvaluationCell, Model, Price, PriceVerification, ProjectOverride, PromptTemplate, ProposalRow, Run, UsageRecord
from webapp.services.catalog import models
from webapp.services.catalog.registry_batch import LOAD_SIZE, Batch, open_batch
from webapp.services.pricing import prices


class _Undo(NamedTuple):
    """What the undo of a row needs: the loaded rows of the registry, and what uses the added models."""

    session: Session
    batch: Batch
    uses: Mapping[str, str]
    verifications: Mapping[int, PriceVerification]
    actor: str


def undo_slice(session: Session, rows: Sequence[ProposalRow], *, actor: str) -> list[str]:
    """Undo any slice of the rows of an applied proposal in the caller's transaction. Return a message for each row that stays."""
    ids = [row.done["model"] for row in rows if row.done]
    with open_batch(session) as batch:
        batch.load(ids)
        batch.load_references(ids)
        verifications = _read_verifications(session, ids)
        work = _Undo(session, batch, find_uses(session, rows), verifications, actor)
        return [f"{row.ref} {reason}" for row in rows if (reason := _undo_row(row, work))]


def _read_verifications(session: Session, model_ids: Sequence[int]) -> dict[int, PriceVerification]:
    """Return the latest verification of each price of these models, by price id."""
    query = select(PriceVerification).join(Price, Price.id == PriceVerification.price_id).order_by(PriceVerification.id)
    blocks = (model_ids[start : start + LOAD_SIZE] for start in range(0, len(model_ids), LOAD_SIZE))
    return {row.price_id: row for block in blocks for row in session.execute(query.where(Price.model_id.in_(block))).scalars()}


def _undo_row(row: ProposalRow, work: _Undo) -> str | None:
    """Undo one row, and return None or why it stays."""
    applied_values = row.done or {}
    model = work.batch.find_or_none(applied_values.get("model", 0))
    if model is None:
        return None  # The model was deleted, so there is nothing to undo.
    if row.kind == ADDED:
        return _remove_model(model, row, work)
    if applied_values.get("deactivated"):
        if not model.is_active:
            models.set_active_rows(work.session, [model], True, actor=work.actor)
        return None
    reasons = [_restore_fields(model, applied_values, work), _restore_price(model, applied_values, row, work)]
    return "; ".join(reason for reason in reasons if reason) or None


# Added models.


def find_uses(session: Session, rows: Sequence[ProposalRow]) -> dict[str, str]:
    """Return what uses an added model of these rows, by its ref."""
    ref, model_id = ProposalRow.ref, ProposalRow.done["model"].as_integer()
    predecessor = aliased(Model)
    of_one_provider = and_(predecessor.provider_id == Model.provider_id, predecessor.successor == Model.model_id)
    successors = select(predecessor.successor).where(predecessor.successor.is_not(None))
    conditions: dict[str, ColumnElement[bool]] = {
        "has recorded usage": exists().where(UsageRecord.model_ref == ref),
        "was run": or_(exists().where(Run.model_ref == ref), ref.in_(select(EvaluationCell.model))),
        "is the model of a prompt template": ref.in_(select(PromptTemplate.preferred_model)),
        "has a rule of a project": model_id.in_(select(ProjectOverride.model_id)),
        "is the successor of another model": or_(ref.in_(successors), model_id.in_(select(Model.id).join(predecessor, of_one_provider))),
    }
    ids = [row.id for row in rows if row.kind == ADDED]
    blocks = [ids[start : start + LOAD_SIZE] for start in range(0, len(ids), LOAD_SIZE)]
    return {
        name: use
        for use, is_used in conditions.items()
        for block in blocks
        for name in session.execute(select(ref).where(ProposalRow.id.in_(block), is_used)).scalars()
    }


def _remove_model(model: Model, row: ProposalRow, work: _Undo) -> str | None:
    """Delete an added model, or make it give up its names if it has prices. A model that is used or was changed stays as it is."""
    if model.is_active:
        return "was activated since, so it stays."
    if use := work.uses.get(row.ref):
        return f"{use}, so it stays."
    if model.version > 1 or _has_other_prices(model, row, work):
        return "was edited since, so it stays."
    if not row.entry["prices"]:
        models.remove(work.session, model, actor=work.actor)
        return None
    values = {
        "model_id": f"~undone-{row.id}",
        "display_name": f"{model.display_name[:190]} (undone)",
        "aliases": [],
        "description": f"Was {row.ref}, from the proposal {row.proposal}, which was undone. {model.description}"[:10_000],
    }
    models.change(work.session, model, values, actor=work.actor)
    return None


def _has_other_prices(model: Model, row: ProposalRow, work: _Undo) -> bool:
    """Return whether someone added or verified a price since."""
    is_verified = any(price.id in work.verifications for price in model.prices)
    return is_verified or len(model.prices) != len(row.entry["prices"])


# Changed models.


def _restore_fields(model: Model, applied_values: dict[str, Any], work: _Undo) -> str | None:
    if not applied_values.get("fields"):
        return None
    current_values = models.audit_values(model)
    if any(current_values[name] != value for name, value in applied_values["taken"].items()):
        return "was edited since"
    models.change(work.session, model, applied_values["fields"], actor=work.actor)
    return None


def _restore_price(model: Model, applied_values: dict[str, Any], row: ProposalRow, work: _Undo) -> str | None:
    """Correct the added price with the price that applied before it: its rates, its note and its source."""
    by_id = {price.id: price for price in model.prices}
    corrections = {price.corrects_id: price for price in model.prices if price.corrects_id is not None}
    added = by_id.get(applied_values.get("price") or 0)
    if added is None:
        return None
    if added.id in corrections:
        return "has a corrected price since"
    before = by_id.get(applied_values["price_before"] or 0)
    while before and before.id in corrections:
        before = corrections[before.id]
    note = f"There was no price before the proposal {row.proposal}, which was undone."
    unknown = PriceEntry(
        "unknown", added.effective_from, added.currency, (), {"kind": "catalog", "name": row.proposal.source}, note, added.id
    )
    restored = _restored_entry(before, added, work.verifications.get(before.id)) if before else unknown
    prices.import_price(work.session, model, restored, actor=work.actor)
    return None


def _restored_entry(before: Price, added: Price, verification: PriceVerification | None) -> PriceEntry:
    """Return the price `before` as a correction of the added one."""
    value = prices.to_domain(before)
    source = {
        "kind": before.source_kind,
        "name": before.source_name,
        "url": before.source_url,
        "verified_at": verification.created_at if verification else before.verified_at,
        "verified_by": verification.verified_by if verification else before.verified_by,
    }
    return entry_from(value, source, value.note, corrects=added.id)._replace(effective_from=added.effective_from)
