"""The state of the registry as a whole: its revision, and which process serves which."""

from datetime import datetime

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.models.base import Base, Ciphertext


class RegistryState(Base):
    """One row. `revision` moves in the transaction of every change that a snapshot can see; writers lock it first.

    `instance` tells this database from every other; `key_check` is a text encrypted with the first key, to recognise a wrong one.
    """

    __tablename__ = "registry_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    instance: Mapped[str] = mapped_column(String(32))
    revision: Mapped[int] = mapped_column(default=0)
    key_check: Mapped[str | None] = mapped_column(Ciphertext)


class RegistryProcess(Base):
    """What each serving process holds, so that a page can show "workers 2/2 on revision 42"."""

    __tablename__ = "registry_processes"

    name: Mapped[str] = mapped_column(String(120), unique=True)
    revision: Mapped[int]
    source: Mapped[str] = mapped_column(String(20))
    seen_at: Mapped[datetime]
