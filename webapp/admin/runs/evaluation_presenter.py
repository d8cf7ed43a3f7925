"""View models and exports of an evaluation. They hold plain values only, so that model output stays text."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from webapp.admin.core.fields import safe_cell
from webapp.admin.runs import run_presenter
from webapp.domain.incidents import evaluation
from webapp.domain.incidents.evaluation import CAP_CURRENCY, LOCAL, ModelResults
from webapp.domain.shared import money_text
from webapp.domain.shared.money import ZERO, format_decimal, sort_sums
from webapp.domain.shared.timestamps import format_timestamp
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
CSV_HEADINGS = (
    "incident",
    "model",
    "repeat",
    "status",
    "why",
    "run",
    "latency_ms",
    "input",
    "output",
    "cost",
    "currency",
    "cost_complete",
    "type",
    "priority",
    "title",
    "ratings",
)


def ref_label(model: str) -> str:
    return "Local rules" if model == LOCAL else model


def view_model(row: Evaluation, ratings: Mapping[int, Mapping[str, int]], late: Sequence[Run], email: str) -> dict[str, Any]:
    """Return everything that the page of an evaluation shows. `late` holds the runs that no cell shows."""
    state, has_pending = evaluations.effective_status(row), evaluations.has_pending_responses(row)
    results = evaluation_results.results(row, {run: dict(scores) for run, scores in ratings.items()})
    late_results = evaluation_results.late_results(row, late)
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


def _spend(row: Evaluation, spent: Mapping[str, Decimal]) -> dict[str, Any]:
    """Return the amount spent, and the cap if there is one.

    The cap is in US dollars. Amounts in other currencies do not count against it.
    """
    if row.spend_cap is None:
        return {"spent": " and ".join(money_text.format_amounts(spent)), "cap": None, "beside": None}
    other_currencies = {currency: total for currency, total in spent.items() if currency != CAP_CURRENCY and total}
    return {
        "spent": money_text.format_amount(spent.get(CAP_CURRENCY, ZERO), CAP_CURRENCY),
        "cap": money_text.format_amount(row.spend_cap, CAP_CURRENCY),
        "beside": " and ".join(money_text.format_amounts(other_currencies)) if other_currencies else None,
    }


def _column_view_model(column: ModelResults) -> dict[str, Any]:
    per_thousand, sums = column.per_thousand, sort_sums(column.costs)
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
        "costs": money_text.format_amounts(column.costs),
        "unknown": column.unknown,
        "exact": format_decimal(sums[0][1]) if len(sums) == 1 else "",  # For sorting: several currencies have no order.
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
        "cost": run_presenter.cost_view_model(run)["text"] if run else None,
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


def export_document(row: Evaluation, ratings: Mapping[int, Mapping[str, int]], late: Sequence[Run]) -> dict[str, Any]:
    """Return an evaluation as JSON. Amounts are exact decimals as strings; a cost without a currency is in US dollars."""
    results = evaluation_results.results(row, {run: dict(scores) for run, scores in ratings.items()})
    late_results = evaluation_results.late_results(row, late)
    return {
        "id": row.public_id,
        "name": row.name,
        "status": evaluations.effective_status(row),
        "created_at": format_timestamp(row.created_at),
        "finished_at": format_timestamp(row.finished_at) if row.finished_at else None,
        "by": row.actor,
        "resumed_by": row.runs_as,
        "template": row.template,
        "repeats": row.repeats,
        "spend_cap": format_decimal(row.spend_cap) if row.spend_cap is not None else None,
        "currency": CAP_CURRENCY,
        "costs": _costs(evaluation.total_costs((*results, *late_results))),
        "incidents": row.incidents,
        "models": [
            {
                "model": item.model,
                "answered": item.answered,
                "failed": item.failed,
                "latency_p50_ms": item.p50,
                "latency_p95_ms": item.p95,
                "tokens": item.tokens,
                "cost": format_decimal(item.costs.get(CAP_CURRENCY, ZERO)),
                "costs": _costs(item.costs),
                "cost_unknown": item.unknown,
                **_per_thousand(item),
                "rating": format_decimal(item.rating) if item.rating is not None else None,
            }
            for item in evaluation.summarize_by_model(row.models, results, late_results)
        ],
        "agreement": [
            {
                "models": [item.first_model, item.second_model],
                "incidents": item.compared,
                "same_type": item.same_type,
                "same_priority": item.same_priority,
            }
            for item in evaluation.compare_recommendations(row.models, results)
        ],
        "cells": [_export_row(cell, ratings) for cell in row.cells],
        "late": _late_rows(row, late, ratings),
    }


def _costs(sums: Mapping[str, Decimal]) -> list[dict[str, str]]:
    return [{"currency": currency, "cost": format_decimal(total)} for currency, total in sort_sums(sums)]


def _per_thousand(column: ModelResults) -> dict[str, Any]:
    """Return the costs per 1,000 calls. The field without a currency is for US dollars only."""
    per_thousand = column.per_thousand
    in_dollars = per_thousand is not None and per_thousand[0] == CAP_CURRENCY
    return {
        "cost_per_1000": format_decimal(per_thousand[1]) if per_thousand and in_dollars else None,
        "costs_per_1000": _costs(dict([per_thousand])) if per_thousand else [],
    }


def _export_row(cell: EvaluationCell, ratings: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    return {
        "incident": cell.incident + 1,
        "model": cell.model,
        "repeat": cell.repeat + 1,
        "status": cell.status,
        "why": cell.reason,
        **_run_values(cell.run, ratings),
    }


def _late_rows(row: Evaluation, late: Sequence[Run], ratings: Mapping[int, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return the late runs in the shape of cell rows. Without them the costs would not add up.

    A late run is one whose response arrived after its cell was tried again.
    """
    names = [result.model for result in evaluation_results.late_results(row, late)]
    return [
        {
            "incident": row.incidents.index(run.incident) + 1 if run.incident in row.incidents else None,
            "model": name,
            "repeat": None,
            "status": "late",
            "why": run.error_detail,
            **_run_values(run, ratings),
        }
        for name, run in zip(names, late, strict=True)
    ]


def _run_values(run: Run | None, ratings: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    usage = (run.usage or {}) if run else {}
    first = run.recommendations[0] if run and run.status == "succeeded" and run.recommendations else None
    return {
        "run": run.public_id if run else None,
        "latency_ms": run.latency_ms if run else None,
        "input": usage.get("input"),
        "output": usage.get("output"),
        "cost": format_decimal(run.cost_total) if run and run.cost_total is not None else None,
        "currency": run.currency if run else None,
        "cost_complete": (run.cost or {}).get("complete") if run else None,
        "type": first.type if first else None,
        "priority": first.priority if first else None,
        "title": first.title if first else None,
        "ratings": sorted(ratings.get(run.id, {}).values()) if run else [],
    }


def export_csv(evaluation_row: Evaluation, ratings: Mapping[int, Mapping[str, int]], late: Sequence[Run]) -> str:
    """Return one CSV line for each cell and each late run. Cells are escaped so that no text becomes a spreadsheet formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEADINGS)
    for row in (*(_export_row(cell, ratings) for cell in evaluation_row.cells), *_late_rows(evaluation_row, late, ratings)):
        row["ratings"] = " ".join(map(str, row["ratings"]))
        writer.writerow([safe_cell(row[name]) for name in CSV_HEADINGS])
    return text.getvalue()
