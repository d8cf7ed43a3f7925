"""View models of a call and of the items of its cost, equal on every page that shows them."""

from decimal import Decimal
from typing import Any

from webapp.domain.catalog.rate_schemas import MAX_ATTRIBUTES
from webapp.domain.costing.calculator import CalculatorRequest
from webapp.domain.pricing.costs import CostLine
from webapp.domain.pricing.meters import label_of, unit_of
from webapp.domain.pricing.rate_text import describe_conditions
from webapp.domain.shared import money_text
from webapp.domain.shared.money import format_decimal

MIN_ATTRIBUTE_FIELDS = 2
ROUNDED_NOTE = "rounded after 18 decimals"
MINIMUM_NOTE = "raised to the minimum of a line"


def cost_line(line: CostLine, currency: str | None) -> dict[str, Any]:
    """Return one item: its label, quantity, rate with conditions and notes, and cost, all as text."""
    notes = [note for note, applies in ((ROUNDED_NOTE, line.rounded), (MINIMUM_NOTE, line.is_minimum)) if applies]
    return {
        "label": label_of(line.meter),
        "quantity": f"{line.quantity:,}",
        "billed_as": label_of(line.billed_as) if line.billed_as != line.meter else None,
        "rate": f"{money_text.format_amount(line.rate.amount, currency)} / {unit_of(line.billed_as, line.rate.per)}",
        "conditions": describe_conditions(line.rate),
        "notes": notes,
        "cost": money_text.format_amount(line.cost, currency),
    }


def surcharge_line(surcharge: Decimal | None, percent: Decimal | None, currency: str | None) -> dict[str, str] | None:
    """Return the item of a surcharge, or None if there is none. `percent` is None if it is not known any more."""
    if surcharge is None:
        return None
    label = "Surcharge" if percent is None else f"Surcharge of {format_decimal(percent)}%"
    return {"label": label, "cost": money_text.format_amount(surcharge, currency)}


def attribute_fields(inputs: CalculatorRequest) -> list[str]:
    """Return the texts of the attribute fields: what was entered, and empty fields for more."""
    entered = list(inputs.typed_attributes) or [f"{name}={value}" for name, value in inputs.attributes.items()]
    return (entered + [""] * max(1, MIN_ATTRIBUTE_FIELDS - len(entered)))[:MAX_ATTRIBUTES]
