"""Verify prices.

Revision ID: b71e0c93d4f8
Revises: 8d2c4e61f7a9
"""

import sqlalchemy as sa
from alembic import op

revision = "b71e0c93d4f8"
down_revision = "8d2c4e61f7a9"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "price_verifications",
        sa.Column("price_id", ID, nullable=False),
        sa.Column("verified_by", sa.String(length=200), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_price_verifications_price_id_prices"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_verifications")),
    )
    op.create_index(op.f("ix_price_verifications_price_id"), "price_verifications", ["price_id"])


def downgrade() -> None:
    op.drop_table("price_verifications")
