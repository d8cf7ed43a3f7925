"""Benches: making one, deciding cell by cell what is asked next, and recording what came of it (read by `bench_results`)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, selectinload

from webapp.domain.accounts.permissions import Permission
from webapp.domain.incidents import evaluation
from webapp.domain.incidents.incidents import Incident, incident_dict
from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.domain.shared.money import EXACT, ZERO
from webapp.models import Evaluation, EvaluationCell, Rating, Run
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.runs import records
from webapp.services.runs.execution import RunOutcome
from webapp.services.runs.planning import RunPlan

HEARTBEAT_TIMEOUT = timedelta(seconds=30)
COMPLETED_STATUSES = ("done", "failed")
NOT_STARTED_STATUSES = ("planned", "cancelled", "skipped")
CAP_REACHED = "The spend cap was reached before this was asked."
NOT_PERMITTED = "{} may not run anything any more, so this was not asked. Whoever may can run what is missing."


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """What a bench is to do. `most` are the estimates of the most that a call may cost, by (incident, model)."""

    name: str
    incidents: Sequence[Incident]
    models: Sequence[str]
    repeats: int
    template: str
    spend_cap: Decimal | None
    max_costs: Mapping[tuple[int, str], Decimal | None]


def create(session: Session, setup: EvaluationSetup, *, actor: str) -> Evaluation:
    """Stores a bench with all of its cells, ready to run. Raises `Invalid`."""
    evaluation.require_valid_selection(len(setup.incidents), setup.models, setup.repeats)
    now = datetime.now(UTC)
    found = Evaluation(
        public_id=f"bench_{secrets.token_hex(10)}",
        name=setup.name,
        actor=actor,
        status="running",
        template=setup.template,
        incidents=[incident_dict(incident) for incident in setup.incidents],
        models=list(setup.models),
        repeats=setup.repeats,
        spend_cap=setup.spend_cap,
        heartbeat_at=now,
    )
    order = evaluation.cell_order(len(setup.incidents), setup.models, setup.repeats)
    found.cells = [
        EvaluationCell(
            position=position,
            incident=incident,
            model=model,
            repeat=repeat,
            status="planned",
            max_cost=setup.max_costs.get((incident, model)),
        )
        for position, (incident, model, repeat) in enumerate(order)
    ]
    session.add(found)
    session.flush()
    after = {"models": list(setup.models), "incidents": len(setup.incidents), "repeats": setup.repeats}
    audit_log.record(session, "runs:bench:create", actor=actor, target=_evaluation_target(found), change=AuditChange(None, after))
    return found


def find(session: Session, public_id: str) -> Evaluation:
    """Raises `NotFound`."""
    found = session.execute(select(Evaluation).where(Evaluation.public_id == public_id[:40])).scalar_one_or_none()
    if found is None:
        raise NotFound("There is no such bench.")
    return found


def _lock_evaluation(session: Session, public_id: str) -> Evaluation:
    """The bench, which nobody else changes until this transaction ends. Raises `NotFound`."""
    found = session.get(Evaluation, find(session, public_id).id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("There is no such bench.")
    return found


def find_with_cells(session: Session, public_id: str) -> Evaluation:
    """The bench with its cells, runs and their recommendations, in four questions however many there are."""
    query = select(Evaluation).where(Evaluation.public_id == public_id[:40])
    loaded = selectinload(Evaluation.cells).selectinload(EvaluationCell.run).selectinload(Run.recommendations)
    found = session.execute(query.options(loaded).execution_options(populate_existing=True)).scalar_one_or_none()
    if found is None:
        raise NotFound("There is no such bench.")
    return found


@dataclass(frozen=True, slots=True)
class CellTask:
    """One cell that is to be asked now, of the bench with this number and public id, in this generation of it."""

    evaluation_id: int
    evaluation_public_id: str
    generation: int
    cell_id: int
    incident: dict[str, Any]
    model: str
    template: str
    actor: str


def start_next_cell(session: Session, bench_id: int, generation: int, model: str) -> CellTask | str:
    """The next cell of this model, marked as running; or `WAIT` while the spend cap holds it back, `SKIP` when there is none any more.

    Whoever it runs as is looked up each time: keys of somebody who was switched off meanwhile are used no more. A lane of an earlier
    generation begins nothing: the bench was resumed without it.
    """
    found = session.get(Evaluation, bench_id, with_for_update=True, populate_existing=True)
    if found is None or found.status != "running" or found.generation != generation:
        return evaluation.SKIP
    if not accounts.has_permission(session, found.caller, Permission.RUNS_WRITE):
        _skip_planned_cells(session, bench_id, NOT_PERMITTED.format(found.caller))
        return evaluation.SKIP
    query = select(EvaluationCell).where(
        EvaluationCell.evaluation_id == bench_id, EvaluationCell.model == model, EvaluationCell.status == "planned"
    )
    cell = session.execute(query.order_by(EvaluationCell.position).limit(1)).scalar_one_or_none()
    if cell is None:
        return evaluation.SKIP
    verdict = evaluation.decide_start(
        found.spend_cap, total_spent(session, found.public_id), _max_costs_of_running_cells(session, bench_id), cell.max_cost
    )
    if verdict == evaluation.START:
        cell.status = "running"
        incident = found.incidents[cell.incident]
        return CellTask(found.id, found.public_id, generation, cell.id, incident, model, found.template, found.caller)
    if verdict == evaluation.SKIP:
        cell.status, cell.reason = "skipped", CAP_REACHED
        return start_next_cell(session, bench_id, generation, model) if _has_planned_cells(session, bench_id, model) else evaluation.SKIP
    return evaluation.WAIT


def _skip_planned_cells(session: Session, bench_id: int, why: str) -> None:
    planned = update(EvaluationCell).where(EvaluationCell.evaluation_id == bench_id, EvaluationCell.status == "planned")
    session.execute(planned.values(status="skipped", reason=why).execution_options(synchronize_session=False))


def _has_planned_cells(session: Session, bench_id: int, model: str) -> bool:
    session.flush()
    query = select(func.count()).select_from(EvaluationCell)
    mine = (EvaluationCell.evaluation_id == bench_id, EvaluationCell.model == model, EvaluationCell.status == "planned")
    return bool(session.execute(query.where(*mine)).scalar_one())


def total_spent(session: Session, bench: str) -> Decimal:
    """What all runs of a bench have cost so far in the currency of the cap, as far as it is known; also those that no cell shows."""
    query = select(Run.cost_total).where(Run.evaluation == bench, Run.currency == evaluation.CAP_CURRENCY, Run.cost_total.is_not(None))
    total = ZERO
    for cost in session.execute(query).scalars():
        total = EXACT.add(total, cost or ZERO)
    return total


def _max_costs_of_running_cells(session: Session, bench_id: int) -> Sequence[Decimal | None]:
    query = select(EvaluationCell.max_cost).where(EvaluationCell.evaluation_id == bench_id, EvaluationCell.status == "running")
    return session.execute(query).scalars().all()


def complete_cell(session: Session, work: CellTask, planned: RunPlan, outcome: RunOutcome) -> None:
    """Records what came back for a cell: always as a run of the bench, because it is billed."""
    cell, current = _lock_cell(session, work)
    run = records.record(session, planned, outcome, actor=work.actor, evaluation_public_id=work.evaluation_public_id)
    if cell is None:
        return  # The bench was deleted meanwhile; the run stays.
    # An answer of an earlier generation comes late: it serves where the cell was not begun anew, and replaces nothing.
    if current or (run.status == "succeeded" and cell.status in NOT_STARTED_STATUSES):
        cell.run_id, cell.reason = run.id, run.error_detail
        cell.status = "done" if run.status == "succeeded" else "failed"


def fail_cell(session: Session, work: CellTask, why: str) -> None:
    """A cell for which there is no run, and the reason."""
    cell, current = _lock_cell(session, work)
    if cell is not None and current:
        cell.status, cell.run_id, cell.reason = "failed", None, why


def _lock_cell(session: Session, work: CellTask) -> tuple[EvaluationCell | None, bool]:
    """The cell, and whether the work is of its bench's present generation; the bench is held first, as by all who change it."""
    found = session.get(Evaluation, work.evaluation_id, with_for_update=True, populate_existing=True)
    cell = session.get(EvaluationCell, work.cell_id, populate_existing=True)
    return cell, found is not None and found.generation == work.generation


def heartbeat(session: Session, bench_id: int, generation: int) -> None:
    """Says that lanes are alive: also after a cancellation, while answers are under way."""
    mine = update(Evaluation).where(Evaluation.id == bench_id, Evaluation.generation == generation)
    audit_log.update_without_audit(session, mine.values(heartbeat_at=datetime.now(UTC)))


def finish(session: Session, bench_id: int, generation: int) -> None:
    """Marks a bench as finished once nothing of it is left to do."""
    running = update(Evaluation).where(Evaluation.id == bench_id, Evaluation.generation == generation, Evaluation.status == "running")
    audit_log.update_without_audit(
        session, running.values(status="finished", finished_at=datetime.now(UTC))
    )  # Unless it was cancelled meanwhile.


def cancel(session: Session, public_id: str, *, actor: str) -> Evaluation:
    """Stops a bench: what has not begun is not asked; what is under way is recorded when it comes back, because it is billed."""
    found = _lock_evaluation(session, public_id)
    if effective_status(found) not in ("running", "interrupted"):
        raise Conflict("This bench has ended already.", code="ended")
    found.status, found.finished_at = "cancelled", datetime.now(UTC)
    planned = (
        update(EvaluationCell)
        .where(EvaluationCell.evaluation_id == found.id, EvaluationCell.status == "planned")
        .values(status="cancelled")
    )
    session.execute(planned.execution_options(synchronize_session=False))
    audit_log.record(
        session,
        "runs:bench:cancel",
        actor=actor,
        target=_evaluation_target(found),
        change=AuditChange({"status": "running"}, {"status": "cancelled"}),
    )
    return found


def resume(session: Session, public_id: str, *, actor: str) -> Evaluation:
    """Goes on with what is missing: after its process ended, after a cancellation, or to ask what was skipped.

    From then on whoever resumed it asks, with their own keys and in their own name. While answers are under way that a living process
    waits for, nothing is resumed: it would be asked, and paid, twice.
    """
    found = _lock_evaluation(session, public_id)
    if effective_status(found) == "running":
        raise Conflict("This bench is running.", code="running")
    if not is_heartbeat_overdue(found) and _max_costs_of_running_cells(session, found.id):
        raise Conflict("Answers of this bench are still under way. Resume it when they are back.", code="under_way")
    open_cells = update(EvaluationCell).where(
        EvaluationCell.evaluation_id == found.id, EvaluationCell.status.in_((*NOT_STARTED_STATUSES, "running"))
    )
    session.execute(open_cells.values(status="planned", reason=None).execution_options(synchronize_session=False))
    before = {"status": effective_status(found), "runs_as": found.caller}
    found.status, found.finished_at, found.heartbeat_at = "running", None, datetime.now(UTC)
    found.runs_as, found.generation = actor, found.generation + 1
    after = {"status": "running", "runs_as": actor}
    audit_log.record(session, "runs:bench:resume", actor=actor, target=_evaluation_target(found), change=AuditChange(before, after))
    return found


def effective_status(found: Evaluation, now: datetime | None = None) -> str:
    """Its status, or `interrupted` when the process that ran it has fallen silent."""
    return "interrupted" if found.status == "running" and is_heartbeat_overdue(found, now) else found.status


def is_heartbeat_overdue(found: Evaluation, now: datetime | None = None) -> bool:
    """Whether no process has said lately that it waits for answers of this bench."""
    return (now or datetime.now(UTC)) - found.heartbeat_at > HEARTBEAT_TIMEOUT


def has_pending_responses(found: Evaluation) -> bool:
    """Whether answers are under way that a living process waits for."""
    return not is_heartbeat_overdue(found) and any(cell.status == "running" for cell in found.cells)


def rename(session: Session, public_id: str, name: str, *, actor: str) -> Evaluation:
    """Raises `Invalid` for a name that is empty or too long."""
    clean = " ".join(name.split())
    if not 1 <= len(clean) <= 200 or not clean.isprintable():
        raise Invalid.field("name", "must have 1 to 200 characters")
    found = find(session, public_id)
    before, found.name = found.name, clean
    audit_log.record(
        session, "runs:bench:rename", actor=actor, target=_evaluation_target(found), change=AuditChange({"name": before}, {"name": clean})
    )
    return found


def rate(session: Session, public_id: str, run: str, score: int, *, actor: str) -> None:
    """A rating of one answer, 1 to 5; a later one of the same person replaces it. Raises `Invalid` or `NotFound`."""
    if not 1 <= score <= 5:
        raise Invalid.field("score", "must be 1 to 5")
    found = find(session, public_id)
    query = (
        select(Run)
        .join(EvaluationCell, EvaluationCell.run_id == Run.id)
        .where(EvaluationCell.evaluation_id == found.id, Run.public_id == run[:40])
    )
    row = session.execute(query).scalar_one_or_none()
    if row is None:
        raise NotFound("There is no such answer in this bench.")
    rating = session.execute(select(Rating).where(Rating.run_id == row.id, Rating.owner == actor)).scalar_one_or_none()
    before = {"score": rating.score} if rating else None
    if rating is None:
        session.add(Rating(run_id=row.id, owner=actor, score=score))
    else:
        rating.score = score
    audit_log.record(
        session, "runs:run:rate", actor=actor, target=Target("run", row.id, row.public_id), change=AuditChange(before, {"score": score})
    )


def _evaluation_target(found: Evaluation) -> Target:
    return Target("bench", found.id, found.public_id)
