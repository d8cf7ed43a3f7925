"""Set-up of an evaluation: the submitted form, and the estimated cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from flask import request

from webapp.admin.core.fields import parse_whole_number
from webapp.admin.runs.evaluation_presenter import ref_label
from webapp.admin.runs.model_choices import model_groups, provider_remark, unavailable_reason
from webapp.domain.incidents import evaluation
from webapp.domain.incidents.answer_schema import TEMPLATE_NAME
from webapp.domain.incidents.evaluation import CAP_CURRENCY, LOCAL
from webapp.domain.incidents.incidents import Incident
from webapp.domain.incidents.samples import SAMPLES, SAMPLES_BY_SLUG
from webapp.domain.pricing.estimates import estimate, estimate_tokens
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.money import EXACT, ZERO, add_to, sort_sums
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.run_pipeline import RunOptions, plan_run
from webapp.services.runs import evaluations, prompt_templates
from webapp.services.runs import saved_incidents as incidents
from webapp.services.runs.planning import RunPlan
from webapp.web.auth import caller

MAX_UPLOAD_BYTES = 900_000


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """The submitted form. `submitted` holds the pasted and uploaded incidents; `incidents` includes them."""

    name: str
    incidents: tuple[Incident, ...]
    submitted: tuple[Incident, ...]
    models: tuple[str, ...]
    repeats: int
    template: str
    plans: Mapping[tuple[int, str], RunPlan] = field(default_factory=dict, repr=False)

    def to_setup(self, cap: Decimal | None) -> evaluations.EvaluationSetup:
        max_costs = {key: _max_call_cost(plan) for key, plan in self.plans.items()}
        return evaluations.EvaluationSetup(self.name, self.incidents, self.models, self.repeats, self.template, cap, max_costs)


def read_request(*, models_needed: bool = True) -> EvaluationRequest:
    """Return the submitted form, with a plan for every incident and model.

    Raises `Invalid`, or an error of `plan_run` for a model.
    """
    form = request.form
    submitted = tuple(_submitted_incidents())
    selected = [*_selected_incidents(), *submitted]
    models = tuple(dict.fromkeys(form.getlist("models")))
    repeats = parse_whole_number(form.get("repeats") or "1")
    template = form.get("template", "")[:60] or TEMPLATE_NAME
    if models_needed:
        evaluation.require_valid_selection(len(selected), models, repeats if isinstance(repeats, int) else 0)
    name = " ".join(form.get("name", "").split())[:200] or _default_name(selected, models)
    plans = {
        (index, model): plan_run(incident, RunOptions(None if model == LOCAL else model, template, local=model == LOCAL, caller=caller()))
        for index, incident in enumerate(selected)
        for model in models
        if models_needed
    }
    return EvaluationRequest(name, tuple(selected), submitted, models, repeats if isinstance(repeats, int) else 1, template, plans)


def _selected_incidents() -> list[Incident]:
    samples = [SAMPLES_BY_SLUG[slug].incident() for slug in request.form.getlist("samples") if slug in SAMPLES_BY_SLUG]
    row_ids = set(request.form.getlist("saved"))
    saved = [row for row in incidents.list_all(db.session()) if str(row.id) in row_ids]
    return samples + [incident for row in saved for incident in evaluation.parse_incidents(json.dumps(row.incident))]


def _submitted_incidents() -> list[Incident]:
    """Return the pasted and uploaded incidents. Raises `Invalid` with the name of the file."""
    parsed: list[Incident] = []
    if request.form.get("incident", "").strip():
        parsed += evaluation.parse_incidents(request.form["incident"])
    for file in request.files.getlist("files"):
        if not file.filename:
            continue
        data = file.stream.read(MAX_UPLOAD_BYTES + 1)
        if len(data) > MAX_UPLOAD_BYTES:
            raise Invalid.field("files", f"{file.filename[:80]} is larger than {MAX_UPLOAD_BYTES:,} bytes")
        try:
            parsed += evaluation.parse_incidents(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise Invalid.field("files", f"{file.filename[:80]} is not UTF-8 text") from None
        except Invalid as error:
            raise Invalid.field("files", f"{file.filename[:80]}: {error.detail}") from None
    return parsed


def _default_name(selected: Sequence[Incident], models: Sequence[str]) -> str:
    first = selected[0].title if len(selected) == 1 else f"{len(selected)} incidents"
    return f"{first} on {len(models)} model{'s' if len(models) != 1 else ''}"[:200]


def _max_call_cost(plan: RunPlan) -> Decimal | None:
    """Return the maximum cost of one call of a plan, in the currency of the cap.

    Returns None if the price is unknown or in another currency.
    """
    if plan.request is None:
        return ZERO
    price = plan.choice.model.price if plan.choice.model else None
    forecast = estimate(price, estimate_tokens(plan.request.system, plan.request.user), plan.request.max_output_tokens)
    countable = forecast.max_cost.complete and (forecast.max_cost.currency == CAP_CURRENCY or not forecast.max_cost.total)
    return forecast.max_cost.total if countable else None


def estimate_costs(setup: EvaluationRequest) -> dict[str, Any]:
    """Return the estimate by model and in total.

    `low` covers the input tokens only; `high` assumes the maximum number of output tokens.
    """
    rows = [_model_estimate(setup, model) for model in setup.models]
    known = [row for row in rows if row["high"] is not None]
    low: dict[str, Decimal] = {}
    high: dict[str, Decimal] = {}
    for row in known:
        add_to(low, row["currency"], row["low"])
        add_to(high, row["currency"], row["high"])
    sums = [
        (_format_estimate(low[currency], currency), _format_estimate(maximum, currency))
        for currency, maximum in (sort_sums(high) if len(known) == len(rows) or any(high.values()) else ())
    ]
    formatted = [
        row | {"low": _format_estimate(row["low"], row["currency"]), "high": _format_estimate(row["high"], row["currency"])} for row in rows
    ]
    return {
        "rows": formatted,
        "calls": sum(row["calls"] for row in rows),
        "sums": sums,
        "unknown": len(rows) - len(known),
        "problems": [row for row in rows if row["problem"]],
        "foreign": [row["label"] for row in known if row["high"] and row["currency"] != CAP_CURRENCY],
    }


def _model_estimate(setup: EvaluationRequest, model: str) -> dict[str, Any]:
    plans = [setup.plans[index, model] for index in range(len(setup.incidents))]
    input_tokens, output_tokens, low, high = 0, 0, ZERO, ZERO
    known, currency = True, CAP_CURRENCY
    for plan in plans:
        if plan.request is None:
            continue
        price = plan.choice.model.price if plan.choice.model else None
        forecast = estimate(price, estimate_tokens(plan.request.system, plan.request.user), plan.request.max_output_tokens)
        input_tokens, output_tokens = input_tokens + forecast.input, output_tokens + forecast.max_output_tokens
        known, currency = known and forecast.max_cost.complete, forecast.max_cost.currency or currency
        low, high = EXACT.add(low, forecast.input_cost.total or ZERO), EXACT.add(high, forecast.max_cost.total or ZERO)
    repeats = setup.repeats
    return {
        "model": model,
        "label": ref_label(model),
        "calls": len(plans) * repeats,
        "currency": currency,
        "input": input_tokens * repeats,
        "output": output_tokens * repeats,
        "low": EXACT.multiply(low, Decimal(repeats)) if known else None,
        "high": EXACT.multiply(high, Decimal(repeats)) if known else None,
        "problem": plans[0].refusal_reason or _unavailable_reason(plans[0]),
    }


def _unavailable_reason(plan: RunPlan) -> str | None:
    provider = container.registry().snapshot.providers.get(plan.choice.provider or "")
    return unavailable_reason(provider.display_name, provider.driver) if provider else None


def _format_estimate(amount: Decimal | None, currency: str) -> str | None:
    if amount is None:
        return None
    return money_text.format_approximate(amount, currency) if amount else money_text.format_amount(ZERO, currency)


def form_context(form: Any, errors: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the form page. Everything that was selected is kept."""
    get_list = form.getlist if hasattr(form, "getlist") else lambda name: list(form.get(name, ()))
    snapshot, environment = container.registry().snapshot, container.settings().environment
    remarks = {slug: remark for slug, provider in snapshot.providers.items() if (remark := provider_remark(provider, environment))}
    unavailable = {slug for slug, provider in snapshot.providers.items() if unavailable_reason(provider.display_name, provider.driver)}
    models = (model for model in snapshot.by_type.get("text", ()) if model.supported)
    selected = set(get_list("models"))
    values = {name: form.get(name, "") for name in ("incident", "name", "repeats", "spend_cap", "template")}
    return {
        "samples": SAMPLES,
        "saved": incidents.list_all(db.session()),
        "groups": model_groups(snapshot, models, selected, remarks, unavailable),
        "picked": {"samples": set(get_list("samples")), "saved": set(get_list("saved")), "models": selected},
        "errors": errors,
        "given": values
        | {"repeats": values["repeats"] or "1", "spend_cap": values["spend_cap"] if errors or values["spend_cap"] else "1.00"},
        "templates": [row for row in prompt_templates.list_current(db.session()) if row.is_active],
        "local": LOCAL,
        "most": evaluation,
    }
