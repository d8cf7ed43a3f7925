"""The price calculator: all of its state is in the address, so that what somebody shares is what others see."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Response, request
from flask_admin import expose

from webapp.admin.core.base import GuardedView
from webapp.admin.runs.model_choices import model_groups
from webapp.domain.accounts.permissions import Permission
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.costing import calculator
from webapp.domain.costing.calculator import CalculatorRequest, CalculatorResult, Quote
from webapp.domain.pricing.meters import METER_LABELS, describe_conditions, describe_missing, label_of, unit_of
from webapp.domain.pricing.pricing import SERVICE_TIERS, CostLine
from webapp.domain.pricing.usage import METERS
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import AmbiguousModel, UnknownModel
from webapp.runtime import container

PART_SUM_ERRORS: Mapping[str, str] = {
    "input": "Input is smaller than its parts: cached, audio and image tokens count as input tokens too.",
    "cache_write": "Written to cache is smaller than its part that is kept for 1 hour.",
    "output": "Output is smaller than its parts: reasoning and audio tokens count as output tokens too.",
}
PAGE_TARGET, PANEL_TARGET = "div#calculator-answer", "div#calculator-panel-answer"
COMMON_METERS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "image", "request")
OTHER_METERS = tuple(meter for meter in METERS if meter not in COMMON_METERS)
UNSUPPORTED_LABELS = {"inactive": "Inactive", "provider_inactive": "Provider inactive", "retired": "Retired"}
SOURCE_LABELS = {"manual": "entered by hand", "seed": "built-in catalogue", "catalog": "catalogue", "import": "imported"}


class Calculator(GuardedView):
    """What a usage costs on several models, as somebody types."""

    needs = Permission.REGISTRY_READ
    purpose = "What one call costs on each model: exact, itemised, at any moment. The address holds everything; share it."

    @expose("/")
    def index(self) -> Response:
        snapshot = container.registry().snapshot
        question = calculator.parse_query(request.args.to_dict(flat=False))
        if not request.args:
            question = _example_question(snapshot)
        answer = calculator.calculate(snapshot, question, datetime.now(UTC))
        errors = {**_use_form_labels(question.errors), **({"model": answer.unresolved[0].detail} if answer.unresolved else {})}
        shown = {**_answer_view_model(question, answer, errors), "revision": snapshot.revision}
        target = request.headers.get("HX-Target", "")
        if target in (PAGE_TARGET, PANEL_TARGET):
            body = self.render("admin/pricing/calculator/_answer.html", panel=target == PANEL_TARGET, **shown)
        else:
            body = self.render(
                "admin/pricing/calculator/index.html", panel=False, **shown, **self._form_context(snapshot, question, answer)
            )
        headers = {"HX-Replace-Url": shown["link"]} if target == PAGE_TARGET and not errors else {}
        return Response(body, 422 if errors else 200, headers)

    def _form_context(self, snapshot: Snapshot, question: CalculatorRequest, answer: CalculatorResult) -> dict[str, Any]:
        chosen = {quote.model.ref for quote in answer.quotes}
        return {
            "groups": model_groups(snapshot, snapshot.models, chosen),
            "typed": question.typed or {meter: f"{quantity:,}" for meter, quantity in question.usage.as_dict().items()},
            "usual": COMMON_METERS,
            "more": OTHER_METERS,
            "service_tiers": SERVICE_TIERS,
            "most": calculator.MAX_MODELS,
            "unknown_refs": [error.ref for error in answer.unresolved],
        }


def _use_form_labels(errors: Mapping[str, str]) -> dict[str, str]:
    """A total that is smaller than its parts, said with the names that the form gives them."""
    return {name: PART_SUM_ERRORS[name] if name in PART_SUM_ERRORS and "is smaller than" in said else said for name, said in errors.items()}


def _example_question(snapshot: Snapshot) -> CalculatorRequest:
    """Something to look at before anything was typed."""
    default = snapshot.defaults.get("text")
    price = default.price_at(datetime.now(UTC)) if default else None
    return CalculatorRequest(refs=(default.ref,) if default else (), usage=calculator.typical_usage(price))


def _answer_view_model(question: CalculatorRequest, answer: CalculatorResult, errors: Mapping[str, str]) -> dict[str, Any]:
    """What the answer's fragment is made of."""
    wrong = {name for name in errors if name != "model"}
    least = next((quote.total for quote in answer.quotes if quote.cheapest), None)
    return {
        "cards": [] if wrong or not question.usage.as_dict() else [_card(quote, question, least) for quote in answer.quotes],
        "question": question,
        "meters": METER_LABELS,
        "at": answer.at,
        "errors": errors,
        "unresolved": [_suggestions_view_model(error, question) for error in answer.unresolved],
        "nothing_used": not question.usage.as_dict(),
        "link": f"{request.path}?{question.query()}",
        "share": f"{request.url_root.rstrip('/')}{request.path}?{question.query()}",
    }


def _suggestions_view_model(error: UnknownModel | AmbiguousModel, question: CalculatorRequest) -> dict[str, Any]:
    """What is wrong with a ref, and the same question with each model that may be meant in its place."""
    meant = error.suggestions if isinstance(error, UnknownModel) else error.candidates
    queries = [(ref, replace(question, refs=tuple(ref if given == error.ref else given for given in question.refs))) for ref in meant[:3]]
    return {"detail": error.detail, "links": [(ref, f"{request.path}?{instead.query()}") for ref, instead in queries]}


def _card(quote: Quote, question: CalculatorRequest, least: Decimal | None) -> dict[str, Any]:
    currency = quote.cost.currency
    return {
        "quote": quote,
        "model": quote.model,
        "tags": list(_tags(quote)),
        "prefix": "at least " if quote.missing_meters and not quote.is_tier_missing and quote.total is not None else "",
        "total": _money(quote.total_for(question.calls), currency),
        "sums": [(words, _money(quote.total_for(calls), currency)) for words, calls in _multiples(question.calls)],
        "ratio": money_text.format_ratio(quote.total, least) if least and quote.total and quote.total > least else None,
        "lines": [_line(line, currency) for line in quote.cost.lines],
        "missing": [describe_missing(missing) for missing in quote.cost.missing],
        "no_rate": [label_of(missing).lower() for missing in quote.missing_meters],
        "later": replace(question, at=quote.price.effective_to).query() if quote.price and quote.price.effective_to else None,
        "source": _source_label(quote),
    }


def _multiples(calls: int) -> list[tuple[str, int]]:
    rows = [("Per call", 1), ("Per 1,000 calls", 1_000)]
    return rows if calls in (1, 1_000) else [*rows, (f"{calls:,} calls", calls)]


def _money(amount: Decimal | None, currency: str | None) -> dict[str, str | None] | None:
    if amount is None:
        return None
    return {"exact": money_text.format_amount(amount, currency), "rounded": money_text.format_rounded(amount, currency)}


def _tags(quote: Quote) -> list[tuple[str, str]]:
    found = [("Cheapest", "green")] if quote.cheapest else []
    if quote.cost.price_state == "free":
        found.append(("Free", "green"))
    elif quote.cost.price_state == "unknown":
        found.append(("Price unknown", "yellow"))
    elif not quote.cost.complete:
        found.append(("Incomplete", "yellow"))
    if not quote.model.supported:
        found.append((UNSUPPORTED_LABELS.get(quote.model.unsupported_because or "", "Not supported"), "red"))
    return found


def _line(line: CostLine, currency: str | None) -> dict[str, Any]:
    return {
        "label": label_of(line.meter),
        "quantity": line.quantity,
        "billed_as": label_of(line.billed_as) if line.billed_as != line.meter else None,
        "rate": f"{money_text.format_amount(line.rate.amount, currency)} / {unit_of(line.billed_as, line.rate.per)}",
        "conditions": describe_conditions(line.rate),
        "cost": money_text.format_amount(line.cost, currency),
    }


def _source_label(quote: Quote) -> str:
    if quote.price is None:
        return ""
    source = quote.price.source
    said = SOURCE_LABELS.get(source.kind, source.kind)
    return f"{said}, {source.name}" if source.name else said
