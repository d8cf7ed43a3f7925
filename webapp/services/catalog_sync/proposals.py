"""Proposals of a catalogue: opened by one person, chosen row by row, approved by another; `proposal_apply` takes them over and back."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session

from webapp.domain.catalog.catalog_diff import ADDED, GUARDS, KINDS, CatalogComparison, GuardLimits, ModelDiff, compare
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, PriceEntry, validate_model, validate_price
from webapp.domain.catalog.serializers import catalog_from, model_document, price_document
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.models import MAX_ID, Proposal, ProposalRow
from webapp.price_sources.sources import SourceCatalog
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

OPEN, APPLIED, UNDONE, CLOSED = "open", "applied", "undone", "closed"
MAX_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared: the registry, a catalogue, if there is one a second opinion, the limits and the moment."""

    snapshot: Snapshot
    catalog: SourceCatalog
    second_catalog: SourceCatalog | None
    limits: GuardLimits
    at: datetime


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of a proposal are meant; what is empty matters not."""

    kind: str = ""
    guard: str = ""
    provider: str = ""
    word: str = ""
    chosen: str = ""

    def condition(self) -> ColumnElement[bool]:
        found: list[ColumnElement[bool]] = []
        if self.kind in KINDS:
            found.append(ProposalRow.kind == self.kind)
        if self.guard == "none":
            found.append(ProposalRow.guards == "")
        elif self.guard in GUARDS:
            found.append(ProposalRow.guards.contains(f",{self.guard},", autoescape=True))
        if self.provider:
            found.append(ProposalRow.provider == self.provider)
        if self.chosen in ("1", "0"):
            found.append(ProposalRow.chosen.is_(self.chosen == "1"))
        return and_(True, *found, *(ProposalRow.ref.icontains(word, autoescape=True) for word in self.word.split()[:5]))


def find(session: Session, proposal_id: int, *, lock: bool = False) -> Proposal:
    """Raises `NotFound`."""
    row = session.get(Proposal, proposal_id, with_for_update=lock or None, populate_existing=lock) if 0 < proposal_id <= MAX_ID else None
    if row is None:
        raise NotFound("There is no such proposal.")
    return row


def list_proposals(session: Session, limit: int = 100) -> list[Proposal]:
    return list(session.execute(select(Proposal).order_by(Proposal.id.desc()).limit(limit)).scalars())


def open_proposal(session: Session, given: Comparison, *, actor: str) -> Proposal:
    """Compares, and keeps what differs as a proposal in which nothing is chosen yet. Changes nothing else.

    Raises `Conflict` with the code `no_difference` if there is nothing to propose.
    """
    rows, problems = build_rows(given)
    if not rows:
        raise Conflict(f"The registry has everything that {given.catalog.name} {given.catalog.version} says.", code="no_difference")
    proposal = Proposal(
        source=given.catalog.name,
        source_version=given.catalog.version,
        digest=given.catalog.digest,
        status=OPEN,
        opened_by=actor,
        second_source=f"{given.second_catalog.name} {given.second_catalog.version}" if given.second_catalog else None,
        problems=[],
        counts={},
    )
    session.add(proposal)
    session.flush()
    for row in rows:
        row.proposal_id = proposal.id
    session.add_all(rows)
    proposal.problems = [*given.catalog.problems, *problems][:MAX_PROBLEMS]
    proposal.counts = count_rows(rows)
    audit_log.record(
        session,
        "catalog:proposal:create",
        actor=actor,
        target=proposal_target(proposal),
        change=AuditChange(None, proposal_audit_values(proposal)),
    )
    return proposal


def build_rows(given: Comparison) -> tuple[list[ProposalRow], list[str]]:
    """The rows, not stored yet, and the records that no model can be made of, each with the reason."""
    offered = _models_by_ref(given.catalog)
    sides = CatalogComparison(
        registry={model.ref: model for model in given.snapshot.models},
        known_names=given.snapshot.by_name,
        offered=offered,
        source=given.catalog.name,
        at=given.at,
        second_source=_models_by_ref(given.second_catalog) if given.second_catalog else None,
    )
    names = {row["slug"]: row.get("display_name") or row["slug"] for row in given.catalog.providers if row.get("slug")}
    rows, problems = [], []
    for difference in compare(sides, given.limits):
        try:
            rows.append(_build_row(difference, sides, names))
        except Invalid as error:
            problems.append(f"{difference.ref}: {error.detail}")
    return rows, problems


def _models_by_ref(read: SourceCatalog) -> Mapping[str, ModelInfo]:
    try:
        catalog = catalog_from({"providers": [], "models": read.models})
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Invalid.field("file", f"holds a model that cannot be read: {str(error)[:200]}") from None
    return {model.ref: model for model in catalog.models}


def _build_row(difference: ModelDiff, sides: CatalogComparison, names: Mapping[str, str]) -> ProposalRow:
    offered, present = sides.offered.get(difference.ref), sides.registry.get(difference.ref)
    provider = (offered or present).provider  # type: ignore[union-attr] # a difference is of one of them
    entry = (
        _addition_entry(offered, sides, names)
        if difference.kind == ADDED and offered
        else _change_entry(difference, offered, present, sides)
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
    """A model to add, inactive, without names that are taken. Raises `Invalid` if no model can be made of it."""
    known = {name: value for name, value in model_document(offered).items() if name in MODEL_CHECKS}
    free = [alias for alias in offered.aliases if f"{offered.provider}/{alias}" not in sides.known_names and alias not in sides.known_names]
    model = known | {"active": False, "default": False, "aliases": free, "sort_order": 1_000}
    validate_model(model, partial=False)
    prices = [price_document(price) or {} for price in offered.prices]
    for document in prices:
        catalog_price_entry(document, "")
    return {"model": model, "prices": prices, "provider_name": names.get(offered.provider)}


def catalog_price_entry(document: Mapping[str, Any], source: str) -> PriceEntry:
    """A price as the source says it, checked like any other; where it came from stays with it. Raises `Invalid`."""
    given = {name: document[name] for name in ("state", "effective_from", "currency", "rates")}
    url = (document.get("source") or {}).get("url")
    entry = validate_price(given | {"note": (document.get("note") or "")[:1_900], "source": {"kind": "manual", "url": url}})
    return entry._replace(source={"kind": "catalog", "name": source, "url": url, "verified_at": None})


def _change_entry(difference: ModelDiff, offered: ModelInfo | None, present: ModelInfo | None, sides: CatalogComparison) -> dict[str, Any]:
    """What is to change, and what it was when the proposal was opened: it is taken over only if that still holds."""
    before = present.price_at(sides.at) if present else None
    price = offered.price_at(sides.at) if offered and difference.price else None
    if price:
        catalog_price_entry(price_document(price) or {}, "")
    document = model_document(present) if present else {}
    after = model_document(offered) if offered else {}
    return {
        "price": price_document(price),
        "price_before": before.id if before else None,
        "fields": {name: after[name] for name in difference.fields},
        "fields_before": {name: document[name] for name in difference.fields},
    }


def count_rows(rows: Sequence[ProposalRow]) -> dict[str, Any]:
    kinds = Counter(row.kind for row in rows)
    guards = Counter(guard for row in rows for guard in row.guards.split(",") if guard)
    return {"rows": len(rows), **{kind: kinds[kind] for kind in KINDS}, "guards": {name: guards[name] for name in GUARDS if guards[name]}}


def choose(session: Session, proposal_id: int, wanted: ColumnElement[bool], chosen: bool) -> int:
    """Ticks rows or takes the tick away; those that only report are left out. The number of rows that are ticked now."""
    proposal = find(session, proposal_id, lock=True)
    if proposal.status != OPEN:
        raise Conflict("This proposal is no longer open.", code="not_open")
    rows = and_(ProposalRow.proposal_id == proposal_id, ProposalRow.choosable, ProposalRow.chosen.is_(not chosen), wanted)
    session.execute(update(ProposalRow).where(rows).values(chosen=chosen), execution_options={"synchronize_session": False})
    return count_chosen(session, proposal_id)


def count_chosen(session: Session, proposal_id: int) -> int:
    query = select(func.count()).select_from(ProposalRow).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen)
    return session.execute(query).scalar_one()


def selection_digest(session: Session, proposal_id: int) -> str:
    """Stands for just the rows that are ticked: whoever approves sends back the one of what was shown."""
    query = select(ProposalRow.id).where(ProposalRow.proposal_id == proposal_id, ProposalRow.chosen).order_by(ProposalRow.id)
    return hashlib.sha256(",".join(map(str, session.execute(query).scalars())).encode()).hexdigest()[:32]


def close(session: Session, proposal_id: int, *, actor: str) -> Proposal:
    """Puts an open proposal away without taking anything over."""
    proposal = find(session, proposal_id, lock=True)
    if proposal.status != OPEN:
        raise Conflict("This proposal is no longer open.", code="not_open")
    proposal.status, proposal.ended_by, proposal.ended_at = CLOSED, actor, audit_log.now()
    audit_log.record(
        session,
        "catalog:proposal:close",
        actor=actor,
        target=proposal_target(proposal),
        change=AuditChange({"status": OPEN}, {"status": CLOSED}),
    )
    return proposal


def proposal_target(proposal: Proposal) -> Target:
    return Target("proposal", proposal.id, str(proposal))


def proposal_audit_values(proposal: Proposal) -> dict[str, Any]:
    counts = proposal.counts
    return {"source": proposal.source, "version": proposal.source_version, **{kind: counts.get(kind, 0) for kind in KINDS}}
