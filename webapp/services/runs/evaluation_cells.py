"""Evaluation cells: decide which cell of an evaluation starts next, and record its outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from webapp.domain.accounts.permissions import Permission
from webapp.domain.incidents import evaluation
from webapp.domain.shared.money import EXACT, ZERO
from webapp.models import Evaluation, EvaluationCell, Run
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.runs import records
from webapp.services.runs.execution import RunOutcome
from webapp.services.runs.planning import RunPlan

NOT_STARTED_STATUSES = ("planned", "cancelled", "skipped")
CAP_REACHED = "The spend cap was reached before this was asked."
NOT_PERMITTED = "{} may not run anything any more, so this was not asked. Whoever may can run what is missing."


@dataclass(frozen=True, slots=True)
class CellTask:
    """A cell to execute now: it belongs to this generation of its evaluation."""

    evaluation_id: int
    evaluation_public_id: str
    generation: int
    cell_id: int
    incident: dict[str, Any]
    model: str
    template: str
    actor: str


def start_next_cell(session: Session, evaluation_id: int, generation: int, model: str) -> CellTask | str:
    """Mark the next cell of this model as running and return it. Returns `WAIT` or `SKIP` if none can start.

    `WAIT` means that the spend cap holds the cell back. `SKIP` means that no cell is left, or that the lane belongs to an earlier
    generation. The permission of the caller is checked each time, so the keys of a deactivated user are no longer used.
    """
    row = session.get(Evaluation, evaluation_id, with_for_update=True, populate_existing=True)
    if row is None or row.status != "running" or row.generation != generation:
        return evaluation.SKIP
    if not accounts.has_permission(session, row.caller, Permission.RUNS_WRITE):
        _skip_planned_cells(session, evaluation_id, NOT_PERMITTED.format(row.caller))
        return evaluation.SKIP
    query = select(EvaluationCell).where(
        EvaluationCell.evaluation_id == evaluation_id, EvaluationCell.model == model, EvaluationCell.status == "planned"
    )
    cell = session.execute(query.order_by(EvaluationCell.position).limit(1)).scalar_one_or_none()
    if cell is None:
        return evaluation.SKIP
    verdict = evaluation.decide_start(
        row.spend_cap, total_spent(session, row.public_id), max_costs_of_running_cells(session, evaluation_id), cell.max_cost
    )
    if verdict == evaluation.START:
        cell.status = "running"
        cell.open_calls += model != evaluation.LOCAL
        incident = row.incidents[cell.incident]
        return CellTask(row.id, row.public_id, generation, cell.id, incident, model, row.template, row.caller)
    if verdict == evaluation.SKIP:
        cell.status, cell.reason = "skipped", CAP_REACHED
        return (
            start_next_cell(session, evaluation_id, generation, model)
            if _has_planned_cells(session, evaluation_id, model)
            else evaluation.SKIP
        )
    return evaluation.WAIT


def _skip_planned_cells(session: Session, evaluation_id: int, reason: str) -> None:
    planned = update(EvaluationCell).where(EvaluationCell.evaluation_id == evaluation_id, EvaluationCell.status == "planned")
    session.execute(planned.values(status="skipped", reason=reason).execution_options(synchronize_session=False))


def _has_planned_cells(session: Session, evaluation_id: int, model: str) -> bool:
    session.flush()
    query = select(func.count()).select_from(EvaluationCell)
    conditions = (EvaluationCell.evaluation_id == evaluation_id, EvaluationCell.model == model, EvaluationCell.status == "planned")
    return bool(session.execute(query.where(*conditions)).scalar_one())


def total_spent(session: Session, public_id: str) -> Decimal:
    """Return the known cost of all runs of an evaluation in the currency of the cap, including runs that no cell shows."""
    query = select(Run.cost_total).where(Run.evaluation == public_id, Run.currency == evaluation.CAP_CURRENCY, Run.cost_total.is_not(None))
    total = ZERO
    for cost in filter(None, session.execute(query).scalars()):
        total = EXACT.add(total, cost)
    return total


def max_costs_of_running_cells(session: Session, evaluation_id: int) -> Sequence[Decimal | None]:
    query = select(EvaluationCell.max_cost).where(EvaluationCell.evaluation_id == evaluation_id, EvaluationCell.status == "running")
    return session.execute(query).scalars().all()


def complete_cell(session: Session, task: CellTask, planned: RunPlan, outcome: RunOutcome) -> None:
    """Record the outcome of a cell, always as a run of the evaluation, because it is billed."""
    cell, current = _lock_cell(session, task)
    run = records.record(session, planned, outcome, actor=task.actor, evaluation_public_id=task.evaluation_public_id)
    if cell is None:
        return  # The evaluation was deleted in the meantime; the run stays.
    # A response of an earlier generation is late. It counts if the cell was not started again, and never replaces a result.
    if current or (run.status == "succeeded" and cell.status in NOT_STARTED_STATUSES):
        cell.run_id, cell.reason = run.id, run.error_detail
        cell.status = "done" if run.status == "succeeded" else "failed"


def fail_cell(session: Session, task: CellTask, reason: str) -> None:
    """Mark a cell without a run as failed, with the reason."""
    cell, current = _lock_cell(session, task)
    if cell is not None and current:
        cell.status, cell.run_id, cell.reason = "failed", None, reason


def _lock_cell(session: Session, task: CellTask) -> tuple[EvaluationCell | None, bool]:
    """Return the cell of a call that has ended, and whether the task belongs to its evaluation's current generation.

    The evaluation is locked first, in the same order as in every other change.
    """
    row = session.get(Evaluation, task.evaluation_id, with_for_update=True, populate_existing=True)
    cell = session.get(EvaluationCell, task.cell_id, populate_existing=True)
    if cell is not None:
        cell.open_calls = max(0, cell.open_calls - 1)
    return cell, row is not None and row.generation == task.generation


def heartbeat(session: Session, evaluation_id: int, generation: int) -> None:
    """Record that lanes are running. They also run after a cancellation, while calls are in progress."""
    current = update(Evaluation).where(Evaluation.id == evaluation_id, Evaluation.generation == generation)
    audit_log.update_without_audit(session, current.values(heartbeat_at=datetime.now(UTC)))


def finish(session: Session, evaluation_id: int, generation: int) -> None:
    """Mark an evaluation as finished when no work is left."""
    running = update(Evaluation).where(Evaluation.id == evaluation_id, Evaluation.generation == generation, Evaluation.status == "running")
    # The condition excludes an evaluation that was canceled in the meantime.
    audit_log.update_without_audit(session, running.values(status="finished", finished_at=datetime.now(UTC)))
