"""The price calculator. Its whole state is in the URL, so a shared link shows the same page."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Response, request
from flask_admin import expose

from webapp.admin.core.base import GuardedView
from webapp.admin.core.cost_lines import attribute_fields, cost_line, surcharge_line
from webapp.admin.runs.model_choices import model_groups
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.costing import calculator
from webapp.domain.costing.calculator import CalculatorRequest, CalculatorResult, Quote
from webapp.domain.pricing.meters import METER_GROUPS, METER_TABLE, TEXT_TOKENS
from webapp.domain.pricing.service_tiers import TIER_LABELS
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import AmbiguousModel, UnknownModel
from webapp.runtime import container

PART_SUM_ERRORS: Mapping[str, str] = {
    "input": "Input is smaller than its parts: cached, audio, image and video tokens count as input tokens too.",
    "cache_read": "Read from cache is smaller than its parts: the audio, images and video that were read from the cache.",
    "cache_write": "Written to cache is smaller than its part that is kept for 1 hour.",
    "output": "Output is smaller than its parts: reasoning, audio, image and video tokens count as output tokens too.",
}
PAGE_TARGET, PANEL_TARGET = "div#calculator-answer", "div#calculator-panel-answer"
FOLDED_GROUPS = tuple(group for group in METER_GROUPS if group != TEXT_TOKENS)
MAX_CHOICES = 12  # Links per attribute.
UNSUPPORTED_LABELS = {"inactive": "Inactive", "provider_inactive": "Provider inactive", "retired": "Retired"}
SOURCE_LABELS = {"manual": "entered by hand", "seed": "built-in catalogue", "catalog": "catalogue", "import": "imported"}


class Calculator(GuardedView):
    """The cost of a usage on several models, updated during input."""

    needs = Permission.REGISTRY_READ
    purpose = "What one call costs on each model: exact, itemised, at any moment. The address holds everything; share it."

    @expose("/")
    def index(self) -> Response:
        snapshot = container.registry().snapshot
        inputs = calculator.parse_query(request.args.to_dict(flat=False))
        if not request.args:
            inputs = _example_request(snapshot)
        result = calculator.calculate(snapshot, inputs, datetime.now(UTC))
        errors = {**_use_form_labels(inputs.errors), **({"model": result.unresolved[0].detail} if result.unresolved else {})}
        view = {**_result_view_model(inputs, result, errors), "revision": snapshot.revision}
        target = request.headers.get("HX-Target", "")
        if target in (PAGE_TARGET, PANEL_TARGET):
            body = self.render("admin/pricing/calculator/_answer.html", panel=target == PANEL_TARGET, **view)
        else:
            body = self.render("admin/pricing/calculator/index.html", panel=False, **view, **self._form_context(snapshot, inputs, result))
        headers = {"HX-Replace-Url": view["link"]} if target == PAGE_TARGET and not errors else {}
        return Response(body, 422 if errors else 200, headers)

    def _form_context(self, snapshot: Snapshot, inputs: CalculatorRequest, result: CalculatorResult) -> dict[str, Any]:
        selected = {quote.model.ref for quote in result.quotes}
        return {
            "groups": model_groups(snapshot, snapshot.models, selected),
            "typed": inputs.typed or {meter: f"{quantity:,}" for meter, quantity in inputs.usage.as_dict().items()},
            "folded": {group: METER_GROUPS[group] for group in FOLDED_GROUPS},
            "tier_labels": TIER_LABELS,
            "attribute_fields": attribute_fields(inputs),
            "known_attributes": _known_attributes(result),
            "most": calculator.MAX_MODELS,
            "unknown_refs": [error.ref for error in result.unresolved],
        }


def _known_attributes(result: CalculatorResult) -> list[str]:
    """Return the attributes that the prices of the chosen models depend on, such as `quality=high`."""
    choices = [calculator.condition_choices(quote.price) for quote in result.quotes]
    return list(dict.fromkeys(f"{name}={value}" for names in choices for name, values in names.items() for value in values))


def _use_form_labels(errors: Mapping[str, str]) -> dict[str, str]:
    """Replace the messages about totals smaller than their parts with texts that use the form's labels."""
    return {
        name: PART_SUM_ERRORS[name] if name in PART_SUM_ERRORS and "is smaller than" in message else message
        for name, message in errors.items()
    }


def _example_request(snapshot: Snapshot) -> CalculatorRequest:
    """Return an example calculation for a page without input."""
    default = snapshot.defaults.get("text")
    price = default.price_at(datetime.now(UTC)) if default else None
    return CalculatorRequest(refs=(default.ref,) if default else (), usage=calculator.typical_usage(price))


def _result_view_model(inputs: CalculatorRequest, result: CalculatorResult, errors: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the result fragment."""
    invalid = {name for name in errors if name != "model"}
    minimum = next((quote.total for quote in result.quotes if quote.cheapest), None)
    return {
        "cards": [] if invalid or not inputs.usage.as_dict() else [_card(quote, inputs, minimum) for quote in result.quotes],
        "question": inputs,
        "meters": METER_TABLE,
        "at": result.at,
        "errors": errors,
        "unresolved": [_suggestions_view_model(error, inputs) for error in result.unresolved],
        "nothing_used": not inputs.usage.as_dict(),
        "link": f"{request.path}?{inputs.query()}",
        "share": f"{request.url_root.rstrip('/')}{request.path}?{inputs.query()}",
    }


def _suggestions_view_model(error: UnknownModel | AmbiguousModel, inputs: CalculatorRequest) -> dict[str, Any]:
    """Return the error of a ref, with links that replace the ref by each suggested model."""
    suggestions = error.suggestions if isinstance(error, UnknownModel) else error.candidates
    queries = [
        (ref, replace(inputs, refs=tuple(ref if ref_in_query == error.ref else ref_in_query for ref_in_query in inputs.refs)))
        for ref in suggestions[:3]
    ]
    return {"detail": error.detail, "links": [(ref, f"{request.path}?{replacement.query()}") for ref, replacement in queries]}


def _card(quote: Quote, inputs: CalculatorRequest, minimum: Decimal | None) -> dict[str, Any]:
    currency = quote.cost.currency
    return {
        "quote": quote,
        "model": quote.model,
        "tags": list(_tags(quote)),
        "prefix": quote.gaps.prefix if quote.total is not None else "",
        "total": _money(quote.total_for(inputs.calls), currency),
        "sums": [(label, _money(quote.total_for(calls), currency)) for label, calls in _multiples(inputs.calls)],
        "ratio": money_text.format_ratio(quote.total, minimum) if minimum and quote.total and quote.total > minimum else None,
        "lines": [cost_line(line, currency) for line in quote.cost.lines],
        "surcharge": surcharge_line(quote.cost.surcharge, quote.price.surcharge_percent if quote.price else None, currency),
        "gaps": quote.gaps,
        "choices": _attribute_links(quote, inputs),
        "later": replace(inputs, at=quote.price.effective_to).query() if quote.price and quote.price.effective_to else None,
        "source": _source_label(quote),
    }


def _attribute_links(quote: Quote, inputs: CalculatorRequest) -> list[tuple[str, str]]:
    """Return links that state one of the attributes that the missing rates depend on."""
    missing_names = {name for entry in quote.cost.missing for name in entry.partition(" when ")[2].split(", ") if name}
    return [
        (f"{name} {value}", replace(inputs, attributes={**inputs.attributes, name: value}).query())
        for name, values in calculator.condition_choices(quote.price).items()
        if name in missing_names
        for value in values[:MAX_CHOICES]
    ]


def _multiples(calls: int) -> list[tuple[str, int]]:
    rows = [("Per call", 1), ("Per 1,000 calls", 1_000)]
    return rows if calls in (1, 1_000) else [*rows, (f"{calls:,} calls", calls)]


def _money(amount: Decimal | None, currency: str | None) -> dict[str, str | None] | None:
    if amount is None:
        return None
    return {"exact": money_text.format_amount(amount, currency), "rounded": money_text.format_rounded(amount, currency)}


def _tags(quote: Quote) -> list[tuple[str, str]]:
    tags = [("Cheapest", "green")] if quote.cheapest else []
    if quote.cost.price_state == "free":
        tags.append(("Free", "green"))
    elif quote.cost.price_state == "unknown":
        tags.append(("Price unknown", "yellow"))
    elif not quote.cost.complete:
        tags.append(("Incomplete", "yellow"))
    if not quote.model.supported:
        tags.append((UNSUPPORTED_LABELS.get(quote.model.unsupported_because or "", "Not supported"), "red"))
    return tags


def _source_label(quote: Quote) -> str:
    if quote.price is None:
        return ""
    source = quote.price.source
    label = SOURCE_LABELS.get(source.kind, source.kind)
    return f"{label}, {source.name}" if source.name else label
