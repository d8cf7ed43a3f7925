"""The state of the whole registry: its revision, and the revision that each process serves."""

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, Ciphertext


class RegistryState(Base):
    """One row. `revision` increases in the transaction of every change visible in a snapshot. Writers lock the row first.

    `instance` identifies this database. `key_check` is a text encrypted with the first key, to detect a wrong key.
    """

    __tablename__ = "registry_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    instance: Mapped[str] = mapped_column(String(32))
    revision: Mapped[int] = mapped_column(default=0)
    key_check: Mapped[str | None] = mapped_column(Ciphertext)


class RegistryProcess(Base):
    """The revision of each serving process, so that a page can show "workers 2/2 on revision 42"."""

    __tablename__ = "registry_processes"

    name: Mapped[str] = mapped_column(String(120), unique=True)
    revision: Mapped[int]
    source: Mapped[str] = mapped_column(String(20))
    seen_at: Mapped[datetime]
