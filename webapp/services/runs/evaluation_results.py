"""Results of an evaluation for its page, exports and statistics: cells, late responses and ratings."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.incidents import evaluation
from webapp.domain.incidents.evaluation import CellResult
from webapp.domain.shared.money import ZERO
from webapp.models import Evaluation, EvaluationCell, Rating, Run


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
        CellResult(
            0, names.get(run.model_ref, run.model_ref or evaluation.LOCAL), run.status == "succeeded", run.latency_ms, *_run_cost(run)
        )
        for run in late_runs
    ]


def _run_cost(run: Run) -> tuple[Decimal | None, str]:
    return ZERO if run.driver == "local" else run.cost_total, run.currency or evaluation.CAP_CURRENCY


def _cell_result(cell: EvaluationCell, run: Run, scores: tuple[int, ...]) -> CellResult:
    first = run.recommendations[0] if run.status == "succeeded" and run.recommendations else None
    usage = run.usage or {}
    tokens = usage.get("input", 0) + usage.get("output", 0)
    return CellResult(
        cell.incident,
        cell.model,
        run.status == "succeeded",
        run.latency_ms,
        *_run_cost(run),
        tokens,
        first.type if first else None,
        first.priority if first else None,
        scores,
    )
