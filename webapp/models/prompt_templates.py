"""Prompt templates with all their versions, and cached responses."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base


class PromptTemplate(Base):
    """One version of a template. Versions are added and never edited. One version of each name is current."""

    __tablename__ = "prompt_templates"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index("uq_prompt_templates_one_current", "name", unique=True, sqlite_where=text("is_current"), postgresql_where=text("is_current")),
    )

    name: Mapped[str] = mapped_column(String(60))
    version: Mapped[int]
    title: Mapped[str] = mapped_column(String(200))
    category: Mapped[str] = mapped_column(String(60))
    system: Mapped[str] = mapped_column(Text)
    user: Mapped[str] = mapped_column(Text)
    preferred_model: Mapped[str | None] = mapped_column(String(300))
    temperature: Mapped[Decimal | None]
    max_tokens: Mapped[int | None]
    cache_minutes: Mapped[int] = mapped_column(default=0)
    is_active: Mapped[bool] = mapped_column(default=True)
    is_current: Mapped[bool] = mapped_column(default=True)
    note: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(200), default="")

    def __str__(self) -> str:
        return self.title


class CachedResponse(Base):
    """A stored response of a model, reused until it expires for a request that is identical in everything that affects the response."""

    __tablename__ = "cached_responses"

    key: Mapped[str] = mapped_column(String(64), unique=True)
    template: Mapped[str] = mapped_column(String(60))
    model_ref: Mapped[str | None] = mapped_column(String(300))
    text: Mapped[str] = mapped_column(Text)
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    run: Mapped[str] = mapped_column(String(40))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    hits: Mapped[int] = mapped_column(default=0)
