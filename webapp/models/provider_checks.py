"""Results of provider connection tests."""

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base


class ProviderCheck(Base):
    """One connection test: its result, its method (`how`) and its actor. `created_at` is the time of the test."""

    __tablename__ = "provider_checks"
    __table_args__ = (Index("ix_provider_checks_provider_id", "provider_id", "id"),)

    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    ok: Mapped[bool]
    kind: Mapped[str | None] = mapped_column(String(40))
    detail: Mapped[str] = mapped_column(Text)
    how: Mapped[str] = mapped_column(String(10))
    key_source: Mapped[str] = mapped_column(String(220))
    models: Mapped[int | None]
    latency_ms: Mapped[int]
    request_id: Mapped[str | None] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(String(200))
