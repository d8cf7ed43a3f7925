"""Evaluations: create, find, cancel, resume, rename and rate. `evaluation_cells` runs the cells; `evaluation_results` reads the results."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select, update
from sqlalchemy.orm import Session, object_session, selectinload

from webapp.domain.incidents import evaluation
from webapp.domain.incidents.incidents import Incident, incident_document
from webapp.domain.jobs.lifecycle import CANCELED, QUEUED
from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.models import Evaluation, EvaluationCell, Rating, Run
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.jobs import queue
from webapp.services.runs import evaluation_cells

HEARTBEAT_TIMEOUT = timedelta(seconds=30)
COMPLETED_STATUSES = ("done", "failed")


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """The settings of a new evaluation. `max_costs` holds the estimated maximum cost of a call, by (incident, model)."""

    name: str
    incidents: Sequence[Incident]
    models: Sequence[str]
    repeats: int
    template: str
    spend_cap: Decimal | None
    max_costs: Mapping[tuple[int, str], Decimal | None]


def create(session: Session, setup: EvaluationSetup, *, actor: str) -> Evaluation:
    """Store an evaluation with all of its cells, ready to run. Raises `Invalid`."""
    evaluation.require_valid_selection(len(setup.incidents), setup.models, setup.repeats)
    now = datetime.now(UTC)
    row = Evaluation(
        public_id=f"bench_{secrets.token_hex(10)}",
        name=setup.name,
        actor=actor,
        status="running",
        template=setup.template,
        incidents=[incident_document(incident) for incident in setup.incidents],
        models=list(setup.models),
        repeats=setup.repeats,
        spend_cap=setup.spend_cap,
        heartbeat_at=now,
    )
    cells = evaluation.cell_order(len(setup.incidents), setup.models, setup.repeats)
    row.cells = [
        EvaluationCell(
            position=position,
            incident=incident,
            model=model,
            repeat=repeat,
            status="planned",
            max_cost=setup.max_costs.get((incident, model)),
        )
        for position, (incident, model, repeat) in enumerate(cells)
    ]
    session.add(row)
    session.flush()
    after = {"models": list(setup.models), "incidents": len(setup.incidents), "repeats": setup.repeats}
    audit_log.record(session, "runs:bench:create", actor=actor, target=_evaluation_target(row), change=AuditChange(None, after))
    return row


def find(session: Session, public_id: str) -> Evaluation:
    """Return the evaluation. Raises `NotFound`."""
    row = session.execute(select(Evaluation).where(Evaluation.public_id == public_id[:40])).scalar_one_or_none()
    if row is None:
        raise NotFound("There is no such bench.")
    return row


def _lock_evaluation(session: Session, public_id: str) -> Evaluation:
    """Return the evaluation, locked until this transaction ends. Raises `NotFound`."""
    row = session.get(Evaluation, find(session, public_id).id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("There is no such bench.")
    return row


def find_with_cells(session: Session, public_id: str) -> Evaluation:
    """Return the evaluation with its cells, runs and recommendations, in four queries regardless of their number."""
    query = select(Evaluation).where(Evaluation.public_id == public_id[:40])
    loaded = selectinload(Evaluation.cells).selectinload(EvaluationCell.run).selectinload(Run.recommendations)
    row = session.execute(query.options(loaded).execution_options(populate_existing=True)).scalar_one_or_none()
    if row is None:
        raise NotFound("There is no such bench.")
    return row


def cancel(session: Session, public_id: str, *, actor: str) -> Evaluation:
    """Cancel an evaluation: planned cells are not started. Calls in progress are recorded when they complete, because they are billed."""
    row = _lock_evaluation(session, public_id)
    if effective_status(row) not in ("running", "interrupted"):
        raise Conflict("This bench has ended already.", code="ended")
    row.status, row.finished_at = "cancelled", datetime.now(UTC)
    planned = (
        update(EvaluationCell).where(EvaluationCell.evaluation_id == row.id, EvaluationCell.status == "planned").values(status="cancelled")
    )
    session.execute(planned.execution_options(synchronize_session=False))
    job = queue.get_active_or_none(session, "evaluation", row.id)
    if job is not None and job.status == QUEUED:
        queue.end(job, CANCELED, row.finished_at)
    audit_log.record(
        session,
        "runs:bench:cancel",
        actor=actor,
        target=_evaluation_target(row),
        change=AuditChange({"status": "running"}, {"status": "cancelled"}),
    )
    return row


def resume(session: Session, public_id: str, *, actor: str) -> Evaluation:
    """Run the missing cells: after the process ended, after a cancellation, or to run skipped cells.

    The user who resumes becomes the caller, with their own keys and name. Raises `Conflict` while a running process waits for responses:
    those cells would be executed, and billed, twice.
    """
    row = _lock_evaluation(session, public_id)
    if effective_status(row) == "running":
        raise Conflict("This bench is running.", code="running")
    if not is_heartbeat_overdue(row) and evaluation_cells.max_costs_of_running_cells(session, row.id):
        raise Conflict("Answers of this bench are still under way. Resume it when they are back.", code="under_way")
    open_cells = update(EvaluationCell).where(
        EvaluationCell.evaluation_id == row.id, EvaluationCell.status.in_((*evaluation_cells.NOT_STARTED_STATUSES, "running"))
    )
    session.execute(open_cells.values(status="planned", reason=None).execution_options(synchronize_session=False))
    before = {"status": effective_status(row), "runs_as": row.caller}
    row.status, row.finished_at, row.heartbeat_at = "running", None, datetime.now(UTC)
    row.runs_as, row.generation = actor, row.generation + 1
    after = {"status": "running", "runs_as": actor}
    audit_log.record(session, "runs:bench:resume", actor=actor, target=_evaluation_target(row), change=AuditChange(before, after))
    return row


def effective_status(row: Evaluation, now: datetime | None = None) -> str:
    """Return the status, or `interrupted` if no worker reports a running evaluation and none is going to start it."""
    is_interrupted = row.status == "running" and is_heartbeat_overdue(row, now) and not _is_queued(row)
    return "interrupted" if is_interrupted else row.status


def _is_queued(row: Evaluation) -> bool:
    session = object_session(row)
    job = queue.get_active_or_none(session, "evaluation", row.id) if session else None
    return job is not None and job.status == QUEUED


def is_heartbeat_overdue(row: Evaluation, now: datetime | None = None) -> bool:
    """Return whether no process recently reported that it waits for responses of this evaluation.

    A report from the future was written by a clock that was ahead, and counts as none.
    """
    return abs((now or datetime.now(UTC)) - row.heartbeat_at) > HEARTBEAT_TIMEOUT


def has_pending_responses(row: Evaluation) -> bool:
    """Return whether a running process waits for responses of this evaluation."""
    return not is_heartbeat_overdue(row) and any(cell.status == "running" for cell in row.cells)


def rename(session: Session, public_id: str, name: str, *, actor: str) -> Evaluation:
    """Rename an evaluation. Raises `Invalid` for a name that is empty or too long."""
    new_name = " ".join(name.split())
    if not 1 <= len(new_name) <= 200 or not new_name.isprintable():
        raise Invalid.field("name", "must have 1 to 200 characters")
    row = find(session, public_id)
    before, row.name = row.name, new_name
    audit_log.record(
        session, "runs:bench:rename", actor=actor, target=_evaluation_target(row), change=AuditChange({"name": before}, {"name": new_name})
    )
    return row


def rate(session: Session, public_id: str, run_public_id: str, score: int, *, actor: str) -> None:
    """Store a rating from 1 to 5 for one response. It replaces the user's earlier rating. Raises `Invalid` or `NotFound`."""
    if not 1 <= score <= 5:
        raise Invalid.field("score", "must be 1 to 5")
    row = find(session, public_id)
    query = (
        select(Run)
        .join(EvaluationCell, EvaluationCell.run_id == Run.id)
        .where(EvaluationCell.evaluation_id == row.id, Run.public_id == run_public_id[:40])
    )
    rated_run = session.execute(query).scalar_one_or_none()
    if rated_run is None:
        raise NotFound("There is no such answer in this bench.")
    rating = session.execute(select(Rating).where(Rating.run_id == rated_run.id, Rating.owner == actor)).scalar_one_or_none()
    before = {"score": rating.score} if rating else None
    if rating is None:
        session.add(Rating(run_id=rated_run.id, owner=actor, score=score))
    else:
        rating.score = score
    audit_log.record(
        session,
        "runs:run:rate",
        actor=actor,
        target=Target("run", rated_run.id, rated_run.public_id),
        change=AuditChange(before, {"score": score}),
    )


def _evaluation_target(row: Evaluation) -> Target:
    return Target("bench", row.id, row.public_id)
