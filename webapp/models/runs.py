"""Runs: the request, the model, the response, the usage and the cost."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.domain.pricing.spend import CallCost
from webapp.models.base import Base
from webapp.models.catalog import check_one_of


class Run(Base):
    """One execution of a prompt template on an incident. A failure is recorded as a failure."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(check_one_of("status", ("running", "succeeded", "failed", "fell_back")), name="status"),
        CheckConstraint(check_one_of("source", ("database", "environment", "local")), name="source"),
        Index("ix_runs_created_at", "created_at"),
        Index("ix_runs_model_ref", "model_ref", "created_at"),
        Index("ix_runs_template", "template", "template_version"),
    )

    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    actor: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(10))
    template: Mapped[str] = mapped_column(String(100))
    template_version: Mapped[int | None]
    incident: Mapped[dict[str, Any]]
    model_ref: Mapped[str | None] = mapped_column(String(300))
    provider_slug: Mapped[str | None] = mapped_column(String(60))
    driver: Mapped[str] = mapped_column(String(30))
    source: Mapped[str] = mapped_column(String(20))
    decided_by: Mapped[str] = mapped_column(String(40))
    decided_note: Mapped[str | None] = mapped_column(Text)
    answered_by: Mapped[str] = mapped_column(String(30))
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    cost: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    cost_total: Mapped[Decimal | None]
    currency: Mapped[str | None] = mapped_column(String(3))
    price_id: Mapped[int | None] = mapped_column(ForeignKey("prices.id"))
    latency_ms: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=1)
    cached: Mapped[bool] = mapped_column(default=False)
    cached_from: Mapped[str | None] = mapped_column(String(40))
    key_source: Mapped[str | None] = mapped_column(String(220))
    project: Mapped[str | None] = mapped_column(String(60))
    # The public id of the run's evaluation, even if no cell shows the run. Not the row id, because SQLite reuses ids.
    evaluation: Mapped[str | None] = mapped_column("bench", String(40), index=True)
    upstream_request_id: Mapped[str | None] = mapped_column(String(200))
    # Whether a request reached the provider. Without one there is no cost; otherwise a cost of NULL is unknown.
    sent: Mapped[bool] = mapped_column(default=True, server_default=true())
    served_model: Mapped[str | None] = mapped_column(String(300))
    reported_cost: Mapped[Decimal | None]
    reported_currency: Mapped[str | None] = mapped_column(String(3))
    finished_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_detail: Mapped[str | None] = mapped_column(Text)

    recommendations: Mapped[list["RunRecommendation"]] = relationship(
        back_populates="run", cascade="all, delete-orphan", order_by="RunRecommendation.position"
    )

    @property
    def call_cost(self) -> CallCost:
        """The calculated cost. Without a usage or a price it is unknown; without a call there is none."""
        return CallCost(self.cost_total, self.currency, complete=bool((self.cost or {}).get("complete")), sent=self.sent)

    @property
    def tokens(self) -> int | None:
        """The input and output tokens, or None if a call was sent and its usage is unknown."""
        if self.usage is None:
            return None if self.sent else 0
        return int(self.usage.get("input", 0) + self.usage.get("output", 0))


class RunRecommendation(Base):
    """One recommendation of a run."""

    __tablename__ = "recommendations"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    type: Mapped[str] = mapped_column(String(20))
    priority: Mapped[str] = mapped_column(String(10))
    title: Mapped[str] = mapped_column(String(300))
    description: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    actions: Mapped[list[str]] = mapped_column(default=list)

    run: Mapped[Run] = relationship(back_populates="recommendations")
