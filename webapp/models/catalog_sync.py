"""Proposals: the catalog changes row by row, who selected and approved them, and the data to undo them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.models.base import Base
from webapp.models.catalog import check_one_of

PROPOSAL_STATUSES = ("open", "applied", "undone", "closed")


class Proposal(Base):
    """One comparison with a catalog. `counts` are its rows by kind and guard. `source_version` is the catalog's version for display."""

    __tablename__ = "proposals"
    __table_args__ = (
        CheckConstraint(check_one_of("status", PROPOSAL_STATUSES), name="status"),
        Index("ix_proposals_created_at", "created_at"),
    )

    source: Mapped[str] = mapped_column(String(60))
    source_version: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    second_source: Mapped[str | None] = mapped_column(String(160))
    status: Mapped[str] = mapped_column(String(10))
    opened_by: Mapped[str] = mapped_column(String(200))
    problems: Mapped[list[str]]
    counts: Mapped[dict[str, Any]]
    applied_by: Mapped[str | None] = mapped_column(String(200))
    applied_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(String(200))
    ended_at: Mapped[datetime | None]

    rows: Mapped[list["ProposalRow"]] = relationship(
        back_populates="proposal", cascade="all, delete-orphan", order_by="ProposalRow.ref", passive_deletes=True
    )

    def __str__(self) -> str:
        return f"{self.source} {self.source_version}"


class ProposalRow(Base):
    """One model of a proposal. `lines` are for display, `entry` is applied, and `done` stores what applying it created and replaced."""

    __tablename__ = "proposal_rows"
    __table_args__ = (
        Index("ix_proposal_rows_proposal_id_ref", "proposal_id", "ref", unique=True),
        Index("ix_proposal_rows_chosen", "proposal_id", "chosen"),
    )

    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposals.id", ondelete="CASCADE"))
    ref: Mapped[str] = mapped_column(String(300))
    provider: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(10))
    guards: Mapped[str] = mapped_column(Text)  # Such as `,rise,disagree,`, a text that both engines can search.
    choosable: Mapped[bool]
    chosen: Mapped[bool]
    lines: Mapped[list[Any]] = mapped_column(JSON)
    entry: Mapped[dict[str, Any]] = mapped_column(JSON)
    done: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    proposal: Mapped[Proposal] = relationship(back_populates="rows")

    def __str__(self) -> str:
        return self.ref


class SourceCopy(Base):
    """The last catalog of a source that was compared: its number of records, that of the version before, and its packed current prices."""

    __tablename__ = "source_copies"

    source: Mapped[str] = mapped_column(String(60), unique=True)
    source_version: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    records: Mapped[int]
    previous_records: Mapped[int | None]
    prices: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
