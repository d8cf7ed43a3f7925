"""Projects: groups of applications with their own keys, and the monthly calls of each key."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.models.base import Base
from webapp.models.catalog import Model, check_one_of

OVERRIDE_KINDS = ("default", "allow", "price")


class Project(Base):
    """A group of applications. Tokens and project keys reference it by its slug."""

    __tablename__ = "projects"

    slug: Mapped[str] = mapped_column(String(60), unique=True)
    display_name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    is_active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}

    def __str__(self) -> str:
        return self.display_name


class ProjectOverride(Base):
    """A rule of a project about a model, for a period. Rows are added and ended, never changed otherwise."""

    __tablename__ = "project_overrides"
    __table_args__ = (CheckConstraint(check_one_of("kind", OVERRIDE_KINDS), name="kind"),)

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="RESTRICT"), index=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="RESTRICT"), index=True)
    kind: Mapped[str] = mapped_column(String(10))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    price: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    note: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(200))

    project: Mapped[Project] = relationship()
    model: Mapped[Model] = relationship()


class CredentialCounter(Base):
    """Calls of one key in one month (UTC), such as 2026-11. Each month has its own row."""

    __tablename__ = "credential_counters"
    __table_args__ = (UniqueConstraint("credential_id", "period"),)

    credential_id: Mapped[int] = mapped_column(ForeignKey("credentials.id", ondelete="CASCADE"))
    period: Mapped[str] = mapped_column(String(7))
    calls: Mapped[int] = mapped_column(default=0)
