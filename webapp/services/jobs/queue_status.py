"""What pages, `doctor` and metrics show of the queue: how many jobs wait, since when, and whether a job worker runs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from webapp.domain.jobs.lifecycle import QUEUED, RUNNING, WORKER_TIMEOUT, is_lease_expired, is_worker_silent
from webapp.models import Job, JobWorkerReport

ADVICE = "Start a job worker: .venv/bin/flask --app wsgi worker. The command make run starts one with the server."
NO_WORKER = f"No job worker is running. {ADVICE}"


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The number of queued and of running jobs, the time of the oldest queued one, and the number of job workers."""

    queued: int
    running: int
    oldest_queued: datetime | None
    workers: int

    def wait(self, now: datetime) -> timedelta:
        """Return how long the oldest job has waited."""
        return max(now - self.oldest_queued, timedelta()) if self.oldest_queued else timedelta()


def read(session: Session, now: datetime) -> QueueStatus:
    query = select(Job.status, func.count(), func.min(Job.created_at)).where(Job.status.in_((QUEUED, RUNNING))).group_by(Job.status)
    by_status = {status: (count, oldest) for status, count, oldest in session.execute(query)}
    queued, oldest = by_status.get(QUEUED, (0, None))
    seen = session.execute(select(JobWorkerReport.seen_at)).scalars()
    workers = sum(not is_worker_silent(seen_at, now) for seen_at in seen)
    return QueueStatus(queued, by_status.get(RUNNING, (0, None))[0], oldest, workers or _has_live_lease(session, now))


def _has_live_lease(session: Session, now: datetime) -> int:
    """Return 1 if a job is being worked on: while a worker writes, its report can be late."""
    leases = session.execute(select(Job.lease_until).where(Job.status == RUNNING)).scalars()
    return int(any(not is_lease_expired(lease_until, now) for lease_until in leases))


def report_worker(session: Session, name: str, now: datetime) -> None:
    """Store that this job worker runs, and delete the reports of silent ones."""
    session.flush()
    connection = session.connection()
    connection.execute(delete(JobWorkerReport).where(JobWorkerReport.seen_at < now - WORKER_TIMEOUT))
    report = update(JobWorkerReport).where(JobWorkerReport.name == name).values(seen_at=now, updated_at=now)
    if connection.execute(report).rowcount == 0:
        connection.execute(insert(JobWorkerReport).values(name=name, seen_at=now, created_at=now, updated_at=now))


def forget_worker(session: Session, name: str) -> None:
    session.flush()
    session.connection().execute(delete(JobWorkerReport).where(JobWorkerReport.name == name))
