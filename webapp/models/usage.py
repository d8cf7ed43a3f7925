"""Usage reported by applications: what a call consumed, priced when it was reported."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base


class UsageRecord(Base):
    """One reported call. Modeldesk assigns the id; the reporter's idempotency key only prevents double counting."""

    __tablename__ = "usage_records"
    __table_args__ = (
        UniqueConstraint("token_id", "idempotency_key"),
        Index("ix_usage_records_at", "at"),
        Index("ix_usage_records_model_ref", "model_ref", "at"),
    )

    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id", ondelete="RESTRICT"))
    project: Mapped[str | None] = mapped_column(String(60))
    idempotency_key: Mapped[str] = mapped_column(String(200))
    body_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    model_ref: Mapped[str] = mapped_column(String(300))
    usage: Mapped[dict[str, Any]]
    service_tier: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime]
    cost: Mapped[dict[str, Any]] = mapped_column(JSON)
    cost_total: Mapped[Decimal | None]
    currency: Mapped[str | None] = mapped_column(String(3))
    complete: Mapped[bool]
    price_id: Mapped[int | None] = mapped_column(ForeignKey("prices.id", ondelete="RESTRICT"))
