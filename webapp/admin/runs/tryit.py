"""Try it: a sample or a pasted incident on the local rules or on a model; says before what would happen, and after what did."""

from collections.abc import Mapping
from typing import Any

from flask import Response, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose

from webapp.admin.core.base import GuardedView
from webapp.admin.runs import run_presenter
from webapp.admin.runs.model_choices import ModelGroup, model_groups, remark_on, why_not_run
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
from webapp.runtime.run_pipeline import Wanted, planned_run, run_incident
from webapp.services.runs import records
from webapp.services.runs.planning import Plan
from webapp.web.auth import actor, caller, member, staff_may

RESULT_TARGET, PREVIEW_TARGET, SAMPLE_TARGET = "div#run-result", "div#run-preview", "div#tryit-incident"
CHOOSE, LOCAL = "", "@local"
LATEST = 8
KINDS: Mapping[str, str] = {
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
        given = _prefilled()
        if request.headers.get("HX-Target") == SAMPLE_TARGET:
            return self.render("admin/runs/tryit/_incident.html", with_preview=True, **self._page(given))
        return self.render("admin/runs/tryit/index.html", **self._page(given), **_latest())

    @expose("/preview", methods=("POST",))
    def preview(self) -> Response:
        """What would be asked of whom. Nothing is asked, nothing is stored."""
        given = _given()
        if request.headers.get("HX-Target") == PREVIEW_TARGET:
            shown = _preview(given)
            return Response(self.render("admin/runs/tryit/_preview.html", **shown), 422 if shown["errors"] else 200)
        return Response(self.render("admin/runs/tryit/index.html", **self._page(given), **_latest()))

    @expose("/run", methods=("POST",))
    def run(self) -> ResponseReturnValue:
        if not staff_may(Permission.RUNS_WRITE):
            raise Forbidden(f"Your role, {member().role}, may look but not run. Ask an admin.")
        given = _given()
        fragment = request.headers.get("HX-Target") == RESULT_TARGET
        try:
            incident = parsing.parse_incident(given["incident"]).incident
            run = run_incident(incident, _wanted(given), actor=actor())
        except Unavailable:
            raise
        except ModeldeskError as error:
            errors = _errors(error)
            if fragment:
                return Response(self.render("admin/runs/tryit/_refused.html", errors=errors), 422)
            return Response(self.render("admin/runs/tryit/index.html", **(self._page(given) | {"errors": errors}), **_latest()), 422)
        if fragment:
            return Response(self.render("admin/runs/tryit/_result.html", shown=run_presenter.facts(run), **_latest()))
        return redirect(self.get_url("run.details_view", id=run.public_id))

    def _page(self, given: Mapping[str, str]) -> dict[str, Any]:
        return {
            "samples": SAMPLES,
            "given": given,
            "groups": _groups(given["model"]),
            "may_run": staff_may(Permission.RUNS_WRITE),
            "role": member().role,
            "most": parsing.MAX_INPUT_LENGTH,
            **_preview(given),
        }


def _prefilled() -> dict[str, str]:
    """What the address asks for: a sample, or an earlier run once more; the first sample if nothing."""
    model = request.args.get("model", CHOOSE)[:300]
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


def _given() -> dict[str, str]:
    form = request.form
    return {"sample": form.get("sample", "")[:60], "incident": form.get("incident", ""), "model": form.get("model", CHOOSE).strip()[:301]}


def _wanted(given: Mapping[str, str]) -> Wanted:
    model = given["model"]
    chosen = None if model in (CHOOSE, LOCAL) else model
    return Wanted(chosen, given.get("template") or None, local=model == LOCAL, anew=bool(given.get("anew")), caller=caller())


def _latest() -> dict[str, Any]:
    return {"latest": [run_presenter.brief(run) for run in records.latest(db.session(), LATEST)]}


def _groups(chosen: str) -> list[ModelGroup]:
    """The text models, with what is missing said at their provider; those without a driver are shown and cannot be chosen."""
    snapshot, environment = container.registry().snapshot, container.settings().environment
    remarks = {slug: remark for slug, provider in snapshot.providers.items() if (remark := remark_on(provider, environment))}
    models = (model for model in snapshot.by_type.get("text", ()) if model.supported)
    barred = {slug for slug, provider in snapshot.providers.items() if why_not_run(provider.display_name, provider.driver)}
    return model_groups(snapshot, models, {chosen}, remarks, barred)


def _preview(given: Mapping[str, str]) -> dict[str, Any]:
    """What the preview shows: the incident as it was read, who would answer, and about what that costs."""
    try:
        read = parsing.parse_incident(given["incident"])
        planned = planned_run(read.incident, _wanted(given))
    except ModeldeskError as error:
        return {"errors": _errors(error), "plan": None}
    return {"errors": {}, "plan": _planned(read, planned)}


def preview_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The preview of an incident that was read already, from a text of that `kind`."""
    try:
        planned = planned_run(given["incident"], _wanted(given))
    except ModeldeskError as error:
        return {"errors": _errors(error), "plan": None}
    return {"errors": {}, "plan": _planned(ParsedIncident(given.get("kind", parsing.INCIDENT), given["incident"]), planned)}


def _planned(read: ParsedIncident, planned: Plan) -> dict[str, Any]:
    choice = planned.choice
    shown: dict[str, Any] = {
        "kind": KINDS[read.kind],
        "incident": read.incident,
        "decided": run_presenter.DECISIONS.get(choice.decided_by, choice.decided_by),
        "chosen": choice.explicit,
        "local": choice.driver == "local",
        "model": choice.model.display_name if choice.model else choice.upstream_model,
        "ref": choice.model.ref if choice.model else f"{run_presenter.driver_label(choice.driver)}, {choice.upstream_model}",
        "driver": run_presenter.driver_label(choice.driver),
        "barred": _why_not(choice.provider, choice.driver),
        "problem": planned.refused,
        "note": choice.note,
        "provider": choice.provider,
    }
    return shown | _costs(planned)


def _why_not(slug: str | None, driver: str) -> str | None:
    provider = container.registry().snapshot.providers.get(slug or "")
    return why_not_run(provider.display_name if provider else driver, driver)


def _costs(planned: Plan) -> dict[str, Any]:
    if planned.request is None:
        return {}
    asked = planned.request
    price = planned.choice.model.price if planned.choice.model else None
    about = estimate(price, estimate_tokens(asked.system, asked.user), asked.max_output_tokens)
    costs = {"question_cost": _about(about.input_cost), "most_cost": _about(about.max_cost)}
    return {"about": about, "system": asked.system, "user": asked.user} | costs


def _about(cost: Cost) -> str | None:
    """The cost of an estimate: rounded, because its tokens are."""
    if cost.total is None or (not cost.complete and not cost.lines):
        return None
    return money_text.format_approximate(cost.total, cost.currency)


def _errors(error: ModeldeskError) -> dict[str, str]:
    """What is wrong, at the field that it belongs to."""
    if isinstance(error, Invalid):
        return {"incident": "; ".join(parsing.list_messages(error)).removeprefix("incident ").removeprefix("; ")}
    return {"model" if isinstance(error, NotFound | Conflict) else "incident": error.detail}
