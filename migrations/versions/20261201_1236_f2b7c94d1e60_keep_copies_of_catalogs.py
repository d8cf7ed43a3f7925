"""Keep copies of catalogs.

Revision ID: f2b7c94d1e60
Revises: 0c6e5d2b91fa
"""

import sqlalchemy as sa
from alembic import op

revision = "f2b7c94d1e60"
down_revision = "0c6e5d2b91fa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "source_copies",
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("source_version", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("previous_records", sa.Integer(), nullable=True),
        sa.Column("prices", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_copies")),
        sa.UniqueConstraint("source", name=op.f("uq_source_copies_source")),
    )


def downgrade() -> None:
    op.drop_table("source_copies")
