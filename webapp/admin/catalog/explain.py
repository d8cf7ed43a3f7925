"""Explain page: how a name resolves to a model, which price and rates apply, and the cost of a call or why there is none."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Response, request, url_for
from flask_admin import expose

from webapp.admin.catalog.model_page import source_of
from webapp.admin.core.base import GuardedView
from webapp.admin.core.cost_lines import attribute_fields, cost_line, surcharge_line
from webapp.admin.core.formatters import format_price
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.explanation import Explanation, explain
from webapp.domain.catalog.resolution import MAX_REF
from webapp.domain.costing import calculator
from webapp.domain.costing.calculator import CalculatorRequest
from webapp.domain.pricing.cost_gaps import gaps_of
from webapp.domain.pricing.costs import context_tier_of, cost_of
from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.service_tiers import TIER_LABELS
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

FORM_METERS = ("input", "output")
OTHER_VALUES = {*METERS, "calls"} - set(FORM_METERS)


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
            hidden=_other_values(calculation),
            tier_labels=TIER_LABELS,
            attribute_fields=attribute_fields(calculation),
            call=replace(calculation, refs=()).query(),
            found=explanation,
            reason=REASONS.get(explanation.reason or "") if explanation else None,
            answer=_cost_view_model(explanation, usage, calculation) if explanation else None,
        )
        return Response(page, 422 if calculation.errors else 200)


def _other_values(calculation: CalculatorRequest) -> list[tuple[str, str]]:
    """Return the values of the call that the form has no field for, so that they survive its next use."""
    return [(name, text) for name, text in calculation.typed.items() if name in OTHER_VALUES]


def _cost_view_model(explanation: Explanation, usage: Usage, calculation: CalculatorRequest) -> dict[str, Any] | None:
    if explanation.model is None:
        return None
    price = explanation.price
    tier, attributes = calculation.service_tier, calculation.attributes
    cost = cost_of(price, usage, at=explanation.at, service_tier=tier, attributes=attributes, model=explanation.model.ref)
    amount = known_amount(cost.total, complete=cost.complete)
    call = replace(calculation, refs=(explanation.model.ref,), usage=usage)
    return {
        "model": explanation.model,
        "price": price,
        "words": format_price(price),
        "source": source_of(price) if price else None,
        "cost": cost,
        "total": None if amount is None else money_text.format_amount(amount, cost.currency),
        "tier": context_tier_of(cost),
        "lines": [cost_line(line, cost.currency) for line in cost.lines],
        "surcharge": surcharge_line(cost.surcharge, price.surcharge_percent if price else None, cost.currency),
        "gaps": gaps_of(cost, usage),
        "calculator": f"{url_for('calculator.index')}?{call.query()}",
    }
