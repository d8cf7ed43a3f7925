"""Exports of an evaluation as JSON and CSV. An unknown cost is null in JSON and the word in CSV, and never zero."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from webapp.admin.core.fields import safe_cell
from webapp.domain.incidents import evaluation
from webapp.domain.incidents.evaluation import CAP_CURRENCY, ModelResults
from webapp.domain.pricing.spend import NOT_SENT, UNKNOWN, UNKNOWN_COST, SpendTotals
from webapp.domain.shared.money import ZERO, format_decimal, sort_sums
from webapp.domain.shared.timestamps import format_timestamp
from webapp.models import Evaluation, EvaluationCell, Run
from webapp.services.runs import evaluation_results, evaluations, records

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
    "cost_state",
    "served_model",
    "reported_cost",
    "reported_currency",
)
LOST_CALL = "The process ended before the outcome of this call was recorded."


def export_document(row: Evaluation, ratings: Mapping[int, Mapping[str, int]], late: Sequence[Run]) -> dict[str, Any]:
    """Return an evaluation as JSON. Amounts are exact decimals as strings; a cost without a currency is in US dollars."""
    results = evaluation_results.results(row, {run: dict(scores) for run, scores in ratings.items()})
    late_results = evaluation_results.unshown_results(row, late)
    spent = evaluation.total_costs((*results, *late_results))
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
        "costs": _costs(spent),
        "cost_complete": spent.complete,
        "cost_unknown": spent.unknown,
        "cost_partly_unknown": spent.partial,
        "incidents": row.incidents,
        "models": [
            {
                "model": item.model,
                "answered": item.answered,
                "failed": item.failed,
                "latency_p50_ms": item.p50,
                "latency_p95_ms": item.p95,
                "tokens": item.tokens or (None if item.unknown_usage else 0),
                "tokens_unknown": item.unknown_usage,
                "cost": None if item.spend.is_unknown else format_decimal(item.spend.amounts.get(CAP_CURRENCY, ZERO)),
                "costs": _costs(item.spend),
                "cost_complete": item.spend.complete,
                "cost_unknown": item.spend.unknown,
                "cost_partly_unknown": item.spend.partial,
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
        "lost": _lost_rows(row),
    }


def _costs(spend: SpendTotals) -> list[dict[str, str]]:
    return [] if spend.is_unknown else _amounts(spend.amounts)


def _amounts(sums: Mapping[str, Decimal]) -> list[dict[str, str]]:
    return [{"currency": currency, "cost": format_decimal(total)} for currency, total in sort_sums(sums)]


def _per_thousand(column: ModelResults) -> dict[str, Any]:
    """Return the costs per 1,000 calls. The field without a currency is for US dollars only."""
    per_thousand = column.per_thousand
    in_dollars = per_thousand is not None and per_thousand[0] == CAP_CURRENCY
    return {
        "cost_per_1000": format_decimal(per_thousand[1]) if per_thousand and in_dollars else None,
        "costs_per_1000": _amounts(dict([per_thousand])) if per_thousand else [],
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


def _lost_rows(row: Evaluation) -> list[dict[str, Any]]:
    """Return the calls whose outcome was never recorded, in the shape of cell rows."""
    return [
        {
            "incident": cell.incident + 1,
            "model": cell.model,
            "repeat": cell.repeat + 1,
            "status": "lost",
            "why": LOST_CALL,
            **_run_values(None, {}),
            "cost_complete": UNKNOWN_COST.complete,
            "cost_state": UNKNOWN_COST.state,
        }
        for cell in evaluation_results.list_lost_cells(row)
    ]


def _run_values(run: Run | None, ratings: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    usage = (run.usage or {}) if run else {}
    cost = run.call_cost if run else NOT_SENT
    reported = records.reported_cost_of(run) if run else None
    first = run.recommendations[0] if run and run.status == "succeeded" and run.recommendations else None
    return {
        "run": run.public_id if run else None,
        "latency_ms": run.latency_ms if run else None,
        "input": usage.get("input"),
        "output": usage.get("output"),
        "cost": None if cost.amount is None else format_decimal(cost.amount),
        "currency": cost.currency,
        "cost_complete": cost.complete if cost.sent else None,
        "type": first.type if first else None,
        "priority": first.priority if first else None,
        "title": first.title if first else None,
        "ratings": sorted(ratings.get(run.id, {}).values()) if run else [],
        "cost_state": cost.state,
        "served_model": run.served_model if run else None,
        "reported_cost": reported["amount"] if reported else None,
        "reported_currency": reported["currency"] if reported else None,
    }


def export_csv(evaluation_row: Evaluation, ratings: Mapping[int, Mapping[str, int]], late: Sequence[Run]) -> str:
    """Return one CSV line for each cell, each late run and each lost call. An unknown cost is the word, because a sum skips empty cells.

    Cells are escaped so that no text becomes a spreadsheet formula.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEADINGS)
    cells = [_export_row(cell, ratings) for cell in evaluation_row.cells]
    for row in (*cells, *_late_rows(evaluation_row, late, ratings), *_lost_rows(evaluation_row)):
        row["ratings"] = " ".join(map(str, row["ratings"]))
        if row["cost_state"] == UNKNOWN:
            row["cost"] = UNKNOWN
        writer.writerow([safe_cell(row[name]) for name in CSV_HEADINGS])
    return text.getvalue()
