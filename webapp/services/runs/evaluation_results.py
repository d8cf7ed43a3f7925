"""What came of a bench, as its page, its exports and the statistics take it: results, late answers and ratings."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from webapp.domain.incidents import evaluation
from webapp.domain.incidents.evaluation import CellResult
from webapp.domain.shared.money import ZERO
from webapp.models import Evaluation, EvaluationCell, Rating, Run


def ratings(session: Session, found: Evaluation) -> Mapping[int, dict[str, int]]:
    """The ratings by run and person."""
    query = select(Rating.run_id, Rating.owner, Rating.score).join(EvaluationCell, EvaluationCell.run_id == Rating.run_id)
    rated: dict[int, dict[str, int]] = {}
    for run_id, owner, score in session.execute(query.where(EvaluationCell.evaluation_id == found.id)):
        rated.setdefault(run_id, {})[owner] = score
    return rated


def results(found: Evaluation, rated: Mapping[int, dict[str, int]]) -> list[CellResult]:
    """The cells that were asked, as the statistics take them."""
    return [_cell_result(cell, cell.run, tuple(rated.get(cell.run.id, {}).values())) for cell in found.cells if cell.run is not None]


def list_late_runs(session: Session, found: Evaluation) -> Sequence[Run]:
    """The runs of a bench that no cell shows, because their answer came after the cell had been asked again."""
    shown = select(EvaluationCell.run_id).where(EvaluationCell.evaluation_id == found.id, EvaluationCell.run_id.is_not(None))
    query = select(Run).where(Run.evaluation == found.public_id, Run.id.not_in(shown)).options(selectinload(Run.recommendations))
    return session.execute(query.order_by(Run.id)).scalars().all()


def late_results(found: Evaluation, uncounted: Sequence[Run]) -> list[CellResult]:
    """The same for the statistics. A run says the ref of its model, which somebody may have chosen by another name."""
    names = {cell.run.model_ref: cell.model for cell in found.cells if cell.run is not None}
    return [
        CellResult(
            0, names.get(run.model_ref, run.model_ref or evaluation.LOCAL), run.status == "succeeded", run.latency_ms, *_run_cost(run)
        )
        for run in uncounted
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
