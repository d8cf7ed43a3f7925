"""The queue of jobs: start, claim, renew, advance, end and cancel. Every function works in the caller's transaction.

A claim is one conditional UPDATE. Everything that a job worker writes begins with `lock_owned`, so a worker that lost its lease writes
nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Update, and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from webapp.domain.jobs.lifecycle import (
    ACTIVE_STATUSES,
    CANCELED,
    FAILED,
    LEASE,
    MAX_ATTEMPTS,
    MAX_CLOCK_SKEW,
    MAX_RETRY_DELAY,
    QUEUED,
    RETENTION,
    RUNNING,
    is_lease_expired,
    retry_delay,
)
from webapp.domain.shared.errors import Conflict, NotFound
from webapp.models import MAX_ID, Job
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

ARGUMENTS_VERSION = 1  # Of the form of `Job.arguments`, for a later version that resumes a job of this one.
UNSYNCHRONIZED = {"synchronize_session": False}
CloseJob = Callable[[Session, Job], None]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to start: its kind, the row that it is about, its arguments, and its size in units such as "row"."""

    kind: str
    subject: Target
    arguments: Mapping[str, Any]
    total: int
    unit: str
    requested_by: str


class Claim(NamedTuple):
    """A job and the token that makes this worker its owner."""

    job_id: int
    owner: str
    kind: str


class ChunkResult(NamedTuple):
    """What a chunk did: how many units, where the next one continues, and whether it was the last."""

    units: int
    checkpoint: Mapping[str, Any]
    is_last: bool


class LeaseLost(Conflict):
    """Another worker owns the job now, or it has ended. What this worker has not committed must be dropped."""

    code = "lease_lost"


def start(session: Session, request: JobRequest) -> Job:
    """Add a job to the queue. Raises `Conflict` if its subject has an active job."""
    require_no_active(session, request.subject)
    job = Job(
        kind=request.kind,
        status=QUEUED,
        subject_kind=request.subject.kind,
        subject_id=request.subject.id,
        subject_name=request.subject.name[:300],
        arguments={"version": ARGUMENTS_VERSION} | dict(request.arguments),
        checkpoint={},
        totals={},
        total=request.total,
        unit=request.unit,
        requested_by=request.requested_by,
    )
    session.add(job)
    session.flush()
    return job


def record_event(session: Session, job: Job, verb: str, *, actor: str) -> None:
    """Record a decision about a job in the audit log."""
    after = {"kind": job.kind, "done": job.done, "total": job.total}
    audit_log.record(
        session, f"jobs:job:{verb}", actor=actor, target=Target("job", job.id, job.subject_name), change=AuditChange(None, after)
    )


def get_active_or_none(session: Session, subject_kind: str, subject_id: int) -> Job | None:
    query = select(Job).where(Job.subject_kind == subject_kind, Job.subject_id == subject_id, Job.status.in_(ACTIVE_STATUSES))
    return session.execute(query).scalar_one_or_none()


def get_latest_or_none(session: Session, subject_kind: str, subject_id: int) -> Job | None:
    """Return the newest job of a subject, whatever its status."""
    query = select(Job).where(Job.subject_kind == subject_kind, Job.subject_id == subject_id).order_by(Job.id.desc()).limit(1)
    return session.execute(query).scalar_one_or_none()


def require_no_active(session: Session, subject: Target) -> None:
    """Raise `Conflict` if a job for this subject is queued or running."""
    job = get_active_or_none(session, subject.kind, subject.id or 0)
    if job is not None:
        raise Conflict(f"Job {job.id} is working on this. Wait for its end, or cancel it on the Jobs page.", code="job_running")


def find(session: Session, job_id: int, *, lock: bool = False) -> Job:
    """Return the job. Raises `NotFound`."""
    job = session.get(Job, job_id, with_for_update=lock or None, populate_existing=True) if 0 < job_id <= MAX_ID else None
    if job is None:
        raise NotFound("There is no such job. Jobs are deleted 30 days after their end.")
    return job


# Claims.


def is_waiting(session: Session, now: datetime, orphans: Collection[str] = ()) -> bool:
    """Return whether a job can be claimed. Reading first spares idle workers the write lock."""
    return session.execute(select(Job.id).where(_claimable(Job, now, orphans)).limit(1)).first() is not None


def list_orphans(session: Session, has_ended: Callable[[str], bool]) -> list[str]:
    """Return the owners whose process has ended, so that their jobs need not wait for the end of the lease."""
    rows = session.execute(select(Job.owner, Job.process).where(Job.status == RUNNING))
    return [owner for owner, process in rows if owner and process and has_ended(process)]


def claim(session: Session, owner: str, process: str, now: datetime, orphans: Collection[str] = ()) -> Claim | None:
    """Claim the oldest job that waits or whose owner is gone, or return None."""
    candidate = aliased(Job)
    oldest = select(candidate.id).where(_claimable(candidate, now, orphans)).order_by(candidate.id).limit(1)
    statement = (
        update(Job)
        .where(Job.id == oldest.with_for_update(skip_locked=True).scalar_subquery(), _claimable(Job, now, orphans))
        .values(
            status=RUNNING,
            owner=owner,
            process=process,
            lease_until=now + LEASE,
            not_before=None,
            started_at=func.coalesce(Job.started_at, now),
            attempts=Job.attempts + 1,
        )
        .returning(Job.id, Job.kind)
    )
    row = session.execute(statement, execution_options=UNSYNCHRONIZED).one_or_none()
    return None if row is None else Claim(row.id, owner, row.kind)


def _claimable(table: Any, now: datetime, orphans: Collection[str]) -> ColumnElement[bool]:
    """Return the rules of `is_due` and `is_lease_expired` as a condition."""
    is_due = or_(table.not_before.is_(None), table.not_before <= now, table.not_before > now + MAX_RETRY_DELAY + MAX_CLOCK_SKEW)
    is_expired = or_(table.lease_until.is_(None), table.lease_until <= now, table.lease_until > now + LEASE + MAX_CLOCK_SKEW)
    is_orphan = table.owner.in_(list(orphans))
    return or_(and_(table.status == QUEUED, is_due), and_(table.status == RUNNING, or_(is_expired, is_orphan)))


def lock_owned(session: Session, claimed: Claim, now: datetime) -> Job:
    """Renew the lease and return the job, locked until the transaction ends. Raises `LeaseLost`."""
    renewal = _update_owned(claimed).values(lease_until=now + LEASE)
    if session.execute(renewal, execution_options=UNSYNCHRONIZED).rowcount == 0:  # type: ignore[attr-defined] # an update has one
        raise LeaseLost("This job belongs to another job worker now, or it has ended.")
    return find(session, claimed.job_id)


def _update_owned(claimed: Claim) -> Update:
    return update(Job).where(Job.id == claimed.job_id, Job.owner == claimed.owner, Job.status == RUNNING)


def renew(session: Session, owners: Collection[str], now: datetime) -> None:
    """Extend the leases of jobs whose worker is alive, for example while it waits for a provider between two transactions."""
    leases = update(Job).where(Job.owner.in_(list(owners)), Job.status == RUNNING).values(lease_until=now + LEASE)
    session.execute(leases, execution_options=UNSYNCHRONIZED)


# Progress and end.


def advance(job: Job, result: ChunkResult, now: datetime) -> None:
    """Store the progress of a chunk in its transaction."""
    job.done, job.checkpoint = job.done + result.units, dict(result.checkpoint)
    job.attempts, job.error, job.lease_until = 0, None, now + LEASE


def end(job: Job, status: str, now: datetime, error: str | None = None) -> None:
    job.status, job.ended_at, job.error = status, now, error
    job.owner = job.process = job.lease_until = job.not_before = None


def release(session: Session, claimed: Claim) -> None:
    """Return a job to the queue because its worker shuts down. This does not count as an attempt."""
    attempts = case((Job.attempts > 0, Job.attempts - 1), else_=0)
    values = {"status": QUEUED, "owner": None, "process": None, "lease_until": None, "attempts": attempts}
    session.execute(_update_owned(claimed).values(values), execution_options=UNSYNCHRONIZED)


def retry_later(job: Job, now: datetime, error: str) -> bool:
    """Return the job to the queue after an error. Returns False, and changes nothing, if it had its last attempt."""
    if job.attempts >= MAX_ATTEMPTS:
        return False
    job.status, job.not_before, job.error = QUEUED, now + retry_delay(job.attempts), error
    job.owner = job.process = job.lease_until = None
    return True


def fail(session: Session, job: Job, now: datetime, error: str, close: CloseJob) -> None:
    end(job, FAILED, now, error)
    close(session, job)


def cancel(session: Session, job: Job, close: CloseJob, *, actor: str, now: datetime) -> bool:
    """Cancel a job that `find` locked, and return whether it has ended.

    A job worker ends its job after its current chunk. A job that no worker has ends at once.
    """
    if job.status not in ACTIVE_STATUSES:
        raise Conflict("This job has ended.", code="ended")
    job.cancel_requested = True
    record_event(session, job, "cancel", actor=actor)
    is_owned = job.status == RUNNING and not is_lease_expired(job.lease_until, now)
    if not is_owned:
        end(job, CANCELED, now)
        close(session, job)
    return not is_owned


def delete_old(session: Session, now: datetime) -> int:
    """Delete jobs that ended more than 30 days ago, and return their number."""
    old = delete(Job).where(Job.ended_at < now - RETENTION)
    return session.execute(old, execution_options=UNSYNCHRONIZED).rowcount  # type: ignore[attr-defined, no-any-return] # a delete has one
