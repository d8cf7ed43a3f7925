"""What-if: the recorded usage of a model at another price or on another model. Nothing is saved; the URL holds the whole state."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, request
from flask_admin import expose

from webapp.admin.core.base import GuardedView
from webapp.admin.core.formatters import format_price
from webapp.admin.runs.model_choices import model_groups
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.input_schemas import validate_price
from webapp.domain.catalog.resolution import resolve
from webapp.domain.pricing.meters import METER_GROUPS, METER_TABLE, METERS, TEXT_TOKENS, TOKEN_METERS, unit_of
from webapp.domain.pricing.pricing import MILLION, Price
from webapp.domain.pricing.repricing import RepricingTotals, reprice
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import AmbiguousModel, Invalid, UnknownModel
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.runtime import container
from webapp.services.pricing import recorded_calls

DAY_SPANS = (7, 30, 90, 365)
RATE_METERS = tuple((meter, MILLION if meter in TOKEN_METERS else 1) for meter in METERS)


class WhatIf(GuardedView):
    """Open to every role that can read usage."""

    needs = Permission.USAGE_READ
    purpose = "What the usage recorded so far would have cost at another price or on another model. Nothing is saved."

    @expose("/")
    def index(self) -> Response:
        values = {name: request.args.get(name, "").strip()[:300] for name in ("model", "on", *(meter for meter, _ in RATE_METERS))}
        days = next((span for span in DAY_SPANS if str(span) == request.args.get("days")), 30)
        errors: dict[str, str] = {}
        result = None
        try:
            result = _repricing_view_model(values, days) if values["model"] else None
        except (UnknownModel, AmbiguousModel) as error:
            errors = {"model" if error.ref == values["model"] else "on": error.detail}
        except Invalid as error:
            errors = {field_error.field.partition("[")[0]: field_error.message for field_error in error.errors} or {"": error.detail}
        snapshot = container.registry().snapshot
        page = self.render(
            "admin/pricing/whatif.html",
            typed=values,
            text_fields=[_rate_field(meter) for meter in METER_GROUPS[TEXT_TOKENS]],
            more_fields={group: [_rate_field(meter) for meter in names] for group, names in METER_GROUPS.items() if group != TEXT_TOKENS},
            days=days,
            spans=DAY_SPANS,
            errors=errors,
            found=result,
            models=model_groups(snapshot, snapshot.models, {values["model"]}),
            others=model_groups(snapshot, snapshot.models, {values["on"]}),
        )
        return Response(page, 422 if errors else 200)


def _rate_field(meter: str) -> tuple[str, str]:
    """Return the name and the label of a field: `Input per 1M`, `Images per image`."""
    return meter, f"{METER_TABLE[meter].label} per {'1M' if meter in TOKEN_METERS else unit_of(meter, 1)}"


def _repricing_view_model(values: dict[str, str], days: int) -> dict[str, Any]:
    """Return the repriced usage. Raises `UnknownModel`, `AmbiguousModel`, or `Invalid` with the form field."""
    names, now = container.registry().snapshot.names, datetime.now(UTC)
    model = resolve(names, values["model"])
    price, label = _alternative_price(values, model, now)
    result = reprice(recorded_calls.iterate_calls(db.session(), model.ref, now - timedelta(days=days), now), price)
    groups = sorted(result.groups.items(), key=lambda item: -item[1].original)
    return {
        "model": model,
        "label": label,
        "price": format_price(price),
        "days": days,
        "since": now - timedelta(days=days),
        "until": now,
        "everything": _outcome_view_model("In all", result.overall, result.currency),
        "groups": [_outcome_view_model(name or "no project", outcome, result.currency) for name, outcome in groups],
    }


def _alternative_price(values: dict[str, str], model: ModelInfo, now: datetime) -> tuple[Price, str]:
    rates = [{"meter": meter, "amount": values[meter], "per": per} for meter, per in RATE_METERS if values[meter]]
    if rates:
        try:
            entry = validate_price(
                {"state": "priced", "currency": "USD", "effective_from": format_timestamp(now.replace(microsecond=0)), "rates": rates}
            )
        except Invalid:
            raise Invalid.field("rates", "must be plain decimals such as 0.15") from None
        return Price(entry.state, entry.effective_from, entry.currency, entry.rates), "At the price that you typed"
    target = resolve(container.registry().snapshot.names, values["on"]) if values["on"] else model
    price = target.price_at(now)
    if price is None or price.state == "unknown":
        raise Invalid.field("on", f"{target.display_name} has no known price now: choose another one, or type a price")
    return price, f"On {target.display_name}" if target is not model else "At the price of today"


def _outcome_view_model(name: str, outcome: RepricingTotals, currency: str) -> dict[str, Any]:
    change = None
    if outcome.original:
        percent = (money_text.quotient(outcome.repriced, outcome.original) - 1) * 100
        change = f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent):,.1f}%"
    return {
        "name": name,
        "calls": outcome.calls,
        "compared": outcome.compared,
        "unknown_then": outcome.unknown_original,
        "unknown_instead": outcome.unknown_repriced,
        "then": money_text.format_amount(outcome.original, currency) if outcome.compared else None,
        "instead": money_text.format_amount(outcome.repriced, currency) if outcome.compared else None,
        "less": outcome.difference < 0,
        "change": change,
        "difference": _difference_text(outcome, currency) if outcome.compared else None,
    }


def _difference_text(outcome: RepricingTotals, currency: str) -> str:
    return f"{'−' if outcome.difference < 0 else '+'}{money_text.format_amount(abs(outcome.difference), currency)}"
