"""Setting a bench up: what was chosen in the form, and about what it would cost."""

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
    """What the form asks for. `given` are the incidents that were pasted or uploaded, which are among `incidents`."""

    name: str
    incidents: tuple[Incident, ...]
    submitted: tuple[Incident, ...]
    models: tuple[str, ...]
    repeats: int
    template: str
    plans: Mapping[tuple[int, str], RunPlan] = field(default_factory=dict, repr=False)

    def to_setup(self, cap: Decimal | None) -> evaluations.EvaluationSetup:
        most = {place: _max_call_cost(planned) for place, planned in self.plans.items()}
        return evaluations.EvaluationSetup(self.name, self.incidents, self.models, self.repeats, self.template, cap, most)


def read_request(*, models_needed: bool = True) -> EvaluationRequest:
    """What was chosen, with a plan for every incident and model. Raises `Invalid`, or what planning raises for a model."""
    form = request.form
    given = tuple(_submitted_incidents())
    picked = [*_selected_incidents(), *given]
    models = tuple(dict.fromkeys(form.getlist("models")))
    repeats = parse_whole_number(form.get("repeats") or "1")
    template = form.get("template", "")[:60] or TEMPLATE_NAME
    if models_needed:
        evaluation.require_valid_selection(len(picked), models, repeats if isinstance(repeats, int) else 0)
    name = " ".join(form.get("name", "").split())[:200] or _default_name(picked, models)
    plans = {
        (number, model): plan_run(incident, RunOptions(None if model == LOCAL else model, template, local=model == LOCAL, caller=caller()))
        for number, incident in enumerate(picked)
        for model in models
        if models_needed
    }
    return EvaluationRequest(name, tuple(picked), given, models, repeats if isinstance(repeats, int) else 1, template, plans)


def _selected_incidents() -> list[Incident]:
    found = [SAMPLES_BY_SLUG[slug].incident() for slug in request.form.getlist("samples") if slug in SAMPLES_BY_SLUG]
    numbers = set(request.form.getlist("saved"))
    kept = [row for row in incidents.list_all(db.session()) if str(row.id) in numbers]
    return found + [incident for row in kept for incident in evaluation.parse_incidents(json.dumps(row.incident))]


def _submitted_incidents() -> list[Incident]:
    """Pasted text and uploaded files. Raises `Invalid` that names the file."""
    found: list[Incident] = []
    if request.form.get("incident", "").strip():
        found += evaluation.parse_incidents(request.form["incident"])
    for file in request.files.getlist("files"):
        if not file.filename:
            continue
        data = file.stream.read(MAX_UPLOAD_BYTES + 1)
        if len(data) > MAX_UPLOAD_BYTES:
            raise Invalid.field("files", f"{file.filename[:80]} is larger than {MAX_UPLOAD_BYTES:,} bytes")
        try:
            found += evaluation.parse_incidents(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise Invalid.field("files", f"{file.filename[:80]} is not UTF-8 text") from None
        except Invalid as error:
            raise Invalid.field("files", f"{file.filename[:80]}: {error.detail}") from None
    return found


def _default_name(picked: Sequence[Incident], models: Sequence[str]) -> str:
    first = picked[0].title if len(picked) == 1 else f"{len(picked)} incidents"
    return f"{first} on {len(models)} model{'s' if len(models) != 1 else ''}"[:200]


def _max_call_cost(planned: RunPlan) -> Decimal | None:
    """The most that one call of this plan may cost in the currency of the cap; None where no price is known, or one in another."""
    if planned.request is None:
        return ZERO
    price = planned.choice.model.price if planned.choice.model else None
    about = estimate(price, estimate_tokens(planned.request.system, planned.request.user), planned.request.max_output_tokens)
    countable = about.max_cost.complete and (about.max_cost.currency == CAP_CURRENCY or not about.max_cost.total)
    return about.max_cost.total if countable else None


def estimate_costs(setup: EvaluationRequest) -> dict[str, Any]:
    """The estimate by model and in all: low is the questions alone, high is with the longest answers."""
    rows = [_model_estimate(setup, model) for model in setup.models]
    known = [row for row in rows if row["high"] is not None]
    low: dict[str, Decimal] = {}
    high: dict[str, Decimal] = {}
    for row in known:
        add_to(low, row["currency"], row["low"])
        add_to(high, row["currency"], row["high"])
    sums = [
        (_format_estimate(low[currency], currency), _format_estimate(most, currency))
        for currency, most in sort_sums(high or {CAP_CURRENCY: ZERO})
        if known
    ]
    shown = [
        row | {"low": _format_estimate(row["low"], row["currency"]), "high": _format_estimate(row["high"], row["currency"])} for row in rows
    ]
    return {
        "rows": shown,
        "calls": sum(row["calls"] for row in rows),
        "sums": sums,
        "unknown": len(rows) - len(known),
        "problems": [row for row in rows if row["problem"]],
        "foreign": [row["label"] for row in known if row["high"] and row["currency"] != CAP_CURRENCY],
    }


def _model_estimate(setup: EvaluationRequest, model: str) -> dict[str, Any]:
    plans = [setup.plans[number, model] for number in range(len(setup.incidents))]
    tokens, longest, low, high = 0, 0, ZERO, ZERO
    known, currency = True, CAP_CURRENCY
    for planned in plans:
        if planned.request is None:
            continue
        price = planned.choice.model.price if planned.choice.model else None
        about = estimate(price, estimate_tokens(planned.request.system, planned.request.user), planned.request.max_output_tokens)
        tokens, longest = tokens + about.input, longest + about.max_output_tokens
        known, currency = known and about.max_cost.complete, about.max_cost.currency or currency
        low, high = EXACT.add(low, about.input_cost.total or ZERO), EXACT.add(high, about.max_cost.total or ZERO)
    times = setup.repeats
    return {
        "model": model,
        "label": ref_label(model),
        "calls": len(plans) * times,
        "currency": currency,
        "input": tokens * times,
        "output": longest * times,
        "low": EXACT.multiply(low, Decimal(times)) if known else None,
        "high": EXACT.multiply(high, Decimal(times)) if known else None,
        "problem": plans[0].refusal_reason or _unavailable_reason(plans[0]),
    }


def _unavailable_reason(planned: RunPlan) -> str | None:
    provider = container.registry().snapshot.providers.get(planned.choice.provider or "")
    return unavailable_reason(provider.display_name, provider.driver) if provider else None


def _format_estimate(amount: Decimal | None, currency: str) -> str | None:
    if amount is None:
        return None
    return money_text.format_approximate(amount, currency) if amount else money_text.format_amount(ZERO, currency)


def form_context(form: Any, errors: Mapping[str, str]) -> dict[str, Any]:
    """What the page of the form shows; nothing that was chosen is lost."""
    many = form.getlist if hasattr(form, "getlist") else lambda name: list(form.get(name, ()))
    snapshot, environment = container.registry().snapshot, container.settings().environment
    remarks = {slug: remark for slug, provider in snapshot.providers.items() if (remark := provider_remark(provider, environment))}
    barred = {slug for slug, provider in snapshot.providers.items() if unavailable_reason(provider.display_name, provider.driver)}
    models = (model for model in snapshot.by_type.get("text", ()) if model.supported)
    picked = set(many("models"))
    given = {name: form.get(name, "") for name in ("incident", "name", "repeats", "spend_cap", "template")}
    return {
        "samples": SAMPLES,
        "saved": incidents.list_all(db.session()),
        "groups": model_groups(snapshot, models, picked, remarks, barred),
        "picked": {"samples": set(many("samples")), "saved": set(many("saved")), "models": picked},
        "errors": errors,
        "given": given | {"repeats": given["repeats"] or "1", "spend_cap": given["spend_cap"] if errors or given["spend_cap"] else "1.00"},
        "templates": [row for row in prompt_templates.list_current(db.session()) if row.is_active],
        "local": LOCAL,
        "most": evaluation,
    }
