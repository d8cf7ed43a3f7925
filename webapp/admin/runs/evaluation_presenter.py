"""A bench as pages and exports show it: plain values, so that whatever a model wrote stays text."""

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


def view_model(found: Evaluation, rated: Mapping[int, Mapping[str, int]], late: Sequence[Run], who: str) -> dict[str, Any]:
    """Everything that the page of a bench shows. `late` are the runs that no cell shows."""
    state, waits = evaluations.effective_status(found), evaluations.has_pending_responses(found)
    results = evaluation_results.results(found, {run: dict(scores) for run, scores in rated.items()})
    uncounted = evaluation_results.late_results(found, late)
    columns = evaluation.summarize_by_model(found.models, results, uncounted)
    asked = sum(cell.status in evaluations.COMPLETED_STATUSES for cell in found.cells)
    return _spend(found, evaluation.total_costs((*results, *uncounted))) | {
        "bench": found,
        "state": state,
        "state_tag": STATUSES[state],
        "asked": asked,
        "total": len(found.cells),
        "percent": round(100 * asked / max(1, len(found.cells))),
        "late": [run.public_id for run in late],
        "columns": [_column_view_model(column) for column in columns],
        "bars": evaluation.latency_bars(columns),
        "agreements": _agreements(found, results),
        "incidents": [_incident_view_model(found, number, rated, who) for number in range(len(found.incidents))],
        "label_of": ref_label,
        "live": state == "running" or waits,
        "can_resume": state != "running" and not waits and any(cell.status not in evaluations.COMPLETED_STATUSES for cell in found.cells),
    }


def _spend(found: Evaluation, spent: Mapping[str, Decimal]) -> dict[str, Any]:
    """What was spent, beside the cap if there is one: that is in US dollars, and other currencies are not held against it."""
    if found.spend_cap is None:
        return {"spent": " and ".join(money_text.format_amounts(spent)), "cap": None, "beside": None}
    beside = {currency: total for currency, total in spent.items() if currency != CAP_CURRENCY and total}
    return {
        "spent": money_text.format_amount(spent.get(CAP_CURRENCY, ZERO), CAP_CURRENCY),
        "cap": money_text.format_amount(found.spend_cap, CAP_CURRENCY),
        "beside": " and ".join(money_text.format_amounts(beside)) if beside else None,
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


def _agreements(found: Evaluation, results: Sequence[evaluation.CellResult]) -> list[dict[str, Any]]:
    return [
        {
            "one": ref_label(one.first_model),
            "other": ref_label(one.second_model),
            "compared": one.compared,
            "types": one.same_type,
            "priorities": one.same_priority,
        }
        for one in evaluation.compare_recommendations(found.models, results)
        if one.compared
    ]


def _incident_view_model(found: Evaluation, number: int, rated: Mapping[int, Mapping[str, int]], who: str) -> dict[str, Any]:
    cells = [cell for cell in found.cells if cell.incident == number]
    shown = {model: [_cell_view_model(cell, rated, who) for cell in cells if cell.model == model] for model in found.models}
    title = str(found.incidents[number].get("title", ""))[:300]
    return {"title": title, "models": [{"label": ref_label(model), "cells": of_model} for model, of_model in shown.items()]}


def _cell_view_model(cell: EvaluationCell, rated: Mapping[int, Mapping[str, int]], who: str) -> dict[str, Any]:
    run, (words, tone) = cell.run, CELL_STATUSES[cell.status]
    scores = rated.get(run.id, {}) if run is not None else {}
    return {
        "id": cell.id,
        "status": cell.status,
        "words": words,
        "tone": tone,
        "why": cell.reason,
        "repeat": cell.repeat + 1,
        "run": run.public_id if run else None,
        "latency": run_presenter.format_latency(run.latency_ms) if run else None,
        "cost": run_presenter.cost_view_model(run)["text"] if run else None,
        "advice": [
            {
                "type": one.type,
                "priority": one.priority,
                "title": one.title,
                "description": one.description,
                "actions": one.actions,
                "tone": run_presenter.PRIORITIES.get(one.priority, "neutral"),
            }
            for one in run.recommendations
        ]
        if run and run.status == "succeeded"
        else [],
        "mine": scores.get(who),
        "ratings": len(scores),
    }


def export_document(found: Evaluation, rated: Mapping[int, Mapping[str, int]], late: Sequence[Run]) -> dict[str, Any]:
    """A bench as JSON: amounts are strings of exact decimals. A cost without a currency beside it is in US dollars."""
    results = evaluation_results.results(found, {run: dict(scores) for run, scores in rated.items()})
    uncounted = evaluation_results.late_results(found, late)
    return {
        "id": found.public_id,
        "name": found.name,
        "status": evaluations.effective_status(found),
        "created_at": format_timestamp(found.created_at),
        "finished_at": format_timestamp(found.finished_at) if found.finished_at else None,
        "by": found.actor,
        "resumed_by": found.runs_as,
        "template": found.template,
        "repeats": found.repeats,
        "spend_cap": format_decimal(found.spend_cap) if found.spend_cap is not None else None,
        "currency": CAP_CURRENCY,
        "costs": _costs(evaluation.total_costs((*results, *uncounted))),
        "incidents": found.incidents,
        "models": [
            {
                "model": one.model,
                "answered": one.answered,
                "failed": one.failed,
                "latency_p50_ms": one.p50,
                "latency_p95_ms": one.p95,
                "tokens": one.tokens,
                "cost": format_decimal(one.costs.get(CAP_CURRENCY, ZERO)),
                "costs": _costs(one.costs),
                "cost_unknown": one.unknown,
                **_per_thousand(one),
                "rating": format_decimal(one.rating) if one.rating is not None else None,
            }
            for one in evaluation.summarize_by_model(found.models, results, uncounted)
        ],
        "agreement": [
            {
                "models": [one.first_model, one.second_model],
                "incidents": one.compared,
                "same_type": one.same_type,
                "same_priority": one.same_priority,
            }
            for one in evaluation.compare_recommendations(found.models, results)
        ],
        "cells": [_export_row(cell, rated) for cell in found.cells],
        "late": _late_rows(found, late, rated),
    }


def _costs(sums: Mapping[str, Decimal]) -> list[dict[str, str]]:
    return [{"currency": currency, "cost": format_decimal(total)} for currency, total in sort_sums(sums)]


def _per_thousand(column: ModelResults) -> dict[str, Any]:
    """The field without a currency is for US dollars only."""
    found = column.per_thousand
    in_dollars = found is not None and found[0] == CAP_CURRENCY
    return {
        "cost_per_1000": format_decimal(found[1]) if found and in_dollars else None,
        "costs_per_1000": _costs(dict([found])) if found else [],
    }


def _export_row(cell: EvaluationCell, rated: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    return {
        "incident": cell.incident + 1,
        "model": cell.model,
        "repeat": cell.repeat + 1,
        "status": cell.status,
        "why": cell.reason,
        **_run_values(cell.run, rated),
    }


def _late_rows(found: Evaluation, late: Sequence[Run], rated: Mapping[int, Mapping[str, int]]) -> list[dict[str, Any]]:
    """What came after its cell had been asked again, as rows like those of the cells: without them the costs would not add up."""
    names = [one.model for one in evaluation_results.late_results(found, late)]
    return [
        {
            "incident": found.incidents.index(run.incident) + 1 if run.incident in found.incidents else None,
            "model": name,
            "repeat": None,
            "status": "late",
            "why": run.error_detail,
            **_run_values(run, rated),
        }
        for name, run in zip(names, late, strict=True)
    ]


def _run_values(run: Run | None, rated: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
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
        "ratings": sorted(rated.get(run.id, {}).values()) if run else [],
    }


def export_csv(found: Evaluation, rated: Mapping[int, Mapping[str, int]], late: Sequence[Run]) -> str:
    """A line for each cell and each late answer; no text of it is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEADINGS)
    for row in (*(_export_row(cell, rated) for cell in found.cells), *_late_rows(found, late, rated)):
        row["ratings"] = " ".join(map(str, row["ratings"]))
        writer.writerow([safe_cell(row[name]) for name in CSV_HEADINGS])
    return text.getvalue()
