"""Catalog proposals: one person opens a proposal, rows are selected, and another person approves it. `apply` applies and undoes them."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from webapp.domain.catalog.catalog_diff import ADDED, KINDS, CatalogComparison, ModelDiff, compare
from webapp.domain.catalog.catalog_guards import GUARDS, HELD_GUARDS, GuardLimits
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PriceEntry, validate_model, validate_price
from webapp.domain.catalog.serializers import model_document
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.pricing.serializers import billing_document, price_document
from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.models import MAX_ID, Proposal, ProposalRow
from webapp.models.text_search import contains_text
from webapp.price_sources.sources import SEED, SourceCatalog
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog_sync import proposal_names
from webapp.services.catalog_sync.source_models import models_by_ref
from webapp.services.jobs import queue

OPEN, APPLIED, UNDONE, CLOSED = "open", "applied", "undone", "closed"
MAX_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """The inputs of a comparison: the registry, a catalog, an optional second catalog, the limits and the time.

    `shrunk` is true if the last version of the catalog had many more records.
    """

    snapshot: Snapshot
    catalog: SourceCatalog
    second_catalog: SourceCatalog | None
    limits: GuardLimits
    at: datetime
    shrunk: bool = False


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A filter on the rows of a proposal. Empty fields do not filter."""

    kind: str = ""
    guard: str = ""
    provider: str = ""
    word: str = ""
    chosen: str = ""

    def condition(self) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = []
        if self.kind in KINDS:
            conditions.append(ProposalRow.kind == self.kind)
        if self.guard == "none":
            conditions.append(ProposalRow.guards == "")
        elif self.guard in GUARDS:
            conditions.append(_has_guard(self.guard))
        if self.provider:
            conditions.append(ProposalRow.provider == self.provider)
        if self.chosen in ("1", "0"):
            conditions.append(ProposalRow.chosen.is_(self.chosen == "1"))
        return and_(True, *conditions, *(contains_text(ProposalRow.ref, word) for word in self.word.split()[:5]))


def _has_guard(name: str) -> ColumnElement[bool]:
    return ProposalRow.guards.contains(f",{name},", autoescape=True)


def find(session: Session, proposal_id: int, *, lock: bool = False) -> Proposal:
    """Return the proposal. Raises `NotFound`."""
    row = session.get(Proposal, proposal_id, with_for_update=lock or None, populate_existing=lock) if 0 < proposal_id <= MAX_ID else None
    if row is None:
        raise NotFound("There is no such proposal.")
    return row


def find_open(session: Session, proposal_id: int) -> Proposal:
    """Return the open proposal, locked. Raises `Conflict` for any other, and while a job works on it."""
    proposal = find(session, proposal_id, lock=True)
    if proposal.status != OPEN:
        raise Conflict("This proposal is no longer open.", code="not_open")
    queue.require_no_active(session, proposal_target(proposal))
    return proposal


def list_proposals(session: Session, limit: int = 100) -> list[Proposal]:
    return list(session.execute(select(Proposal).order_by(Proposal.id.desc()).limit(limit)).scalars())


def open_proposal(session: Session, comparison: Comparison, *, actor: str) -> Proposal:
    """Compare the catalog with the registry, and store the differences as a proposal without selected rows.

    Nothing else changes. Raises `Conflict` with the code `no_difference` if there is nothing to propose.
    """
    rows, problems = build_rows(comparison)
    all_problems = [*comparison.catalog.problems, *problems]
    if _are_known(session, comparison.catalog, rows):
        unread = f" Problems in the source: {len(all_problems):,}. The first one: {all_problems[0]}" if all_problems else ""
        raise Conflict(
            f"The registry has everything that {comparison.catalog.name} {comparison.catalog.version} says.{unread}", code="no_difference"
        )
    proposal = Proposal(
        source=comparison.catalog.name,
        source_version=comparison.catalog.version,
        digest=comparison.catalog.digest,
        status=OPEN,
        opened_by=actor,
        second_source=f"{comparison.second_catalog.name} {comparison.second_catalog.version}" if comparison.second_catalog else None,
        problems=[],
        counts={},
    )
    session.add(proposal)
    session.flush()
    for row in rows:
        row.proposal_id = proposal.id
    session.add_all(rows)
    proposal.problems = all_problems[:MAX_PROBLEMS]
    proposal.counts = count_rows(rows) | count_source(comparison.catalog, problems)
    change = AuditChange(None, proposal_audit_values(proposal))
    audit_log.record(session, "catalog:proposal:create", actor=actor, target=proposal_target(proposal), change=change)
    return proposal


def _are_known(session: Session, catalog: SourceCatalog, rows: Sequence[ProposalRow]) -> bool:
    """Return whether there is no row, or only rows without anything to apply that a proposal of this version reported before."""
    query = select(ProposalRow.ref).join(Proposal).where(Proposal.digest == catalog.digest, Proposal.source == catalog.name)
    return not any(row.choosable for row in rows) and {row.ref for row in rows} <= set(session.execute(query).scalars())


def build_rows(comparison: Comparison) -> tuple[list[ProposalRow], list[str]]:
    """Return the rows, which are not stored yet, and the records that cannot become a model, each with the reason."""
    problems: list[str] = []
    offered = models_by_ref(comparison.catalog, problems)
    sides = CatalogComparison(
        registry={model.ref: model for model in comparison.snapshot.models},
        known_names=comparison.snapshot.by_name,
        offered=offered,
        source=comparison.catalog.name,
        at=comparison.at,
        second_source=models_by_ref(comparison.second_catalog, []) if comparison.second_catalog else None,
        scope=comparison.catalog.scope,
        shrunk=comparison.shrunk,
    )
    names = {
        row["slug"]: row.get("display_name") or row["slug"] for row in comparison.catalog.providers if isinstance(row.get("slug"), str)
    }
    rows = []
    for difference in compare(sides, comparison.limits):
        try:
            rows.append(_build_row(difference, sides, names))
        except Invalid as error:
            problems.append(f"{difference.ref}: {error.detail}")
    proposal_names.mark_rows(rows, comparison.snapshot)
    if all("lost" in row.guards for row in rows):  # Or there is no row.
        _require_readable(comparison.catalog, problems, is_known=not sides.registry.keys().isdisjoint(offered))
    return rows, problems


def _require_readable(catalog: SourceCatalog, problems: list[str], *, is_known: bool) -> None:
    """Raise `Invalid` if nothing in the file can be read: such a file never means that there is nothing new."""
    all_problems = [*catalog.problems, *problems]
    first = f" The first problem: {all_problems[0]}" if all_problems else ""
    if problems and not is_known:
        raise Invalid.field("file", f"has no record that can be read.{first}")
    if not catalog.fields_read and (catalog.fields_noted or all_problems):
        raise Invalid.field("file", f"has no price that can be read.{first}")


def _build_row(difference: ModelDiff, sides: CatalogComparison, names: Mapping[str, str]) -> ProposalRow:
    offered, current = sides.offered.get(difference.ref), sides.registry.get(difference.ref)
    provider = (offered or current).provider  # type: ignore[union-attr] # At least one of them exists.
    entry = (
        _addition_entry(offered, sides, names)
        if difference.kind == ADDED and offered
        else _change_entry(difference, offered, current, sides)
    )
    return ProposalRow(
        ref=difference.ref,
        provider=provider,
        kind=difference.kind,
        choosable=difference.choosable,
        chosen=False,
        entry=entry,
        guards=f",{','.join(difference.guards)}," if difference.guards else "",
        lines=[list(line) for line in difference.lines],
    )


def _addition_entry(offered: ModelInfo, sides: CatalogComparison, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the entry of an inactive new model without taken aliases. Raises `Invalid` if the record cannot become a model."""
    fields = {name: value for name, value in model_document(offered).items() if name in MODEL_CHECKS}
    free_aliases = [
        alias for alias in offered.aliases if f"{offered.provider}/{alias}" not in sides.known_names and alias not in sides.known_names
    ]
    model = fields | {"active": False, "default": False, "aliases": free_aliases, "sort_order": 1_000}
    validate_model(model, partial=False)
    prices = [price_document(price) or {} for price in offered.prices]
    for document in prices:
        catalog_price_entry(document, "")
    return {"model": model, "prices": prices, "provider_name": names.get(offered.provider)}


def catalog_price_entry(document: Mapping[str, Any], source: str) -> PriceEntry:
    """Return the validated entry of a catalog price, with its source: that of the seed names the catalog it came from. Raises `Invalid`."""
    origin = document.get("source") or {}
    url = origin.get("url")
    fields = {"effective_from": document["effective_from"], "note": (document.get("note") or "")[:1_900]}
    entry = validate_price(billing_document(document) | fields | {"source": {"kind": "manual", "url": url}})
    kind, name = ("seed", origin.get("name")) if source == SEED else ("catalog", source)
    return entry._replace(source={"kind": kind, "name": name, "url": url, "verified_at": None})


def _change_entry(difference: ModelDiff, offered: ModelInfo | None, current: ModelInfo | None, sides: CatalogComparison) -> dict[str, Any]:
    """Return the new values, and the values at the time of opening. The change is applied only if those are still current."""
    before = current.price_at(sides.at) if current else None
    if difference.price:
        catalog_price_entry(price_document(difference.price) or {}, "")
    document = model_document(current) if current else {}
    after = model_document(offered) if offered else {}
    return {
        "price": price_document(difference.price),
        "price_before": before.id if before else None,
        "fields": {name: after[name] for name in difference.fields},
        "fields_before": {name: document[name] for name in difference.fields},
    }


def count_rows(rows: Sequence[ProposalRow]) -> dict[str, Any]:
    kinds = Counter(row.kind for row in rows)
    guards = Counter(guard for row in rows for guard in row.guards.split(",") if guard)
    return {"rows": len(rows), **{kind: kinds[kind] for kind in KINDS}, "guards": {name: guards[name] for name in GUARDS if guards[name]}}


def count_source(catalog: SourceCatalog, problems: Sequence[str]) -> dict[str, int]:
    """Return how much of the catalog was read. `problems` name the records that cannot become a model."""
    return {
        "problems": len(catalog.problems) + len(problems),
        "records_read": len(catalog.models) - len(problems),
        "records_left_out": catalog.records_left_out + len(problems),
        "fields_read": catalog.fields_read,
        "fields_noted": catalog.fields_noted,
    }


def choose(session: Session, proposal_id: int, condition: ColumnElement[bool], chosen: bool) -> int:
    """Select or deselect rows, except report-only rows, and return the number of selected rows."""
    find_open(session, proposal_id)
    rows = and_(ProposalRow.proposal_id == proposal_id, ProposalRow.choosable, ProposalRow.chosen.is_(not chosen), condition)
    session.execute(update(ProposalRow).where(rows).values(chosen=chosen), execution_options={"synchronize_session": False})
    return count_chosen(session, proposal_id)


def choose_matching(session: Session, proposal_id: int, row_filter: RowFilter, chosen: bool) -> int:
    """Select or deselect the rows that match, and return how many stay deselected: someone must select a held row on its own."""
    condition, held = row_filter.condition(), or_(*(_has_guard(name) for name in HELD_GUARDS))
    choose(session, proposal_id, and_(condition, ~held) if chosen else condition, chosen)
    rows = and_(ProposalRow.proposal_id == proposal_id, ProposalRow.choosable, ~ProposalRow.chosen, condition)
    return session.execute(select(func.count()).select_from(ProposalRow).where(rows)).scalar_one() if chosen else 0


def count_chosen(session: Session, proposal_id: int, *, marked: bool = False) -> int:
    """Return the number of selected rows, or of those with guards."""
    query = select(func.count()).select_from(ProposalRow).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen)
    return session.execute(query.where(ProposalRow.guards != "") if marked else query).scalar_one()


def selection_digest(session: Session, proposal_id: int) -> str:
    """Return the digest of the selected rows. The approver sends back the digest of the reviewed selection."""
    query = select(ProposalRow.id).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen).order_by(ProposalRow.id)
    return hashlib.sha256(",".join(map(str, session.execute(query).scalars())).encode()).hexdigest()[:32]


def close(session: Session, proposal_id: int, *, actor: str) -> Proposal:
    """Close an open proposal without applying it."""
    proposal = find_open(session, proposal_id)
    proposal.status, proposal.ended_by, proposal.ended_at = CLOSED, actor, audit_log.now()
    change = AuditChange({"status": OPEN}, {"status": CLOSED})
    audit_log.record(session, "catalog:proposal:close", actor=actor, target=proposal_target(proposal), change=change)
    return proposal


def proposal_target(proposal: Proposal) -> Target:
    return Target("proposal", proposal.id, str(proposal))


def proposal_audit_values(proposal: Proposal) -> dict[str, Any]:
    counts = proposal.counts
    return {"source": proposal.source, "version": proposal.source_version, **{kind: counts.get(kind, 0) for kind in KINDS}}
