"""Try it: a sample or a pasted incident on the local rules or on a model; says before what would happen, and after what did."""

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
from webapp.domain.pricing.estimates import estimate, estimate_tokens
from webapp.domain.pricing.pricing import Cost
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
    """Whoever may read may look; running costs money and takes the permission to."""

    needs = Permission.REGISTRY_READ
    purpose = "Put a sample or your own incident to the local rules or to a model, and see what comes back, what it used and what it cost."

    @expose("/")
    def index(self) -> str:
        given = _initial_values()
        if request.headers.get("HX-Target") == SAMPLE_TARGET:
            return self.render("admin/runs/tryit/_incident.html", with_preview=True, **self._page(given))
        return self.render("admin/runs/tryit/index.html", **self._page(given), **_latest_runs())

    @expose("/preview", methods=("POST",))
    def preview(self) -> Response:
        """What would be asked of whom. Nothing is asked, nothing is stored."""
        given = _form_values()
        if request.headers.get("HX-Target") == PREVIEW_TARGET:
            shown = _preview_form(given)
            return Response(self.render("admin/runs/tryit/_preview.html", **shown), 422 if shown["errors"] else 200)
        return Response(self.render("admin/runs/tryit/index.html", **self._page(given), **_latest_runs()))

    @expose("/run", methods=("POST",))
    def run(self) -> ResponseReturnValue:
        if not has_permission(Permission.RUNS_WRITE):
            raise Forbidden(f"Your role, {require_member().role}, may look but not run. Ask an admin.")
        given = _form_values()
        fragment = request.headers.get("HX-Target") == RESULT_TARGET
        try:
            incident = parsing.parse_incident(given["incident"]).incident
            run = run_incident(incident, _run_options(given), actor=actor())
        except Unavailable:
            raise
        except ModeldeskError as error:
            errors = _errors_by_field(error)
            if fragment:
                return Response(self.render("admin/runs/tryit/_refused.html", errors=errors), 422)
            return Response(self.render("admin/runs/tryit/index.html", **(self._page(given) | {"errors": errors}), **_latest_runs()), 422)
        if fragment:
            return Response(self.render("admin/runs/tryit/_result.html", shown=run_presenter.view_model(run), **_latest_runs()))
        return redirect(self.get_url("run.details_view", id=run.public_id))

    def _page(self, given: Mapping[str, str]) -> dict[str, Any]:
        return {
            "samples": SAMPLES,
            "given": given,
            "groups": _model_groups(given["model"]),
            "may_run": has_permission(Permission.RUNS_WRITE),
            "role": require_member().role,
            "most": parsing.MAX_INPUT_LENGTH,
            **_preview_form(given),
        }


def _initial_values() -> dict[str, str]:
    """What the address asks for: a sample, or an earlier run once more; the first sample if nothing."""
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
    }


def _run_options(given: Mapping[str, str]) -> RunOptions:
    model = given["model"]
    chosen = None if model in (AUTOMATIC, LOCAL) else model
    return RunOptions(chosen, given.get("template") or None, local=model == LOCAL, skip_cache=bool(given.get("anew")), caller=caller())


def _latest_runs() -> dict[str, Any]:
    return {"latest": [run_presenter.brief_view_model(run) for run in records.list_latest(db.session(), MAX_LATEST_RUNS)]}


def _model_groups(chosen: str) -> list[ModelGroup]:
    """The text models, with what is missing said at their provider; those without a driver are shown and cannot be chosen."""
    snapshot, environment = container.registry().snapshot, container.settings().environment
    remarks = {slug: remark for slug, provider in snapshot.providers.items() if (remark := provider_remark(provider, environment))}
    models = (model for model in snapshot.by_type.get("text", ()) if model.supported)
    barred = {slug for slug, provider in snapshot.providers.items() if unavailable_reason(provider.display_name, provider.driver)}
    return model_groups(snapshot, models, {chosen}, remarks, barred)


def _preview_form(given: Mapping[str, str]) -> dict[str, Any]:
    """What the preview shows: the incident as it was read, who would answer, and about what that costs."""
    try:
        read = parsing.parse_incident(given["incident"])
        planned = plan_run(read.incident, _run_options(given))
    except ModeldeskError as error:
        return {"errors": _errors_by_field(error), "plan": None}
    return {"errors": {}, "plan": _plan_view_model(read, planned)}


def preview_incident(given: Mapping[str, Any]) -> dict[str, Any]:
    """The preview of an incident that was read already, from a text of that `kind`."""
    try:
        planned = plan_run(given["incident"], _run_options(given))
    except ModeldeskError as error:
        return {"errors": _errors_by_field(error), "plan": None}
    return {"errors": {}, "plan": _plan_view_model(ParsedIncident(given.get("kind", parsing.INCIDENT), given["incident"]), planned)}


def _plan_view_model(read: ParsedIncident, planned: RunPlan) -> dict[str, Any]:
    choice = planned.choice
    shown: dict[str, Any] = {
        "kind": KIND_LABELS[read.kind],
        "incident": read.incident,
        "decided": run_presenter.DECISIONS.get(choice.decided_by, choice.decided_by),
        "chosen": choice.explicit,
        "local": choice.driver == "local",
        "model": choice.model.display_name if choice.model else choice.upstream_model,
        "ref": choice.model.ref if choice.model else f"{run_presenter.driver_label(choice.driver)}, {choice.upstream_model}",
        "driver": run_presenter.driver_label(choice.driver),
        "barred": _unavailable_reason(choice.provider, choice.driver),
        "problem": planned.refusal_reason,
        "note": choice.note,
        "provider": choice.provider,
    }
    return shown | _cost_estimate(planned)


def _unavailable_reason(slug: str | None, driver: str) -> str | None:
    provider = container.registry().snapshot.providers.get(slug or "")
    return unavailable_reason(provider.display_name if provider else driver, driver)


def _cost_estimate(planned: RunPlan) -> dict[str, Any]:
    if planned.request is None:
        return {}
    asked = planned.request
    price = planned.choice.model.price if planned.choice.model else None
    about = estimate(price, estimate_tokens(asked.system, asked.user), asked.max_output_tokens)
    costs = {"question_cost": _format_estimate(about.input_cost), "most_cost": _format_estimate(about.max_cost)}
    return {"about": about, "system": asked.system, "user": asked.user} | costs


def _format_estimate(cost: Cost) -> str | None:
    """The cost of an estimate: rounded, because its tokens are."""
    if cost.total is None or (not cost.complete and not cost.lines):
        return None
    return money_text.format_approximate(cost.total, cost.currency)


def _errors_by_field(error: ModeldeskError) -> dict[str, str]:
    """What is wrong, at the field that it belongs to."""
    if isinstance(error, Invalid):
        return {"incident": "; ".join(parsing.list_messages(error)).removeprefix("incident ").removeprefix("; ")}
    return {"model" if isinstance(error, NotFound | Conflict) else "incident": error.detail}
