"""The declarative base: constraint names, UTC timestamps, and column types that behave alike on both engines."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, MetaData, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from webapp.domain.shared.money import MAX_LENGTH, format_for_storage

# SQLite generates ids only in columns of type INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
MAX_ID = 2**63 - 1  # The largest possible id. SQLite rejects a query for a larger one.


def utc_now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite stores no offset, so it is removed when a value is stored and added when it is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("moments are stored with their offset")
        at = value.astimezone(UTC)
        return at.replace(tzinfo=None) if dialect.name == "sqlite" else at

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactDecimal(TypeDecorator[Decimal]):
    """An exact decimal stored as text, because Numeric on SQLite uses floats and loses digits (docs/adr/0004).

    Costs can be longer than the original 40 characters. Only PostgreSQL enforces a length, so the columns were widened only there. SQLite
    would have to copy whole tables for a length that it ignores.
    """

    impl = String(40)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(MAX_LENGTH) if dialect.name == "postgresql" else String(40))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else format_for_storage(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Ciphertext(TypeDecorator[str]):
    """Text encrypted by the vault. Rotation finds the columns to re-encrypt by this type, so that none is missed."""

    impl = Text
    cache_ok = True


class Base(DeclarativeBase):
    """The base of all tables. It is never `db.Model`, because in Modeldesk a model is always an LLM."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, Decimal: ExactDecimal, dict[str, Any]: JSON, list[str]: JSON, Mapping[str, Any]: JSON}

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
