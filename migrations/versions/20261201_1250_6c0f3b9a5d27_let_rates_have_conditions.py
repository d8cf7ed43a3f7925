"""Let rates have conditions and prices a minimum and a surcharge.

Revision ID: 6c0f3b9a5d27
Revises: f2b7c94d1e60

The earlier version bills media at the rate of text, so its prices keep `media_at_text_rate`. That value is also the column's default, which
only a writer that does not know the column uses; the application always states it.

The downgrade is refused if a row uses what the earlier version would ignore, bill otherwise, or fail to read. Amounts with more than 12
decimals are no reason: the earlier version reads and multiplies them exactly.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "6c0f3b9a5d27"
down_revision = "f2b7c94d1e60"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
AMOUNT = sa.String(length=40).with_variant(sa.String(length=80), "postgresql")
REFUSAL = "rows of price_rates are history: they are added, never changed or removed"
COPIED = "id, created_at, updated_at, price_id, meter, amount, per, above, service_tier, window_key"
UNIQUE = ["price_id", "meter", "above", "service_tier", "window_key"]

NEW_METERS = frozenset(
    "input_video cache_read_audio cache_read_image cache_read_video output_image output_video "
    "pixel session file_search code_execution gb_day".split()
)
NEW_TIERS = frozenset({"fast", "scale"})
WITH_MEDIA = ("input", "output")


def upgrade() -> None:
    op.add_column("prices", sa.Column("media_at_text_rate", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("prices", sa.Column("minimum", AMOUNT, nullable=True))
    op.add_column("prices", sa.Column("surcharge_percent", AMOUNT, nullable=True))
    when_key = sa.Column("when_key", sa.String(length=510), nullable=False)
    if op.get_bind().dialect.name == "sqlite":
        _copy_rates(80, [when_key], [*UNIQUE, "when_key"])
        return
    op.drop_constraint("uq_price_rates_once", "price_rates")
    op.alter_column("price_rates", "window_key", existing_type=sa.String(length=60), type_=sa.String(length=80), existing_nullable=False)
    when_key.server_default = sa.DefaultClause("")
    op.add_column("price_rates", when_key)
    op.alter_column("price_rates", "when_key", server_default=None)
    op.create_unique_constraint("uq_price_rates_once", "price_rates", [*UNIQUE, "when_key"])


def downgrade() -> None:
    if used := sorted(set(_used_features())):
        raise CommandError(
            f"The earlier version cannot read what this database uses: {'; '.join(used)}. Nothing was changed. "
            "To go back, restore a backup from before the upgrade."
        )
    if op.get_bind().dialect.name == "sqlite":
        _copy_rates(60, [], UNIQUE)
    else:
        op.drop_constraint("uq_price_rates_once", "price_rates")
        op.drop_column("price_rates", "when_key")
        op.alter_column("price_rates", "window_key", existing_type=sa.String(length=80), type_=sa.String(length=60), existing_nullable=False)
        op.create_unique_constraint("uq_price_rates_once", "price_rates", UNIQUE)
    for column in ("surcharge_percent", "minimum", "media_at_text_rate"):
        op.drop_column("prices", column)


def _copy_rates(window_key_length: int, new_columns: list[sa.Column[Any]], unique: list[str]) -> None:
    """Copy the rates to a new table, because SQLite cannot change a constraint. The triggers go with the old table."""
    op.create_table(
        "price_rates_copy",
        sa.Column("price_id", ID, nullable=False),
        sa.Column("meter", sa.String(length=30), nullable=False),
        sa.Column("amount", sa.String(length=40), nullable=False),
        sa.Column("per", sa.BigInteger(), nullable=False),
        sa.Column("above", sa.BigInteger(), nullable=False),
        sa.Column("service_tier", sa.String(length=20), nullable=False),
        sa.Column("window_key", sa.String(length=window_key_length), nullable=False),
        *new_columns,
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount NOT LIKE '-%'", name=op.f("ck_price_rates_amount")),
        sa.CheckConstraint("above >= -1", name=op.f("ck_price_rates_above")),
        sa.CheckConstraint("per > 0", name=op.f("ck_price_rates_per")),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_price_rates_price_id_prices"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_rates")),
        sa.UniqueConstraint(*unique, name="uq_price_rates_once"),
    )
    added = {column.name: "''" for column in new_columns}
    op.execute(
        f"INSERT INTO price_rates_copy ({', '.join([COPIED, *added])}) SELECT {', '.join([COPIED, *added.values()])} FROM price_rates ORDER BY id"
    )
    op.drop_table("price_rates")
    op.rename_table("price_rates_copy", "price_rates")
    op.create_index(op.f("ix_price_rates_price_id"), "price_rates", ["price_id"])
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER price_rates_no_{event.lower()} BEFORE {event} ON price_rates BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )


def _used_features() -> Iterator[str]:
    """Yield what rows use and the earlier version cannot read."""
    connection = op.get_bind()
    rates = connection.execute(sa.text("SELECT DISTINCT meter, per, service_tier, window_key, when_key FROM price_rates"))
    for meter, per, tier, window_key, when_key in rates:
        yield from _features_of_rate(meter, per, tier, window_key.count("|") > 1, bool(when_key))
    yield from _features_of_prices(connection)
    overrides = sa.table("project_overrides", sa.column("price", sa.JSON()))
    for (price,) in connection.execute(sa.select(overrides.c.price).where(overrides.c.price.is_not(None))):
        yield from _features_of_document(price or {})
    usage_patterns = {"second": '%"second": "%'} | {meter: f'%"{meter}"%' for meter in NEW_METERS}
    for table in ("runs", "usage_records"):
        found = " OR ".join(f"CAST(usage AS TEXT) LIKE :{meter}" for meter in usage_patterns)
        if connection.execute(sa.text(f"SELECT 1 FROM {table} WHERE {found} LIMIT 1"), usage_patterns).first():
            yield f"new meters or fractions of a second in {table}"


def _features_of_rate(meter: str, per: int, service_tier: str, has_zone: bool, has_conditions: bool) -> Iterator[str]:
    if has_conditions:
        yield "rates with conditions"
    if has_zone:
        yield "rates with a time zone"
    if meter in NEW_METERS:
        yield "rates of new meters"
    if service_tier in NEW_TIERS:
        yield "rates of new service tiers"
    if not _is_finite_divisor(per):
        yield "rates per a number such as 60, by which amounts cannot be divided exactly"


def _is_finite_divisor(per: int) -> bool:
    for factor in (2, 5):
        while per % factor == 0:
            per //= factor
    return per == 1


MEDIA_NOT_AT_TEXT_RATE = "prices that do not bill media at the rate of text"


def _features_of_prices(connection: sa.Connection) -> Iterator[str]:
    with_media = "SELECT price_id FROM price_rates WHERE meter IN ('input', 'output')"
    conditions = {
        "prices with a minimum": "minimum IS NOT NULL",
        "prices with a surcharge": "surcharge_percent IS NOT NULL",
        MEDIA_NOT_AT_TEXT_RATE: f"NOT media_at_text_rate AND state = 'priced' AND id IN ({with_media})",
    }
    for feature, condition in conditions.items():
        if connection.execute(sa.text(f"SELECT 1 FROM prices WHERE {condition} LIMIT 1")).first():
            yield feature


def _features_of_document(price: Mapping[str, Any]) -> Iterator[str]:
    """Yield the same for a project's own price, which is stored as a document."""
    rates = price.get("rates", [])
    for rate in rates:
        has_zone = bool((rate.get("window") or {}).get("tz"))
        yield from _features_of_rate(rate["meter"], rate["per"], rate.get("service_tier") or "", has_zone, bool(rate.get("when")))
    if price.get("minimum") is not None:
        yield "prices with a minimum"
    if price.get("surcharge_percent") is not None:
        yield "prices with a surcharge"
    if price.get("media_at_text_rate") is False and any(rate["meter"] in WITH_MEDIA for rate in rates):
        yield MEDIA_NOT_AT_TEXT_RATE
