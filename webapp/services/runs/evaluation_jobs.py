"""Evaluations as jobs: start, takeover after the end of a job worker, progress and end.

A call that was in progress when its process ended can have been billed, so it is never repeated without a person's decision.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from webapp.domain.jobs.lifecycle import CANCELED, DONE
from webapp.models import Evaluation, EvaluationCell, Job
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import Target
from webapp.services.jobs import queue
from webapp.services.jobs.queue import JobRequest
from webapp.services.runs import evaluation_cells, evaluations

EVALUATION = "evaluation"
LOST_CALL = "The job worker ended while this call was in progress. The provider may have billed it. Run what is missing to call again."


class EvaluationRun(NamedTuple):
    """What a job worker runs: a generation of an evaluation, and its models."""

    evaluation_id: int
    generation: int
    models: Sequence[str]


def start(session: Session, row: Evaluation, *, now: datetime) -> Job:
    """Start the job of an evaluation that was created or resumed. A job of an earlier generation ends: it can only be a silent one."""
    if active := queue.get_active_or_none(session, EVALUATION, row.id):
        queue.end(active, CANCELED, now)
        session.flush()
    subject = Target(EVALUATION, row.id, row.name)
    return queue.start(session, JobRequest(EVALUATION, subject, {}, _count_cells(session, row.id), "call", row.caller))


def _count_cells(session: Session, evaluation_id: int, *statuses: str) -> int:
    query = select(func.count()).select_from(EvaluationCell).where(EvaluationCell.evaluation_id == evaluation_id)
    return session.execute(query.where(EvaluationCell.status.in_(statuses)) if statuses else query).scalar_one()


def begin(session: Session, job: Job) -> EvaluationRun | None:
    """Return what to run, or None if the evaluation was deleted.

    If another worker had begun, calls in progress count as lost, and the next generation begins, so that the other one starts nothing.
    """
    row = session.get(Evaluation, job.subject_id, with_for_update=True, populate_existing=True)
    if row is None:
        return None
    generation = row.generation
    if job.checkpoint.get("begun"):
        generation += 1
        audit_log.update_without_audit(session, update(Evaluation).where(Evaluation.id == row.id).values(generation=generation))
        lost = update(EvaluationCell).where(EvaluationCell.evaluation_id == row.id, EvaluationCell.status == "running")
        session.execute(lost.values(status="skipped", reason=LOST_CALL), execution_options=queue.UNSYNCHRONIZED)
    job.checkpoint = {"begun": True}
    evaluation_cells.heartbeat(session, row.id, generation)
    return EvaluationRun(row.id, generation, list(row.models))


def report_progress(session: Session, job: Job, run: EvaluationRun, now: datetime) -> None:
    """Store that lanes are running and how many calls have ended. Cancels the evaluation if its job is to be canceled."""
    evaluation_cells.heartbeat(session, run.evaluation_id, run.generation)
    queue.advance(job, queue.ChunkResult(_count_ended(session, run) - job.done, job.checkpoint, is_last=False), now)
    row = session.get(Evaluation, run.evaluation_id)
    if job.cancel_requested and row is not None and row.status == "running":
        evaluations.cancel(session, row.public_id, actor=job.requested_by)


def finish(session: Session, job: Job, run: EvaluationRun, now: datetime) -> None:
    """End the evaluation and its job after the last lane."""
    evaluation_cells.finish(session, run.evaluation_id, run.generation)
    job.done = _count_ended(session, run)
    status = session.execute(select(Evaluation.status).where(Evaluation.id == run.evaluation_id)).scalar_one_or_none()
    queue.end(job, CANCELED if status == "cancelled" else DONE, now)


def _count_ended(session: Session, run: EvaluationRun) -> int:
    return _count_cells(session, run.evaluation_id, *evaluations.COMPLETED_STATUSES)


def close(session: Session, job: Job) -> None:
    """Cancel the evaluation of a job that was canceled before it ran. After a failure it can be resumed."""
    row = session.get(Evaluation, job.subject_id)
    if job.status == CANCELED and row is not None and row.status == "running":
        evaluations.cancel(session, row.public_id, actor=job.requested_by)
