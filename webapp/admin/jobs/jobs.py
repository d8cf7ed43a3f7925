"""The Jobs page: all background work, its progress, its errors, and Cancel."""

from datetime import UTC, datetime
from typing import Any

from flask import Response, flash, redirect, request
from flask_admin import expose
from sqlalchemy import select
from werkzeug.wrappers import Response as Redirect

from webapp.admin.core.base import GuardedView, is_id
from webapp.admin.core.fields import requested_page
from webapp.admin.jobs.job_presenter import STATUSES, can_cancel, view_model
from webapp.domain.accounts.permissions import Permission
from webapp.domain.shared.errors import Forbidden, ModeldeskError
from webapp.extensions import db
from webapp.models import Job
from webapp.runtime import job_kinds
from webapp.runtime.transaction import writing
from webapp.services.jobs import queue, queue_status
from webapp.web.auth import actor

PAGE_SIZE = 50


class Jobs(GuardedView):
    """List and details of jobs for everyone who can read the registry. Users cancel their own jobs, editors any."""

    needs = Permission.REGISTRY_READ
    purpose = "Work that takes longer than a request. It continues after a restart. Ended jobs are kept for 30 days."

    @expose("/")
    def index(self) -> str:
        filters = {name: request.args.get(name, "")[:40] for name in ("kind", "status", "mine")}
        page = requested_page(request.args)
        session = db.session()
        jobs = list(session.execute(_filtered(filters).offset(page * PAGE_SIZE).limit(PAGE_SIZE + 1)).scalars())
        status = queue_status.read(session, datetime.now(UTC))
        return self.render(
            "admin/jobs/list.html",
            jobs=[view_model(session, job) for job in jobs[:PAGE_SIZE]],
            has_more=len(jobs) > PAGE_SIZE,
            page=page,
            filters=filters,
            kinds={name: kind.label for name, kind in job_kinds.KINDS.items()},
            statuses=STATUSES,
            warning="" if status.workers or not (status.queued or status.running) else queue_status.NO_WORKER,
        )

    @expose("/<number>/")
    def details(self, number: str) -> str:
        session = db.session()
        return self.render("admin/jobs/details.html", view=view_model(session, _find_job(number)))

    @expose("/<number>/progress")
    def progress(self, number: str) -> Response:
        """Return the progress for an open page. When the job has ended, the page is loaded again to show the result."""
        session = db.session()
        view = view_model(session, _find_job(number))
        response = Response(self.render("admin/jobs/_progress.html", view=view))
        if not view.is_active:
            response.headers["HX-Refresh"] = "true"
        return response

    @expose("/<number>/cancel", methods=("POST",))
    def cancel(self, number: str) -> Redirect:
        try:
            with writing(refresh=False) as session:
                job = queue.find(session, int(number) if is_id(number) else 0, lock=True)
                if not can_cancel(job):
                    raise Forbidden("Your role cannot cancel jobs of others. Ask an editor.")
                has_ended = queue.cancel(session, job, job_kinds.find(job.kind).close, actor=actor(), now=datetime.now(UTC))
        except Forbidden:
            raise
        except ModeldeskError as error:
            flash(error.detail, "error")
        else:
            flash("The job was canceled." if has_ended else "The job ends after its current step.", "success")
        return redirect(self.get_url(".details", number=number))


def _find_job(number: str) -> Job:
    return queue.find(db.session(), int(number) if is_id(number) else 0)


def _filtered(filters: dict[str, str]) -> Any:
    query = select(Job).order_by(Job.id.desc())
    if filters["kind"]:
        query = query.where(Job.kind == filters["kind"])
    if filters["status"] in STATUSES:
        query = query.where(Job.status == filters["status"])
    return query.where(Job.requested_by == actor()) if filters["mine"] else query
