"""Jobs as pages show them: state, progress, result and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import url_for
from sqlalchemy.orm import Session

from webapp.domain.accounts.permissions import Permission
from webapp.domain.jobs.lifecycle import ACTIVE_STATUSES, CANCELED, DONE, FAILED, QUEUED, RUNNING, remaining_seconds
from webapp.models import Evaluation, Job
from webapp.runtime import job_kinds
from webapp.services.jobs import queue, queue_status
from webapp.services.runs import evaluation_jobs
from webapp.web.auth import actor, has_permission

STATUSES: Mapping[str, tuple[str, str]] = {
    QUEUED: ("Queued", "neutral"),
    RUNNING: ("Running", "blue"),
    DONE: ("Done", "green"),
    FAILED: ("Failed", "red"),
    CANCELED: ("Canceled", "yellow"),
}
SUBJECT_PAGES: Mapping[str, tuple[str, str]] = {"proposal": ("proposal.details", "number")}


@dataclass(frozen=True, slots=True)
class JobView:
    """A job for a template. `warning` says that no worker runs, `advice` what to do about a job that did not finish."""

    job: Job
    label: str
    state: tuple[str, str]
    percent: int
    text: str
    is_active: bool
    can_cancel: bool
    duration: str
    subject_url: str | None
    advice: str
    warning: str


def view_model(session: Session, job: Job) -> JobView:
    now = datetime.now(UTC)
    kind = job_kinds.KINDS.get(job.kind)
    is_active = job.status in ACTIVE_STATUSES
    return JobView(
        job=job,
        label=kind.label if kind else job.kind,
        state=STATUSES[job.status],
        percent=100 * job.done // job.total if job.total else 0,
        text=describe(job, now),
        is_active=is_active,
        can_cancel=is_active and not job.cancel_requested and can_cancel(job),
        duration=format_duration((job.ended_at or now) - job.started_at) if job.started_at else "",
        subject_url=subject_url(session, job),
        advice=kind.advice if kind and job.status in (FAILED, CANCELED) else "",
        warning=queue_status.NO_WORKER if is_active and not queue_status.read(session, now).workers else "",
    )


def can_cancel(job: Job) -> bool:
    """Return whether the current user can cancel the job: their own, or any with the permission to change the registry."""
    return job.requested_by == actor() or has_permission(Permission.REGISTRY_WRITE)


def describe(job: Job, now: datetime) -> str:
    """Return the progress or the result in a sentence or two."""
    progress = f"{job.done:,} of {plural(job.total, job.unit)}"
    left = job.totals.get("left", 0)
    left_text = f" {plural(left, job.unit)} left unchanged, because of later changes." if left else ""
    if job.status == DONE:
        return f"{progress}.{left_text}"
    if job.status in (FAILED, CANCELED):
        return f"Ended after {progress}. {'What was done stays.' if job.done else 'Nothing was changed.'}{left_text}"
    if job.cancel_requested:
        return f"{progress}. It ends after the current step."
    if job.status == QUEUED:
        return f"{progress}. {'It is tried again shortly.' if job.error else 'It starts as soon as a job worker is free.'}"
    elapsed = (now - job.started_at).total_seconds() if job.started_at else 0.0
    seconds = remaining_seconds(job.done, job.total, elapsed)
    return f"{progress}{f', about {format_duration(timedelta(seconds=seconds))} left' if seconds else ''}."


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_duration(duration: timedelta) -> str:
    seconds = max(round(duration.total_seconds()), 0)
    if seconds < 60:
        return plural(seconds, "second")
    minutes = seconds // 60
    return plural(minutes, "minute") if minutes < 60 else f"{plural(minutes // 60, 'hour')} {plural(minutes % 60, 'minute')}"


def evaluation_job(session: Session, evaluation_id: int) -> JobView | None:
    """Return the active job of an evaluation, or None."""
    job = queue.get_active_or_none(session, evaluation_jobs.EVALUATION, evaluation_id)
    return view_model(session, job) if job else None


def subject_url(session: Session, job: Job) -> str | None:
    """Return the page of what the job is about."""
    if job.subject_kind == "import":
        return url_for("exchange.index")
    if job.subject_kind == evaluation_jobs.EVALUATION:
        evaluation = session.get(Evaluation, job.subject_id)
        return url_for("bench.details", public_id=evaluation.public_id) if evaluation else None
    page = SUBJECT_PAGES.get(job.subject_kind)
    arguments: dict[str, Any] = {page[1]: job.subject_id} if page else {}
    return url_for(page[0], **arguments) if page else None
