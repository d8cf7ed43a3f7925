"""Try it: run a sample or a pasted incident on the built-in rules or on a model, with a preview before the run."""

from collections.abc import Mapping
from typing import Any

from flask import Response, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose

from webapp.admin.core.base import GuardedView
from webapp.admin.runs import run_presenter
from webapp.admin.runs.model_choices import ModelGroup, model_groups, provider_remark, unavailable_reason
from webapp.domain.accounts.permissions import Permission
from webapp.domain.incidents import parsing
from webapp.domain.incidents.parsing import ParsedIncident
from webapp.domain.incidents.samples import SAMPLES, SAMPLES_BY_SLUG
from webapp.domain.pricing.costs import Cost
from webapp.domain.pricing.estimates import estimate, estimate_tokens
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid, ModeldeskError, NotFound, Unavailable
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.run_pipeline import RunOptions, plan_run, run_incident
from webapp.services.runs import records
from webapp.services.runs.planning import RunPlan
from webapp.web.auth import actor, caller, has_permission, require_member

RESULT_TARGET, PREVIEW_TARGET, SAMPLE_TARGET = "div#run-result", "div#run-preview", "div#tryit-incident"
AUTOMATIC, LOCAL = "", "@local"
MAX_LATEST_RUNS = 8
KIND_LABELS: Mapping[str, str] = {
    parsing.INCIDENT: "an incident in Modeldesk's JSON",
    parsing.ALERTMANAGER: "an Alertmanager webhook payload",
    parsing.TEXT: "plain text: the first line is the title, the rest the description",
}


class TryIt(GuardedView):
    """Every role can preview. Running costs money and requires the permission to run."""

    needs = Permission.REGISTRY_READ
    purpose = "Put a sample or your own incident to the local rules or to a model, and see what comes back, what it used and what it cost."

    @expose("/")
    def index(self) -> str:
        values = _initial_values()
        if request.headers.get("HX-Target") == SAMPLE_TARGET:
            return self.render("admin/runs/tryit/_incident.html", with_preview=True, **self._page(values))
        return self.render("admin/runs/tryit/index.html", **self._page(values), **_latest_runs())

    @expose("/preview", methods=("POST",))
    def preview(self) -> Response:
        """Show the planned request and its model. Calls no model and stores nothing."""
        values = _form_values()
        if request.headers.get("HX-Target") == PREVIEW_TARGET:
            preview = _preview_form(values)
            return Response(self.render("admin/runs/tryit/_preview.html", **preview), 422 if preview["errors"] else 200)
        return Response(self.render("admin/runs/tryit/index.html", **self._page(values), **_latest_runs()))

    @expose("/run", methods=("POST",))
    def run(self) -> ResponseReturnValue:
        if not has_permission(Permission.RUNS_WRITE):
            raise Forbidden(f"Your role, {require_member().role}, may look but not run. Ask an admin.")
        values = _form_values()
        fragment = request.headers.get("HX-Target") == RESULT_TARGET
        try:
            incident = parsing.parse_incident(values["incident"]).incident
            run = run_incident(incident, _run_options(values), actor=actor())
        except Unavailable:
            raise
        except ModeldeskError as error:
            errors = _errors_by_field(error)
            if fragment:
                return Response(self.render("admin/runs/tryit/_refused.html", errors=errors), 422)
            return Response(self.render("admin/runs/tryit/index.html", **(self._page(values) | {"errors": errors}), **_latest_runs()), 422)
        if fragment:
            return Response(self.render("admin/runs/tryit/_result.html", shown=run_presenter.view_model(run), **_latest_runs()))
        return redirect(self.get_url("run.details_view", id=run.public_id))

    def _page(self, values: Mapping[str, str]) -> dict[str, Any]:
        return {
            "samples": SAMPLES,
            "given": values,
            "groups": _model_groups(values["model"]),
            "may_run": has_permission(Permission.RUNS_WRITE),
            "role": require_member().role,
            "most": parsing.MAX_INPUT_LENGTH,
            **_preview_form(values),
        }


def _initial_values() -> dict[str, str]:
    """Return the form values that the URL requests: a sample, or an earlier run. The default is the first sample."""
    model = request.args.get("model", AUTOMATIC)[:300]
    if public_id := request.args.get("run", ""):
        try:
            run = records.find(db.session(), public_id.replace("\0", "")[:60])
        except NotFound:
            return {"sample": "", "incident": "", "model": model}
        return {
            "sample": "",
            "incident": run_presenter.as_json(run.incident),
            "model": LOCAL if run.driver == "local" else run.model_ref or "",
        }
    sample = SAMPLES_BY_SLUG.get(request.args.get("sample", SAMPLES[0].slug))
    return {"sample": sample.slug if sample else "", "incident": run_presenter.as_json(sample.data) if sample else "", "model": model}


def _form_values() -> dict[str, str]:
    form = request.form
    return {
        "sample": form.get("sample", "")[:60],
        "incident": form.get("incident", ""),
        "model": form.get("model", AUTOMATIC).strip()[:301],
        "skip_cache": form.get("skip_cache", "")[:1],
    }


def _run_options(values: Mapping[str, str]) -> RunOptions:
    model = values["model"]
    requested = None if model in (AUTOMATIC, LOCAL) else model
    return RunOptions(
        requested, values.get("template") or None, local=model == LOCAL, skip_cache=bool(values.get("skip_cache")), caller=caller()
    )


def _latest_runs() -> dict[str, Any]:
    return {"latest": [run_presenter.brief_view_model(run) for run in records.list_latest(db.session(), MAX_LATEST_RUNS)]}


def _model_groups(selected: str) -> list[ModelGroup]:
    """Return the text models with remarks on their providers. Models without a driver are shown but disabled."""
    snapshot, environment = container.registry().snapshot, container.settings().environment
    remarks = {slug: remark for slug, provider in snapshot.providers.items() if (remark := provider_remark(provider, environment))}
    models = (model for model in snapshot.by_type.get("text", ()) if model.supported)
    unavailable = {slug for slug, provider in snapshot.providers.items() if unavailable_reason(provider.display_name, provider.driver)}
    return model_groups(snapshot, models, {selected}, remarks, unavailable)


def _preview_form(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the preview of the form: the parsed incident, the model that would respond, and the estimated cost."""
    try:
        parsed = parsing.parse_incident(values["incident"])
        plan = plan_run(parsed.incident, _run_options(values))
    except ModeldeskError as error:
        return {"errors": _errors_by_field(error), "plan": None}
    return {"errors": {}, "plan": _plan_view_model(parsed, plan)}


def preview_incident(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preview of an incident that is already parsed. `kind` is the format of its source text."""
    try:
        plan = plan_run(values["incident"], _run_options(values))
    except ModeldeskError as error:
        return {"errors": _errors_by_field(error), "plan": None}
    return {"errors": {}, "plan": _plan_view_model(ParsedIncident(values.get("kind", parsing.INCIDENT), values["incident"]), plan)}


def _plan_view_model(parsed: ParsedIncident, plan: RunPlan) -> dict[str, Any]:
    choice = plan.choice
    view: dict[str, Any] = {
        "kind": KIND_LABELS[parsed.kind],
        "incident": parsed.incident,
        "decided": run_presenter.DECISIONS.get(choice.decided_by, choice.decided_by),
        "chosen": choice.explicit,
        "local": choice.driver == "local",
        "model": choice.model.display_name if choice.model else choice.upstream_model,
        "ref": choice.model.ref if choice.model else f"{run_presenter.driver_label(choice.driver)}, {choice.upstream_model}",
        "driver": run_presenter.driver_label(choice.driver),
        "barred": _unavailable_reason(choice.provider, choice.driver),
        "problem": plan.refusal_reason,
        "note": choice.note,
        "provider": choice.provider,
    }
    return view | _cost_estimate(plan)


def _unavailable_reason(slug: str | None, driver: str) -> str | None:
    provider = container.registry().snapshot.providers.get(slug or "")
    return unavailable_reason(provider.display_name if provider else driver, driver)


def _cost_estimate(plan: RunPlan) -> dict[str, Any]:
    if plan.request is None:
        return {}
    model_request = plan.request
    price = plan.choice.model.price if plan.choice.model else None
    forecast = estimate(price, estimate_tokens(model_request.system, model_request.user), model_request.max_output_tokens)
    costs = {"question_cost": _format_estimate(forecast.input_cost), "most_cost": _format_estimate(forecast.max_cost)}
    return {"about": forecast, "system": model_request.system, "user": model_request.user} | costs


def _format_estimate(cost: Cost) -> str | None:
    """Return the cost of an estimate, rounded because its token counts are estimates."""
    if cost.total is None or (not cost.complete and not cost.lines):
        return None
    return money_text.format_approximate(cost.total, cost.currency)


def _errors_by_field(error: ModeldeskError) -> dict[str, str]:
    """Return the messages by form field."""
    if isinstance(error, Invalid):
        return {"incident": "; ".join(parsing.list_messages(error)).removeprefix("incident ").removeprefix("; ")}
    return {"model" if isinstance(error, NotFound | Conflict) else "incident": error.detail}
