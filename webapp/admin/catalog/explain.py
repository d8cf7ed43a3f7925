"""Explain page: how a name resolves to a model, which price and rates apply, and the cost of a call or why there is none."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from flask_admin import expose

from webapp.admin.catalog.model_page import source_of
from webapp.admin.core.base import GuardedView
from webapp.admin.core.formatters import format_price
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.explanation import Explanation, explain
from webapp.domain.catalog.resolution import MAX_REF
from webapp.domain.costing import calculator
from webapp.domain.costing.calculator import CalculatorRequest
from webapp.domain.pricing.costs import Cost, context_tier_of, cost_of
from webapp.domain.pricing.meters import label_of, unit_of
from webapp.domain.pricing.rate_text import describe_conditions, describe_missing
from webapp.domain.pricing.spend import known_amount
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared import money_text
from webapp.runtime import container

REASONS = {
    "inactive": "The model is inactive, so applications are told that it is not supported. Costs of it are still computed.",
    "provider_inactive": "Its provider is inactive, so applications are told that it is not supported. Costs of it are still computed.",
    "retired": "The model has retired, so applications are told that it is not supported. Costs of it are still computed.",
    "ambiguous": "Several models answer to this name, so none does. Write the provider before it.",
    "unknown": "No model answers to this name. Nothing similar is ever used in its place, because that would be a wrong price.",
}


class Explainer(GuardedView):
    """Explain page, open to everyone who can read the registry."""

    needs = Permission.REGISTRY_READ
    purpose = "Test a name: through which aliases and patterns it leads to a model, which price holds at a moment, and what a call costs."

    @expose("/")
    def index(self) -> Response:
        ref = request.args.get("model", "").strip()[: MAX_REF + 1]
        calculation = calculator.parse_query({name: texts for name, texts in request.args.to_dict(flat=False).items() if name != "model"})
        at = calculation.at or datetime.now(UTC).replace(microsecond=0)
        explanation = explain(container.registry().snapshot.names, ref, at) if ref else None
        usage = calculation.usage if calculation.usage.as_dict() else calculator.typical_usage(explanation.price if explanation else None)
        page = self.render(
            "admin/catalog/explain.html",
            ref=ref,
            at=at,
            question=calculation,
            typed=calculation.typed,
            usage=usage,
            found=explanation,
            reason=REASONS.get(explanation.reason or "") if explanation else None,
            answer=_cost_view_model(explanation, usage, calculation) if explanation else None,
        )
        return Response(page, 422 if calculation.errors else 200)


def _cost_view_model(explanation: Explanation, usage: Usage, calculation: CalculatorRequest) -> dict[str, Any] | None:
    if explanation.model is None:
        return None
    price = explanation.price
    cost = cost_of(price, usage, at=explanation.at, service_tier=calculation.service_tier, model=explanation.model.ref)
    amount = known_amount(cost.total, complete=cost.complete)
    return {
        "model": explanation.model,
        "price": price,
        "words": format_price(price),
        "source": source_of(price) if price else None,
        "cost": cost,
        "total": None if amount is None else money_text.format_amount(amount, cost.currency),
        "tier": context_tier_of(cost),
        "lines": [_line(line, cost) for line in cost.lines],
        "missing": [describe_missing(name) for name in cost.missing],
    }


def _line(line: Any, cost: Cost) -> dict[str, Any]:
    rate = f"{money_text.format_amount(line.rate.amount, cost.currency)} per {unit_of(line.billed_as, line.rate.per)}"
    billed_as = label_of(line.billed_as) if line.billed_as != line.meter else None
    return {
        "meter": label_of(line.meter),
        "quantity": f"{line.quantity:,}",
        "rate": rate,
        "billed_as": billed_as,
        "conditions": describe_conditions(line.rate),
        "cost": money_text.format_amount(line.cost, cost.currency),
    }
