"""Evaluations: the same incidents run on several models, cell by cell, with ratings by staff; and saved incidents."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.models.base import Base
from webapp.models.catalog import check_one_of
from webapp.models.runs import Run

EVALUATION_STATUSES = ("running", "finished", "cancelled", "interrupted")
CELL_STATUSES = ("planned", "running", "done", "failed", "cancelled", "skipped")


class SavedIncident(Base):
    """An incident saved for later evaluations."""

    __tablename__ = "incidents"

    name: Mapped[str] = mapped_column(String(200), unique=True)
    incident: Mapped[dict[str, Any]]
    created_by: Mapped[str] = mapped_column(String(200))

    def __str__(self) -> str:
        return self.name


class Evaluation(Base):
    """One evaluation. It stores whole `incidents`, so that it does not change when saved ones are edited or deleted.

    `runs_as` is the user who last resumed it, if any. Each resume starts a new `generation`. Workers of an earlier generation, whose
    process was considered dead, start nothing more.
    """

    __tablename__ = "benches"
    __table_args__ = (
        CheckConstraint(check_one_of("status", EVALUATION_STATUSES), name="status"),
        Index("ix_benches_created_at", "created_at"),
    )

    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(String(200))
    runs_as: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(12))
    template: Mapped[str] = mapped_column(String(60))
    incidents: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    models: Mapped[list[str]]
    repeats: Mapped[int]
    spend_cap: Mapped[Decimal | None]
    generation: Mapped[int] = mapped_column(default=0, server_default="0")
    heartbeat_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    cells: Mapped[list["EvaluationCell"]] = relationship(
        back_populates="evaluation", cascade="all, delete-orphan", order_by="EvaluationCell.position", passive_deletes=True
    )

    @property
    def caller(self) -> str:
        """The user whose keys are used and whom the runs name: the last one who resumed it, else its creator."""
        return self.runs_as or self.actor

    def __str__(self) -> str:
        return self.name


class EvaluationCell(Base):
    """One incident on one model, once. `max_cost` is the estimate for the spend cap, or None if no price is known."""

    __tablename__ = "bench_cells"
    __table_args__ = (
        UniqueConstraint("bench_id", "incident", "model", "repeat"),
        CheckConstraint(check_one_of("status", CELL_STATUSES), name="status"),
    )

    evaluation_id: Mapped[int] = mapped_column("bench_id", ForeignKey("benches.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    incident: Mapped[int]
    model: Mapped[str] = mapped_column(String(300))
    repeat: Mapped[int]
    status: Mapped[str] = mapped_column(String(10), default="planned")
    max_cost: Mapped[Decimal | None] = mapped_column("most_cost")
    reason: Mapped[str | None] = mapped_column("why", Text)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    # Calls that were started and whose outcome is not recorded: the call in progress, and calls that were lost with their process.
    open_calls: Mapped[int] = mapped_column(default=0, server_default="0")

    evaluation: Mapped[Evaluation] = relationship(back_populates="cells")
    run: Mapped[Run | None] = relationship()


class Rating(Base):
    """A rating of a run's response from 1 to 5, one for each user."""

    __tablename__ = "ratings"
    __table_args__ = (UniqueConstraint("run_id", "owner"), CheckConstraint("score BETWEEN 1 AND 5", name="score"))

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(200))
    score: Mapped[int]
