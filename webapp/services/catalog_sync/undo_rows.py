"""Undo of the rows of an applied proposal. Prices are append-only: an undo adds corrections, and a model that has prices stays.

After an undo, every name means what it meant before: an added model that nothing uses gives up its id and its aliases.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from webapp.domain.catalog.catalog_diff import ADDED
from webapp.domain.catalog.input_schemas import PriceEntry, entry_from
from webapp.models import EvaluationCell, Model, Price, PriceVerification, ProjectOverride, PromptTemplate, ProposalRow, Run, UsageRecord
from webapp.services.catalog import models
from webapp.services.pricing import prices

BLOCK_SIZE = 500  # Rows that one query names.


def undo_slice(session: Session, rows: Sequence[ProposalRow], *, actor: str) -> list[str]:
    """Undo any slice of the rows of an applied proposal in the caller's transaction. Return a message for each row that stays."""
    uses = find_uses(session, rows)
    return [f"{row.ref} {reason}" for row in rows if (reason := _undo_row(session, row, uses, actor=actor))]


def _undo_row(session: Session, row: ProposalRow, uses: Mapping[str, str], *, actor: str) -> str | None:
    """Undo one row, and return None or why it stays. `uses` has the uses of added models."""
    applied_values = row.done or {}
    model = session.get(Model, applied_values.get("model", 0))
    if model is None:
        return None  # The model was deleted, so there is nothing to undo.
    if row.kind == ADDED:
        return _remove_model(session, model, row, uses, actor)
    if applied_values.get("deactivated"):
        if not model.is_active:
            models.set_active(session, model.id, True, actor=actor)
        return None
    reasons = [_restore_fields(session, model, applied_values, actor), _restore_price(session, model, applied_values, row, actor=actor)]
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
    blocks = [ids[start : start + BLOCK_SIZE] for start in range(0, len(ids), BLOCK_SIZE)]
    return {
        name: use
        for use, is_used in conditions.items()
        for block in blocks
        for name in session.execute(select(ref).where(ProposalRow.id.in_(block), is_used)).scalars()
    }


def _remove_model(session: Session, model: Model, row: ProposalRow, uses: Mapping[str, str], actor: str) -> str | None:
    """Delete an added model, or make it give up its names if it has prices. A model that is used or was changed stays as it is."""
    if model.is_active:
        return "was activated since, so it stays."
    if use := uses.get(row.ref):
        return f"{use}, so it stays."
    if model.version > 1 or _has_other_prices(session, model, row):
        return "was edited since, so it stays."
    if not row.entry["prices"]:
        models.delete(session, model.id, actor=actor)
        return None
    values = {
        "model_id": f"~undone-{row.id}",
        "display_name": f"{model.display_name[:190]} (undone)",
        "aliases": [],
        "description": f"Was {row.ref}, from the proposal {row.proposal}, which was undone. {model.description}"[:10_000],
    }
    models.update(session, model.id, values, actor=actor)
    return None


def _has_other_prices(session: Session, model: Model, row: ProposalRow) -> bool:
    """Return whether someone added or verified a price since."""
    ids = session.execute(select(Price.id).where(Price.model_id == model.id)).scalars().all()
    is_verified = session.execute(select(PriceVerification.id).where(PriceVerification.price_id.in_(ids))).first() is not None
    return is_verified or len(ids) != len(row.entry["prices"])


# Changed models.


def _restore_fields(session: Session, model: Model, applied_values: dict[str, Any], actor: str) -> str | None:
    if not applied_values.get("fields"):
        return None
    current_values = models.audit_values(model)
    if any(current_values[name] != value for name, value in applied_values["taken"].items()):
        return "was edited since"
    models.update(session, model.id, applied_values["fields"], actor=actor)
    return None


def _restore_price(session: Session, model: Model, applied_values: dict[str, Any], row: ProposalRow, *, actor: str) -> str | None:
    """Correct the added price with the price that applied before it: its rates, its note and its source."""
    added = session.get(Price, applied_values.get("price") or 0)
    if added is None:
        return None
    if _get_correction_or_none(session, added):
        return "has a corrected price since"
    before = session.get(Price, applied_values["price_before"] or 0)
    while before and (correction := _get_correction_or_none(session, before)):
        before = correction
    note = f"There was no price before the proposal {row.proposal}, which was undone."
    unknown = PriceEntry(
        "unknown", added.effective_from, added.currency, (), {"kind": "catalog", "name": row.proposal.source}, note, added.id
    )
    prices.import_price(session, model, _restored_entry(session, before, added) if before else unknown, actor=actor)
    return None


def _get_correction_or_none(session: Session, price: Price) -> Price | None:
    return session.execute(select(Price).where(Price.corrects_id == price.id)).scalar_one_or_none()


def _restored_entry(session: Session, before: Price, added: Price) -> PriceEntry:
    """Return the price `before` as a correction of the added one."""
    value = prices.to_domain(before)
    latest = select(PriceVerification).where(PriceVerification.price_id == before.id).order_by(PriceVerification.id.desc()).limit(1)
    verification = session.execute(latest).scalar_one_or_none()
    source = {
        "kind": before.source_kind,
        "name": before.source_name,
        "url": before.source_url,
        "verified_at": verification.created_at if verification else before.verified_at,
        "verified_by": verification.verified_by if verification else before.verified_by,
    }
    return entry_from(value, source, value.note, corrects=added.id)._replace(effective_from=added.effective_from)
