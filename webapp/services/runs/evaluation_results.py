"""Results of an evaluation for its page, exports and statistics: cells, late responses, lost calls and ratings."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.incidents import evaluation
from webapp.domain.incidents.evaluation import CellResult
from webapp.domain.pricing.spend import UNKNOWN_COST
from webapp.models import Evaluation, EvaluationCell, Rating, Run
from webapp.services.runs import evaluations


def ratings(session: Session, row: Evaluation) -> Mapping[int, dict[str, int]]:
    """Return the ratings by run and user."""
    query = select(Rating.run_id, Rating.owner, Rating.score).join(EvaluationCell, EvaluationCell.run_id == Rating.run_id)
    rated: dict[int, dict[str, int]] = {}
    for run_id, owner, score in session.execute(query.where(EvaluationCell.evaluation_id == row.id)):
        rated.setdefault(run_id, {})[owner] = score
    return rated


def results(row: Evaluation, rated: Mapping[int, dict[str, int]]) -> list[CellResult]:
    """Return the results of the executed cells for the statistics."""
    return [_cell_result(cell, cell.run, tuple(rated.get(cell.run.id, {}).values())) for cell in row.cells if cell.run is not None]


def list_late_runs(session: Session, row: Evaluation) -> Sequence[Run]:
    """Return the runs of an evaluation that no cell shows, because the response arrived after the cell was started again."""
    shown_run_ids = select(EvaluationCell.run_id).where(EvaluationCell.evaluation_id == row.id, EvaluationCell.run_id.is_not(None))
    query = select(Run).where(Run.evaluation == row.public_id, Run.id.not_in(shown_run_ids)).options(selectinload(Run.recommendations))
    return session.execute(query.order_by(Run.id)).scalars().all()


def late_results(row: Evaluation, late_runs: Sequence[Run]) -> list[CellResult]:
    """Return the results of late runs. A run stores the ref of its model, which can differ from the name chosen for the evaluation."""
    names = {cell.run.model_ref: cell.model for cell in row.cells if cell.run is not None}
    return [
        CellResult(0, names.get(run.model_ref, run.model_ref or evaluation.LOCAL), run.status == "succeeded", run.latency_ms, run.call_cost)
        for run in late_runs
    ]


def list_lost_cells(row: Evaluation) -> list[EvaluationCell]:
    """Return the cell of each call whose outcome was never recorded, because its process ended. Such a call can have been billed."""
    live = not evaluations.is_heartbeat_overdue(row)
    return [cell for cell in row.cells for _ in range(_count_lost_calls(cell, live=live))]


def _count_lost_calls(cell: EvaluationCell, *, live: bool) -> int:
    """Return the number of calls without an outcome, except the one that a running cell waits for."""
    return cell.open_calls - 1 if live and cell.status == "running" else cell.open_calls


def lost_results(row: Evaluation) -> list[CellResult]:
    """Return a result of unknown cost for each lost call."""
    return [CellResult(cell.incident, cell.model, ok=False, latency_ms=0, cost=UNKNOWN_COST) for cell in list_lost_cells(row)]


def unshown_results(row: Evaluation, late_runs: Sequence[Run]) -> list[CellResult]:
    """Return the results of which only the cost counts: those of late runs and of lost calls."""
    return [*late_results(row, late_runs), *lost_results(row)]


def _cell_result(cell: EvaluationCell, run: Run, scores: tuple[int, ...]) -> CellResult:
    first = run.recommendations[0] if run.status == "succeeded" and run.recommendations else None
    return CellResult(
        cell.incident,
        cell.model,
        run.status == "succeeded",
        run.latency_ms,
        run.call_cost,
        run.tokens,
        first.type if first else None,
        first.priority if first else None,
        scores,
    )
