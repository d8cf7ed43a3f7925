"""Background jobs, and the job workers that report."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.domain.jobs.lifecycle import STATUSES
from webapp.models.base import Base, Id
from webapp.models.catalog import check_one_of

IS_ACTIVE = text("status IN ('queued', 'running')")


class Job(Base):
    """One job. Each chunk stores its changes, `checkpoint` and `done` in one transaction, which commits only for the current `owner`.

    `arguments` holds the version of its form under `version`. `process` is the owner's process, to detect that it has ended. `attempts`
    counts claims and errors since the last progress. A subject has at most one active job.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(check_one_of("status", STATUSES), name="status"),
        Index("ix_jobs_status_lease_until", "status", "lease_until"),
        Index("ix_jobs_created_at", "created_at"),
        Index("uq_jobs_active_subject", "subject_kind", "subject_id", unique=True, sqlite_where=IS_ACTIVE, postgresql_where=IS_ACTIVE),
    )

    kind: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(10))
    subject_kind: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[int] = mapped_column(Id)
    subject_name: Mapped[str] = mapped_column(String(300))
    arguments: Mapped[dict[str, Any]] = mapped_column(deferred=True)  # An import carries its file.
    checkpoint: Mapped[dict[str, Any]]
    totals: Mapped[dict[str, Any]]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    unit: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    owner: Mapped[str | None] = mapped_column(String(40))
    process: Mapped[str | None] = mapped_column(String(200))
    requested_by: Mapped[str] = mapped_column(String(200))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_name}"


class JobWorkerReport(Base):
    """The last report of each job worker, so that pages can say that none is running."""

    __tablename__ = "job_workers"

    name: Mapped[str] = mapped_column(String(200), unique=True)
    seen_at: Mapped[datetime]
