"""Names that a proposal would change: the rows that change one, and the list that the approver confirms."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.catalog_diff import ADDED, GONE
from webapp.domain.catalog.catalog_guards import sort_guards
from webapp.domain.catalog.name_changes import ModelNames, NameChange, find_name_changes
from webapp.domain.catalog.price_diff import ModelDiffLine
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.shared.errors import Confirmation
from webapp.models import ProposalRow
from webapp.services.catalog import model_names

GUARD = "names"


def mark_rows(rows: Iterable[ProposalRow], snapshot: Snapshot) -> None:
    """Add the guard and a line to each row that would give a name in use another meaning, if all rows were applied."""
    before = _list_names(snapshot)
    rows = [row for row in rows if row.kind in (ADDED, GONE)]
    changes = [change for change in find_name_changes(before, _apply_rows(before, rows)) if change.active]
    for row in rows:
        lines = [_line(change) for change in changes if row.ref in (change.before, *change.after)]
        if lines:
            row.lines = [*row.lines, *lines]
            row.guards = f",{','.join(sort_guards([*row.guards.split(','), GUARD]))},"


def _line(change: NameChange) -> list[object]:
    after = f"ambiguous: {', '.join(change.after)}" if len(change.after) > 1 else change.after[0]
    return list(ModelDiffLine(f"Name {change.name}", change.before, after, guards=(GUARD,)))


def list_confirmations(session: Session, proposal_id: int) -> list[Confirmation]:
    """Return what the approver of the selected rows must confirm. It is empty without a selected row that has the guard."""
    columns = (ProposalRow.ref, ProposalRow.kind, ProposalRow.provider, ProposalRow.guards, ProposalRow.entry)
    kinds = ProposalRow.kind.in_((ADDED, GONE))
    is_marked = ProposalRow.guards.contains(f",{GUARD},", autoescape=True)
    selected = (ProposalRow.proposal_id == proposal_id, ProposalRow.chosen, kinds)
    if session.execute(select(ProposalRow.id).where(*selected, is_marked).limit(1)).first() is None:
        return []
    rows = [ProposalRow(**row._asdict()) for row in session.execute(select(*columns).where(*selected))]
    before = model_names.read_names(session)
    return model_names.list_names_confirmations(session, before, _apply_rows(before, rows))


def list_start_confirmations(session: Session, rows: Sequence[ProposalRow]) -> list[Confirmation]:
    """Return what must be confirmed before a job applies these rows: names with another meaning, and ids that differ only in case."""
    before = model_names.read_names(session)
    after = _apply_rows(before, rows)
    ids = [(model.provider, model.model_id) for model in before]
    added = [(row.entry["model"]["provider"], row.entry["model"]["model_id"]) for row in rows if row.kind == ADDED]
    return model_names.list_similar_ids(ids, added) + model_names.list_names_confirmations(session, before, after)


def list_undo_confirmations(session: Session, rows: Sequence[ProposalRow]) -> list[Confirmation]:
    """Return what must be confirmed before a job undoes these rows: added models leave, and deactivated ones are active again."""
    before = model_names.read_names(session)
    added = {row.ref for row in rows if row.kind == ADDED}
    gone = {row.ref for row in rows if row.kind == GONE}
    after = [model._replace(active=model.active or model.ref in gone) for model in before if model.ref not in added]
    return model_names.list_names_confirmations(session, before, after)


def _list_names(snapshot: Snapshot) -> list[ModelNames]:
    patterns: dict[str, set[str]] = {}
    for pattern, ref in snapshot.catalog.patterns:
        patterns.setdefault(ref, set()).add(pattern)
    return [
        ModelNames(
            model.ref, model.provider, model.model_id, model.active, frozenset(model.aliases), frozenset(patterns.get(model.ref, ()))
        )
        for model in snapshot.models
    ]


def _apply_rows(before: Sequence[ModelNames], rows: Iterable[ProposalRow]) -> list[ModelNames]:
    """Return the names after the rows are applied: new models are inactive, and models that are gone become inactive."""
    rows = list(rows)
    gone = {row.ref for row in rows if row.kind == GONE}
    added = [row.entry["model"] for row in rows if row.kind == ADDED]
    existing = [model._replace(active=False) if model.ref in gone else model for model in before]
    return existing + [
        ModelNames(f"{model['provider']}/{model['model_id']}", model["provider"], model["model_id"], False, frozenset(model["aliases"]))
        for model in added
    ]
