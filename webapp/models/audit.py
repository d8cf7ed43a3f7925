"""The audit log and the end of its chain. Append-only: triggers reject every change and deletion of an event."""

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base


class AuditEvent(Base):
    """A change: actor, action, target, and the values before and after (secrets as fingerprints). Hashes chain the events."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_target", "target_kind", "target_id"), Index("ix_audit_events_created_at", "created_at"))

    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(80))
    target_kind: Mapped[str] = mapped_column(String(40))
    target_id: Mapped[int | None]
    target_name: Mapped[str] = mapped_column(String(300))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    request_id: Mapped[str] = mapped_column(String(40), default="")
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)


class AuditState(Base):
    """One row: the number of events and the hash of the newest one, updated in the transaction of every event.

    It detects truncation, which a chain alone cannot show. It is a row of its own because events about sign-ins must neither wait for the
    lock on the registry's row nor hold it.
    """

    __tablename__ = "audit_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    events: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
