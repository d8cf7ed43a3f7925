"""Evaluations: select incidents and models, follow the responses, compare them, and list earlier evaluations."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from flask import Response, flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from sqlalchemy import ColumnElement, or_, select
from werkzeug.utils import secure_filename
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView, is_id
from webapp.admin.core.fields import parse_whole_number, requested_page
from webapp.admin.jobs.job_presenter import evaluation_job
from webapp.admin.runs import evaluation_export, evaluation_presenter
from webapp.admin.runs.evaluation_setup import EvaluationRequest, estimate_costs, form_context, read_request
from webapp.domain.accounts.permissions import Permission
from webapp.domain.incidents.evaluation import LOCAL, NO_SELECTION
from webapp.domain.shared.errors import Forbidden, Invalid, ModeldeskError
from webapp.domain.shared.money import parse_amount
from webapp.extensions import db
from webapp.models import Evaluation, EvaluationCell
from webapp.models.text_search import contains_text
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.runs import evaluation_jobs, evaluation_results, evaluations, saved_incidents
from webapp.web.auth import actor, has_permission, require_member

PAGE_SIZE = 30
MAX_SPEND_CAP = Decimal(10_000)


class EvaluationPage(NamedTuple):
    """One page of evaluations."""

    rows: Sequence[Evaluation]
    has_more: bool


class Evaluations(GuardedView):
    """Every role can read evaluations. Running one costs money and requires the permission to run."""

    needs = Permission.REGISTRY_READ
    purpose = "Put the same incidents to several models, and choose by what comes back: quality, latency and exact cost."

    @expose("/")
    def index(self) -> str:
        """List the evaluations."""
        filters = {name: request.args.get(name, "").replace("\0", "").strip()[:200] for name in ("search", "by", "model", "status")}
        page = requested_page(request.args)
        evaluation_page = _list_page(filters, page)
        rows = [{"bench": row, "state": evaluation_presenter.STATUSES[evaluations.effective_status(row)]} for row in evaluation_page.rows]
        return self.render(
            "admin/runs/evaluations/list.html",
            rows=rows,
            asked=filters,
            more=evaluation_page.has_more,
            page=page,
            statuses=evaluation_presenter.STATUSES,
            label_of=evaluation_presenter.ref_label,
            may_run=can_run(),
        )

    @expose("/new", methods=("GET", "POST"))
    def create(self) -> Any:
        require_run_permission()
        if request.method == "GET":
            return self.render("admin/runs/evaluations/new.html", **form_context(_initial_values(), {}))
        errors: dict[str, str] = {}
        try:
            setup = read_request()
            cap = _parse_spend_cap(request.form.get("spend_cap", ""))
            with writing(refresh=False) as session:
                row = evaluations.create(session, setup.to_setup(cap), actor=actor())
                evaluation_jobs.start(session, row, now=datetime.now(UTC))
                public_id = row.public_id
        except ModeldeskError as error:
            errors = _errors_by_field(error)
            return Response(self.render("admin/runs/evaluations/new.html", **form_context(request.form, errors)), 422)
        return redirect(self.get_url(".details", public_id=public_id))

    @expose("/estimate", methods=("POST",))
    def estimate(self) -> str:
        """Estimate the tokens and the cost of an evaluation. Sends nothing to a model and stores nothing."""
        require_run_permission()
        try:
            setup: EvaluationRequest | None = read_request()
            problem = None
        except ModeldeskError as error:
            setup, problem = None, None if error.code == NO_SELECTION else error.detail
        return self.render("admin/runs/evaluations/_estimate.html", estimate=estimate_costs(setup) if setup else None, problem=problem)

    @expose("/incidents", methods=("POST",))
    def save_incidents(self) -> Redirect:
        """Save the pasted or uploaded incidents for later evaluations."""
        require_run_permission()
        try:
            submitted = read_request(models_needed=False).submitted
            if not submitted:
                raise Invalid.field("incident", "is empty: paste or upload what is to be kept")
            with writing(refresh=False) as session:
                for incident in submitted:
                    saved_incidents.save(session, incident.title[:200], incident, actor=actor())
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash(f"{len(submitted)} incident{'s were' if len(submitted) != 1 else ' was'} kept.", "success")
        return redirect(self.get_url(".create"))

    @expose("/incidents/<number>/delete", methods=("POST",))
    def delete_incident(self, number: str) -> Redirect:
        require_run_permission()
        try:
            with writing(refresh=False) as session:
                name = saved_incidents.delete(session, int(number) if is_id(number) else 0, actor=actor()).name
            flash(f"{name} was deleted. Benches that used it keep their copy.", "success")
        except ModeldeskError as error:
            flash(error.detail, "error")
        return redirect(self.get_url(".create"))

    @expose("/<public_id>/")
    def details(self, public_id: str) -> str:
        row = evaluations.find_with_cells(db.session(), public_id)
        return self.render("admin/runs/evaluations/details.html", **self._view_model(row))

    @expose("/<public_id>/live")
    def live(self, public_id: str) -> str:
        """Return the results so far, for polling by the open page."""
        return self.render("admin/runs/evaluations/_live.html", **self._view_model(evaluations.find_with_cells(db.session(), public_id)))

    def _view_model(self, row: Evaluation) -> dict[str, Any]:
        ratings = evaluation_results.ratings(db.session(), row)
        models = container.registry().snapshot.by_name
        known = {ref: models[ref] for ref in row.models if ref in models}
        return evaluation_presenter.view_model(
            row, ratings, evaluation_results.list_late_runs(db.session(), row), require_member().email
        ) | {
            "may_run": can_run(),
            "job": evaluation_job(db.session(), row.id),
            "may_default": has_permission(Permission.REGISTRY_WRITE),
            "defaults": {ref: model.id for ref, model in known.items() if not model.default and model.active},
            "is_default": {ref for ref, model in known.items() if model.default},
        }

    @expose("/<public_id>/<any(cancel,resume,rename):what>", methods=("POST",))
    def change(self, public_id: str, what: str) -> Redirect:
        require_run_permission()
        try:
            with writing(refresh=False) as session:
                if what == "cancel":
                    evaluations.cancel(session, public_id, actor=actor())
                    message = "The bench was cancelled. What was under way is recorded when it comes back."
                elif what == "resume":
                    row = evaluations.resume(session, public_id, actor=actor())
                    evaluation_jobs.start(session, row, now=datetime.now(UTC))
                    message = "The bench goes on with what is missing."
                else:
                    evaluations.rename(session, public_id, request.form.get("name", ""), actor=actor())
                    message = "The bench was renamed."
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash(message, "success")
        return redirect(self.get_url(".details", public_id=public_id))

    @expose("/<public_id>/rate", methods=("POST",))
    def rate(self, public_id: str) -> ResponseReturnValue:
        require_run_permission()
        score = parse_whole_number(request.form.get("score"))
        with writing(refresh=False) as session:
            evaluations.rate(session, public_id, request.form.get("run", ""), score if isinstance(score, int) else 0, actor=actor())
        if request.headers.get("HX-Request"):
            return Response(f"Rated {score} of 5.")
        return redirect(self.get_url(".details", public_id=public_id))

    @expose("/<public_id>/export.<any(json,csv):kind>")
    def export(self, public_id: str, kind: str) -> Response:
        row = evaluations.find_with_cells(db.session(), public_id)
        ratings, late = evaluation_results.ratings(db.session(), row), evaluation_results.list_late_runs(db.session(), row)
        name = secure_filename(f"{row.name}.{kind}") or f"bench.{kind}"
        headers = {"Content-Disposition": f"attachment; filename={name}"}
        if kind == "csv":
            return Response(evaluation_export.export_csv(row, ratings, late), headers=headers, mimetype="text/csv")
        body = json.dumps(evaluation_export.export_document(row, ratings, late), indent=2, ensure_ascii=False)
        return Response(body, headers=headers, mimetype="application/json")


def can_run() -> bool:
    return has_permission(Permission.RUNS_WRITE)


def require_run_permission() -> None:
    if not can_run():
        raise Forbidden(f"Your role, {require_member().role}, may look but not run. Ask an admin.")


def _list_page(filters: dict[str, str], page: int) -> EvaluationPage:
    query = select(Evaluation).order_by(Evaluation.created_at.desc(), Evaluation.id.desc())
    if filters["search"]:
        query = query.where(contains_text(Evaluation.name, filters["search"]))
    if filters["by"]:
        query = query.where(contains_text(Evaluation.actor, filters["by"]))
    if filters["status"] in ("running", "finished", "cancelled"):
        query = query.where(Evaluation.status == filters["status"])
    if filters["model"]:
        query = query.where(Evaluation.cells.any(_has_label(filters["model"])))
    rows = list(db.session.execute(query.offset(page * PAGE_SIZE).limit(PAGE_SIZE + 1)).scalars())
    return EvaluationPage(rows[:PAGE_SIZE], len(rows) > PAGE_SIZE)


def _has_label(word: str) -> ColumnElement[bool]:
    """Match cells whose model label, as pages show it, contains the word."""
    matches_name = contains_text(EvaluationCell.model, word)
    return (
        or_(matches_name, EvaluationCell.model == LOCAL)
        if word.casefold() in evaluation_presenter.ref_label(LOCAL).casefold()
        else matches_name
    )


def _initial_values() -> dict[str, Any]:
    """Return the form values of an earlier evaluation if the URL names one."""
    public_id = request.args.get("bench", "").replace("\0", "")
    if not public_id:
        return {"models": request.args.getlist("model")[:8]}
    row = evaluations.find(db.session(), public_id)
    incidents = json.dumps(row.incidents, indent=2, ensure_ascii=False)
    return {"models": list(row.models), "incident": incidents, "repeats": str(row.repeats), "name": f"{row.name} again"[:200]}


def _parse_spend_cap(text: str) -> Decimal | None:
    """Return the spend cap in US dollars, or None if the field is empty. Raises `Invalid`."""
    clean = text.strip().removeprefix("$").replace(",", "").strip()
    if not clean:
        return None
    cap = parse_amount(clean)
    if cap is None or cap > MAX_SPEND_CAP:
        raise Invalid.field("spend_cap", f"must be an amount from 0 to {MAX_SPEND_CAP:,} US dollars, such as 0.50")
    return cap


def _errors_by_field(error: ModeldeskError) -> dict[str, str]:
    if isinstance(error, Invalid) and error.errors:
        return {field_error.field.partition("[")[0].partition(".")[0]: field_error.message for field_error in error.errors}
    return {"": error.detail}
