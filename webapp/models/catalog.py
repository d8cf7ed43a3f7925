"""Tables of the registry: providers, models, aliases, prices and credentials."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.domain.pricing.pricing import PRICE_STATES, SOURCE_KINDS
from webapp.models.base import Base, Ciphertext


def check_one_of(column: str, values: tuple[str, ...]) -> str:
    """Return the text of a CHECK constraint for a fixed set of values."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Provider(Base):
    """A vendor account or endpoint that staff manage."""

    __tablename__ = "providers"
    __table_args__ = (
        # The database enforces at most one primary provider: the index contains only primary rows.
        Index("uq_providers_one_primary", "is_primary", unique=True, sqlite_where=text("is_primary"), postgresql_where=text("is_primary")),
    )

    slug: Mapped[str] = mapped_column(String(60), unique=True)
    display_name: Mapped[str] = mapped_column(String(100))
    driver: Mapped[str] = mapped_column(String(30))
    base_url: Mapped[str | None] = mapped_column(String(500))
    is_active: Mapped[bool] = mapped_column(default=True)
    is_primary: Mapped[bool] = mapped_column(default=False)
    default_temperature: Mapped[Decimal | None]
    default_max_tokens: Mapped[int | None]
    timeout_seconds: Mapped[int | None]
    config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    required_environment: Mapped[list[str]] = mapped_column(default=list)
    allow_shared_key: Mapped[bool] = mapped_column(default=True)
    allow_personal_keys: Mapped[bool] = mapped_column(default=False)
    sort_order: Mapped[int] = mapped_column(default=0)
    website: Mapped[str | None] = mapped_column(String(500))
    documentation_url: Mapped[str | None] = mapped_column(String(500))
    description: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(default=1)

    models: Mapped[list["Model"]] = relationship(back_populates="provider", passive_deletes="all")
    credentials: Mapped[list["Credential"]] = relationship(back_populates="provider", passive_deletes="all")

    __mapper_args__ = {"version_id_col": version}

    def __str__(self) -> str:
        return self.display_name


class Model(Base):
    """One model of one provider."""

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("provider_id", "model_id"),
        Index("uq_models_one_default_per_type", "type", unique=True, sqlite_where=text("is_default"), postgresql_where=text("is_default")),
        CheckConstraint("NOT is_default OR is_active", name="default_is_active"),
        Index("ix_models_order", "sort_order", "display_name"),
    )

    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="RESTRICT"))
    model_id: Mapped[str] = mapped_column(String(200))
    display_name: Mapped[str] = mapped_column(String(200))
    type: Mapped[str] = mapped_column(String(30))
    capabilities: Mapped[list[str]] = mapped_column(default=list)
    context_window: Mapped[int | None]
    max_output_tokens: Mapped[int | None]
    quirks: Mapped[dict[str, Any]] = mapped_column(default=dict)
    is_active: Mapped[bool] = mapped_column(default=True)
    is_default: Mapped[bool] = mapped_column(default=False)
    sort_order: Mapped[int] = mapped_column(default=0)
    released_on: Mapped[date | None]
    deprecated_on: Mapped[date | None]
    retires_on: Mapped[date | None]
    successor: Mapped[str | None] = mapped_column(String(300))
    switches_on: Mapped[date | None]  # From this day, the successor takes over the default and the aliases.
    description: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(default=1)

    provider: Mapped[Provider] = relationship(back_populates="models")
    aliases: Mapped[list["ModelAlias"]] = relationship(
        back_populates="model", cascade="all, delete-orphan", order_by="ModelAlias.alias", passive_deletes=True
    )
    prices: Mapped[list["Price"]] = relationship(back_populates="model", order_by="Price.effective_from", passive_deletes="all")

    __mapper_args__ = {"version_id_col": version}

    @property
    def ref(self) -> str:
        return f"{self.provider.slug}/{self.model_id}"

    def __str__(self) -> str:
        return self.display_name


class ModelAlias(Base):
    """An additional name of a model: exact, or a pattern with `*` and `?`."""

    __tablename__ = "model_aliases"

    alias: Mapped[str] = mapped_column(String(200), unique=True)
    is_pattern: Mapped[bool] = mapped_column(default=False)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)

    model: Mapped[Model] = relationship(back_populates="aliases")


class Price(Base):
    """A dated price. Append-only: triggers reject every change and deletion. A correction is a later row that names this one."""

    __tablename__ = "prices"
    __table_args__ = (
        Index(
            "uq_prices_model_start",
            "model_id",
            "effective_from",
            unique=True,
            sqlite_where=text("corrects_id IS NULL"),
            postgresql_where=text("corrects_id IS NULL"),
        ),
        CheckConstraint(check_one_of("state", PRICE_STATES), name="state"),
        CheckConstraint(check_one_of("source_kind", SOURCE_KINDS), name="source_kind"),
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="RESTRICT"), index=True)
    state: Mapped[str] = mapped_column(String(10))
    effective_from: Mapped[datetime]
    currency: Mapped[str] = mapped_column(String(3), default="USD")
    source_kind: Mapped[str] = mapped_column(String(10), default="manual")
    source_name: Mapped[str | None] = mapped_column(String(200))
    source_url: Mapped[str | None] = mapped_column(String(500))
    verified_at: Mapped[datetime | None]
    verified_by: Mapped[str | None] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(200), default="")
    corrects_id: Mapped[int | None] = mapped_column(ForeignKey("prices.id"), unique=True)
    cancels: Mapped[bool] = mapped_column(default=False, server_default=false())
    # The server's default is for writers that do not know the column: versions that billed all media at the rate of text.
    media_at_text_rate: Mapped[bool] = mapped_column(default=False, server_default=true())
    minimum: Mapped[Decimal | None]
    surcharge_percent: Mapped[Decimal | None]

    model: Mapped[Model] = relationship(back_populates="prices")
    rates: Mapped[list["PriceRate"]] = relationship(back_populates="price", order_by="PriceRate.id")


class PriceVerification(Base):
    """A verification of a price against its source at `created_at`. Append-only, like the price."""

    __tablename__ = "price_verifications"

    price_id: Mapped[int] = mapped_column(ForeignKey("prices.id", ondelete="RESTRICT"), index=True)
    verified_by: Mapped[str] = mapped_column(String(200))


class PriceRate(Base):
    """The price of one meter.

    Unique constraints treat NULL values as distinct, so `above` is -1 without a threshold, and the keys are empty without a window or
    conditions. PostgreSQL can index the longest keys, because all columns of the constraint together have at most 2,600 bytes.
    """

    __tablename__ = "price_rates"
    __table_args__ = (
        UniqueConstraint("price_id", "meter", "above", "service_tier", "window_key", "when_key", name="uq_price_rates_once"),
        CheckConstraint("per > 0", name="per"),
        CheckConstraint("above >= -1", name="above"),
        CheckConstraint("amount NOT LIKE '-%'", name="amount"),
    )

    price_id: Mapped[int] = mapped_column(ForeignKey("prices.id", ondelete="RESTRICT"), index=True)
    meter: Mapped[str] = mapped_column(String(30))
    amount: Mapped[Decimal]
    per: Mapped[int] = mapped_column(BigInteger)
    above: Mapped[int] = mapped_column(BigInteger, default=-1)
    service_tier: Mapped[str] = mapped_column(String(20), default="standard")
    window_key: Mapped[str] = mapped_column(String(80), default="")
    when_key: Mapped[str] = mapped_column(String(510), default="")

    price: Mapped[Price] = relationship(back_populates="rates")


class Credential(Base):
    """An encrypted key of a provider. The ciphertext is loaded only when a query names it."""

    __tablename__ = "credentials"
    __table_args__ = (
        UniqueConstraint("provider_id", "scope", "owner"),
        CheckConstraint(check_one_of("scope", ("shared", "personal", "project")), name="scope"),
    )

    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    scope: Mapped[str] = mapped_column(String(10), default="shared")
    owner: Mapped[str] = mapped_column(String(200), default="")
    ciphertext: Mapped[str] = mapped_column(Ciphertext, deferred=True, deferred_raiseload=True)
    key_id: Mapped[str] = mapped_column(String(20))
    fingerprint: Mapped[str] = mapped_column(String(20))
    last_four: Mapped[str] = mapped_column(String(4))
    origin: Mapped[str] = mapped_column(String(300), default="")
    is_active: Mapped[bool] = mapped_column(default=True)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    monthly_limit: Mapped[int | None]

    provider: Mapped[Provider] = relationship(back_populates="credentials")
