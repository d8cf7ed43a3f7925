"""Model comparison: the monthly cost of a workload on each model that meets the requirements. The URL holds the whole state."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Response, request
from flask_admin import expose

from webapp.admin.core.base import GuardedView
from webapp.admin.core.fields import safe_cell
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.entities import KNOWN_CAPABILITIES, MODEL_TYPES
from webapp.domain.costing import workload
from webapp.domain.costing.workload import DAYS_PER_MONTH, CheapestRange, WorkloadCost, WorkloadRequest
from webapp.domain.shared import money_text
from webapp.domain.shared.money import ZERO, format_decimal
from webapp.domain.shared.timestamps import format_timestamp
from webapp.runtime import container

MAX_SHOWN = 25
ANSWER_TARGET = "div#compare-answer"
CSV_COLUMNS = (
    "ref",
    "provider",
    "currency",
    "per_call",
    "calls_a_day",
    "per_month_of_30_days",
    "complete",
    "price_state",
    "missing",
    "prices_as_of",
)


class ModelComparison(GuardedView):
    """Open to every role that can read the registry."""

    needs = Permission.REGISTRY_READ
    purpose = (
        "What your workload costs a month on every model that can do it: exact, cheapest first, unknown prices last. Share the address."
    )

    @expose("/")
    def index(self) -> Response:
        comparison, rows, at = _compare_models()
        shown_rows = rows[:MAX_SHOWN]
        maximum = max((row.month for row in shown_rows if row.month is not None), default=ZERO)
        link, query = self.get_url(".index"), comparison.query()
        view = {
            "asked": comparison,
            "work": comparison.workload,
            "errors": comparison.errors,
            "rows": [_row_view_model(row, maximum) for row in shown_rows],
            "at": at,
            "more": max(0, len(rows) - MAX_SHOWN),
            "spans": list(_spans(workload.list_cheapest_ranges(rows, comparison.workload, at))) if rows else [],
            "link": f"{link}?{query}",
            "share": f"{request.url_root.rstrip('/')}{link}?{query}",
            "csv": f"{self.get_url('.export')}?{query}",
            "days": DAYS_PER_MONTH,
            "unknown": sum(row.month is None for row in rows),
        }
        status = 422 if comparison.errors else 200
        if request.headers.get("HX-Target", "") == ANSWER_TARGET:
            headers = {} if comparison.errors else {"HX-Replace-Url": f"{link}?{query}"}
            return Response(self.render("admin/pricing/compare/_answer.html", **view), status, headers)
        snapshot = container.registry().snapshot
        available = {name for model in snapshot.models for name in model.capabilities}
        form = {
            "types": [kind for kind in MODEL_TYPES if kind in snapshot.by_type],
            "providers": list(snapshot.providers.values()),
            "capabilities": [name for name in KNOWN_CAPABILITIES if name in available],
        }
        return Response(self.render("admin/pricing/compare/index.html", **view, **form), status)

    @expose("/export.csv")
    def export(self) -> Response:
        """Export all models, including those that the page omits. Cells are escaped against spreadsheet formulas."""
        comparison, rows, at = _compare_models()
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(CSV_COLUMNS)
        writer.writerows([safe_cell(value) for value in _csv_row(row, comparison, at)] for row in rows)
        return Response(text.getvalue(), headers={"Content-Disposition": "attachment; filename=comparison.csv"}, mimetype="text/csv")


def _compare_models() -> tuple[WorkloadRequest, list[WorkloadCost], datetime]:
    comparison = workload.parse_query(request.args.to_dict(flat=False))
    at = comparison.at or datetime.now(UTC).replace(microsecond=0)
    return comparison, [] if comparison.errors else workload.compare_models(container.registry().snapshot, comparison, at), at


def _csv_row(row: WorkloadCost, comparison: WorkloadRequest, at: datetime) -> list[object]:
    cost = row.call
    call = None if row.month is None or cost.total is None else format_decimal(cost.total)
    month = None if row.month is None else format_decimal(row.month)
    missing = " ".join(cost.missing)
    values = [row.model.ref, row.model.provider, cost.currency, call, comparison.workload.calls, month]
    return [*values, "yes" if cost.complete else "no", cost.price_state, missing, format_timestamp(at)]


def _row_view_model(row: WorkloadCost, maximum: Decimal) -> dict[str, Any]:
    cost = row.call
    month = money_text.format_amount(row.month, cost.currency) if row.month is not None else None
    return {
        "model": row.model,
        "share": int(100 * row.month / maximum) if row.month and maximum else 0,
        "complete": row.complete,
        "month": month,
        "month_about": money_text.format_rounded(row.month, cost.currency) if row.month is not None else None,
        "call": money_text.format_amount(cost.total, cost.currency) if row.month is not None and cost.total is not None else None,
        "ratio": f"{money_text.format_ratio(row.ratio, money_text.ONE)}×" if row.ratio else None,
        "next_tier": row.next_tier,
        "prefix": row.gaps.prefix,
        "gaps": row.gaps.sentences() if cost.price_state == "priced" else [],
        "state": cost.price_state,
    }


def _spans(spans: Sequence[CheapestRange]) -> Iterator[dict[str, Any]]:
    for position, span in enumerate(spans):
        total = span.call.total
        call = (
            money_text.format_rounded(total, span.call.currency) or money_text.format_amount(total, span.call.currency)
            if total is not None
            else None
        )
        yield {"from": 0 if position == 0 else span.size, "model": span.model, "size": span.size, "call": call}
