"""Import files that were compared with the registry and are ready to apply."""

from typing import Any

from sqlalchemy import JSON, CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base
from webapp.models.catalog import check_one_of

IMPORT_FORMS = ("yaml", "json", "csv")


class ImportDraft(Base):
    """One uploaded file and its changes at `revision`. Only its creator sees it. It is deleted when it is applied."""

    __tablename__ = "import_drafts"
    __table_args__ = (
        CheckConstraint(check_one_of("form", IMPORT_FORMS), name="form"),
        Index("ix_import_drafts_public_id", "public_id", unique=True),
        Index("ix_import_drafts_created_at", "created_at"),
    )

    public_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(200))
    form: Mapped[str] = mapped_column(String(10))
    content: Mapped[str] = mapped_column(Text, deferred=True)
    revision: Mapped[int]
    counts: Mapped[dict[str, Any]]
    changes: Mapped[list[Any]] = mapped_column(JSON)
    created_by: Mapped[str] = mapped_column(String(200))

    def __str__(self) -> str:
        return self.name
