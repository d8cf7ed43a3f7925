"""View models of an evaluation. They hold plain values only, so that model output stays text."""

from collections.abc import Mapping, Sequence
from typing import Any

from webapp.admin.runs import run_presenter
from webapp.domain.incidents import evaluation
from webapp.domain.incidents.evaluation import CAP_CURRENCY, LOCAL, ModelResults
from webapp.domain.pricing.spend import SpendTotals, describe_unknown, format_spend
from webapp.domain.shared import money_text
from webapp.domain.shared.money import ZERO, format_decimal, sort_sums
from webapp.models import Evaluation, EvaluationCell, Run
from webapp.services.runs import evaluation_results, evaluations

STATUSES: Mapping[str, tuple[str, str]] = {
    "running": ("Running", "blue"),
    "finished": ("Finished", "green"),
    "cancelled": ("Cancelled", "yellow"),
    "interrupted": ("Interrupted", "red"),
}
CELL_STATUSES: Mapping[str, tuple[str, str]] = {
    "planned": ("Waits", "neutral"),
    "running": ("Asking", "blue"),
    "done": ("Answered", "green"),
    "failed": ("Failed", "red"),
    "cancelled": ("Cancelled", "neutral"),
    "skipped": ("Not asked", "yellow"),
}


def ref_label(model: str) -> str:
    return "Local rules" if model == LOCAL else model


def view_model(row: Evaluation, ratings: Mapping[int, Mapping[str, int]], late: Sequence[Run], email: str) -> dict[str, Any]:
    """Return everything that the page of an evaluation shows. `late` holds the runs that no cell shows."""
    state, has_pending = evaluations.effective_status(row), evaluations.has_pending_responses(row)
    results = evaluation_results.results(row, {run: dict(scores) for run, scores in ratings.items()})
    late_results = evaluation_results.unshown_results(row, late)
    columns = evaluation.summarize_by_model(row.models, results, late_results)
    completed = sum(cell.status in evaluations.COMPLETED_STATUSES for cell in row.cells)
    return _spend(row, evaluation.total_costs((*results, *late_results))) | {
        "bench": row,
        "state": state,
        "state_tag": STATUSES[state],
        "asked": completed,
        "total": len(row.cells),
        "percent": round(100 * completed / max(1, len(row.cells))),
        "late": [run.public_id for run in late],
        "lost": len(evaluation_results.list_lost_cells(row)),
        "columns": [_column_view_model(column) for column in columns],
        "bars": evaluation.latency_bars(columns),
        "agreements": _agreements(row, results),
        "incidents": [_incident_view_model(row, index, ratings, email) for index in range(len(row.incidents))],
        "label_of": ref_label,
        "live": state == "running" or has_pending,
        "can_resume": state != "running"
        and not has_pending
        and any(cell.status not in evaluations.COMPLETED_STATUSES for cell in row.cells),
    }


def _spend(row: Evaluation, spent: SpendTotals) -> dict[str, Any]:
    """Return the amount spent, what is not known of it, and the cap if there is one.

    The cap is in US dollars. Amounts in other currencies do not count against it.
    """
    unknown = {"unknown": None if spent.is_unknown else describe_unknown(spent)}
    if row.spend_cap is None:
        return unknown | {"spent": format_spend(spent), "cap": None, "other_currencies": None}
    other_currencies = {currency: total for currency, total in spent.amounts.items() if currency != CAP_CURRENCY and total}
    return unknown | {
        "spent": format_spend(spent, {CAP_CURRENCY: spent.amounts.get(CAP_CURRENCY, ZERO)}),
        "cap": money_text.format_amount(row.spend_cap, CAP_CURRENCY),
        "other_currencies": " and ".join(money_text.format_amounts(other_currencies)) if other_currencies else None,
    }


def _column_view_model(column: ModelResults) -> dict[str, Any]:
    per_thousand, spend = column.per_thousand, column.spend
    sums = sort_sums(spend.amounts)
    return {
        "model": column.model,
        "label": ref_label(column.model),
        "answered": column.answered,
        "failed": column.failed,
        "p50": run_presenter.format_latency(column.p50) if column.p50 is not None else None,
        "p95": run_presenter.format_latency(column.p95) if column.p95 is not None else None,
        "p50_ms": column.p50,
        "p95_ms": column.p95,
        "tokens": column.tokens,
        "unknown_usage": column.unknown_usage,
        "cost": format_spend(spend),
        "is_unknown": spend.is_unknown,
        "unknown": describe_unknown(spend),
        # For sorting: several currencies and unknown amounts have no order.
        "exact": format_decimal(sums[0][1]) if len(sums) == 1 and not spend.is_unknown else "",
        "per_thousand": money_text.format_amount(per_thousand[1], per_thousand[0]) if per_thousand else None,
        "rating": format_decimal(column.rating) if column.rating is not None else None,
        "ratings": len(column.scores),
    }


def _agreements(row: Evaluation, results: Sequence[evaluation.CellResult]) -> list[dict[str, Any]]:
    return [
        {
            "one": ref_label(agreement.first_model),
            "other": ref_label(agreement.second_model),
            "compared": agreement.compared,
            "types": agreement.same_type,
            "priorities": agreement.same_priority,
        }
        for agreement in evaluation.compare_recommendations(row.models, results)
        if agreement.compared
    ]


def _incident_view_model(row: Evaluation, index: int, ratings: Mapping[int, Mapping[str, int]], email: str) -> dict[str, Any]:
    cells = [cell for cell in row.cells if cell.incident == index]
    cells_by_model = {model: [_cell_view_model(cell, ratings, email) for cell in cells if cell.model == model] for model in row.models}
    title = str(row.incidents[index].get("title", ""))[:300]
    return {"title": title, "models": [{"label": ref_label(model), "cells": model_cells} for model, model_cells in cells_by_model.items()]}


def _cell_view_model(cell: EvaluationCell, ratings: Mapping[int, Mapping[str, int]], email: str) -> dict[str, Any]:
    run, (label, tone) = cell.run, CELL_STATUSES[cell.status]
    scores = ratings.get(run.id, {}) if run is not None else {}
    return {
        "id": cell.id,
        "status": cell.status,
        "words": label,
        "tone": tone,
        "why": cell.reason,
        "repeat": cell.repeat + 1,
        "run": run.public_id if run else None,
        "latency": run_presenter.format_latency(run.latency_ms) if run else None,
        "cost": run_presenter.cost_view_model(run) if run else None,
        "served": run.served_model if run and run.served_model != cell.model.partition("/")[2] else None,
        "advice": [
            {
                "type": recommendation.type,
                "priority": recommendation.priority,
                "title": recommendation.title,
                "description": recommendation.description,
                "actions": recommendation.actions,
                "tone": run_presenter.PRIORITIES.get(recommendation.priority, "neutral"),
            }
            for recommendation in run.recommendations
        ]
        if run and run.status == "succeeded"
        else [],
        "mine": scores.get(email),
        "ratings": len(scores),
    }
