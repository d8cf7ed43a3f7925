"""Record usage that applications report.

Revision ID: 7c1e5b0a9d21
Revises: a30b25205815
"""

import sqlalchemy as sa
from alembic import op

revision = "7c1e5b0a9d21"
down_revision = "a30b25205815"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "usage_records",
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("token_id", ID, nullable=False),
        sa.Column("project", sa.String(length=60), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("model_ref", sa.String(length=300), nullable=False),
        sa.Column("usage", sa.JSON(), nullable=False),
        sa.Column("service_tier", sa.String(length=20), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cost", sa.JSON(), nullable=False),
        sa.Column("cost_total", sa.String(length=40), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("price_id", ID, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_usage_records_price_id_prices"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], name=op.f("fk_usage_records_token_id_api_tokens"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_records")),
        sa.UniqueConstraint("public_id", name=op.f("uq_usage_records_public_id")),
        sa.UniqueConstraint("token_id", "idempotency_key", name=op.f("uq_usage_records_token_id_idempotency_key")),
    )
    op.create_index("ix_usage_records_at", "usage_records", ["at"])
    op.create_index("ix_usage_records_model_ref", "usage_records", ["model_ref", "at"])


def downgrade() -> None:
    op.drop_table("usage_records")
