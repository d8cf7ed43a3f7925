"""A bench as pages and exports show it: plain values, so that whatever a model wrote stays text."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from webapp.admin import run_facts
from webapp.admin.fields import safe_cell
from webapp.domain import bench as rules
from webapp.domain import readable
from webapp.domain.bench import LOCAL, Column
from webapp.domain.moments import shown_moment
from webapp.domain.money import plain
from webapp.models import Bench, BenchCell
from webapp.services import benches

CURRENCY = "USD"
STATUSES: Mapping[str, tuple[str, str]] = {
    "running": ("Running", "blue"), "finished": ("Finished", "green"), "cancelled": ("Cancelled", "yellow"),
    "interrupted": ("Interrupted", "red"),
}  # fmt: skip
CELLS: Mapping[str, tuple[str, str]] = {
    "planned": ("Waits", "neutral"), "running": ("Asking", "blue"), "done": ("Answered", "green"), "failed": ("Failed", "red"),
    "cancelled": ("Cancelled", "neutral"), "skipped": ("Not asked", "yellow"),
}  # fmt: skip
CSV_HEADINGS = (
    "incident", "model", "repeat", "status", "why", "run", "latency_ms", "input", "output", "cost", "currency", "cost_complete", "type",
    "priority", "title", "ratings",
)  # fmt: skip


def label_of(model: str) -> str:
    return "Local rules" if model == LOCAL else model


def facts(found: Bench, rated: Mapping[int, Mapping[str, int]], who: str) -> dict[str, Any]:
    """Everything that the page of a bench shows."""
    state, waits = benches.state(found), benches.waits(found)
    results = benches.results(found, {run: dict(scores) for run, scores in rated.items()})
    columns = rules.columns(found.models, results)
    asked = sum(cell.status in benches.ASKED for cell in found.cells)
    spent = sum((one.cost or Decimal(0) for one in results), Decimal(0))
    return {
        "bench": found, "state": state, "state_tag": STATUSES[state], "asked": asked, "total": len(found.cells),
        "percent": round(100 * asked / max(1, len(found.cells))), "spent": readable.amount(spent, CURRENCY),
        "cap": readable.amount(found.spend_cap, CURRENCY) if found.spend_cap is not None else None,
        "columns": [_column(column) for column in columns], "bars": rules.bars(columns), "agreements": _agreements(found, results),
        "incidents": [_incident(found, number, rated, who) for number in range(len(found.incidents))], "label_of": label_of,
        "live": state == "running" or waits,
        "can_resume": state != "running" and not waits and any(cell.status not in benches.ASKED for cell in found.cells),
    }  # fmt: skip


def _column(column: Column) -> dict[str, Any]:
    per_thousand = column.per_thousand
    return {
        "model": column.model, "label": label_of(column.model), "answered": column.answered, "failed": column.failed,
        "p50": run_facts.latency(column.p50) if column.p50 is not None else None,
        "p95": run_facts.latency(column.p95) if column.p95 is not None else None, "p50_ms": column.p50, "p95_ms": column.p95,
        "tokens": column.tokens, "cost": readable.amount(column.cost, CURRENCY), "exact": plain(column.cost), "unknown": column.unknown,
        "per_thousand": readable.amount(per_thousand, CURRENCY) if per_thousand is not None else None,
        "rating": plain(column.rating) if column.rating is not None else None, "ratings": len(column.scores),
    }  # fmt: skip


def _agreements(found: Bench, results: Sequence[rules.Result]) -> list[dict[str, Any]]:
    return [
        {"one": label_of(one.one), "other": label_of(one.other), "compared": one.compared, "types": one.same_type,
         "priorities": one.same_priority}
        for one in rules.agreements(found.models, results) if one.compared
    ]  # fmt: skip


def _incident(found: Bench, number: int, rated: Mapping[int, Mapping[str, int]], who: str) -> dict[str, Any]:
    cells = [cell for cell in found.cells if cell.incident == number]
    shown = {model: [_cell(cell, rated, who) for cell in cells if cell.model == model] for model in found.models}
    title = str(found.incidents[number].get("title", ""))[:300]
    return {"title": title, "models": [{"label": label_of(model), "cells": of_model} for model, of_model in shown.items()]}


def _cell(cell: BenchCell, rated: Mapping[int, Mapping[str, int]], who: str) -> dict[str, Any]:
    run, (words, tone) = cell.run, CELLS[cell.status]
    scores = rated.get(run.id, {}) if run is not None else {}
    return {
        "id": cell.id, "status": cell.status, "words": words, "tone": tone, "why": cell.why, "repeat": cell.repeat + 1,
        "run": run.public_id if run else None, "latency": run_facts.latency(run.latency_ms) if run else None,
        "cost": run_facts.cost_in_words(run)["text"] if run else None,
        "advice": [{"type": one.type, "priority": one.priority, "title": one.title, "description": one.description, "actions": one.actions,
                    "tone": run_facts.PRIORITIES.get(one.priority, "neutral")} for one in run.recommendations]
        if run and run.status == "succeeded" else [],
        "mine": scores.get(who), "ratings": len(scores),
    }  # fmt: skip


def document(found: Bench, rated: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    """A bench as JSON: amounts are strings of exact decimals."""
    results = benches.results(found, {run: dict(scores) for run, scores in rated.items()})
    return {
        "id": found.public_id, "name": found.name, "status": benches.state(found), "created_at": shown_moment(found.created_at),
        "finished_at": shown_moment(found.finished_at) if found.finished_at else None, "by": found.actor,
        "resumed_by": found.runs_as, "template": found.template,
        "repeats": found.repeats, "spend_cap": plain(found.spend_cap) if found.spend_cap is not None else None, "currency": CURRENCY,
        "incidents": found.incidents,
        "models": [
            {"model": one.model, "answered": one.answered, "failed": one.failed, "latency_p50_ms": one.p50, "latency_p95_ms": one.p95,
             "tokens": one.tokens, "cost": plain(one.cost), "cost_unknown": one.unknown,
             "cost_per_1000": plain(one.per_thousand) if one.per_thousand is not None else None,
             "rating": plain(one.rating) if one.rating is not None else None}
            for one in rules.columns(found.models, results)
        ],
        "agreement": [
            {"models": [one.one, one.other], "incidents": one.compared, "same_type": one.same_type, "same_priority": one.same_priority}
            for one in rules.agreements(found.models, results)
        ],
        "cells": [_row(cell, rated) for cell in found.cells],
    }  # fmt: skip


def _row(cell: BenchCell, rated: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    run = cell.run
    usage = (run.usage or {}) if run else {}
    first = run.recommendations[0] if run and run.status == "succeeded" and run.recommendations else None
    return {
        "incident": cell.incident + 1, "model": cell.model, "repeat": cell.repeat + 1, "status": cell.status, "why": cell.why,
        "run": run.public_id if run else None, "latency_ms": run.latency_ms if run else None, "input": usage.get("input"),
        "output": usage.get("output"), "cost": plain(run.cost_total) if run and run.cost_total is not None else None,
        "currency": run.currency if run else None, "cost_complete": (run.cost or {}).get("complete") if run else None,
        "type": first.type if first else None, "priority": first.priority if first else None, "title": first.title if first else None,
        "ratings": sorted(rated.get(run.id, {}).values()) if run else [],
    }  # fmt: skip


def as_csv(found: Bench, rated: Mapping[int, Mapping[str, int]]) -> str:
    """A line for each cell; no text of it is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEADINGS)
    for cell in found.cells:
        row = _row(cell, rated) | {}
        row["ratings"] = " ".join(map(str, row["ratings"]))
        writer.writerow([safe_cell(row[name]) for name in CSV_HEADINGS])
    return text.getvalue()
