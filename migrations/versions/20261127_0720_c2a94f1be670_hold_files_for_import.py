"""Hold files between their comparison and their import.

Revision ID: c2a94f1be670
Revises: b71e0c93d4f8
"""

import sqlalchemy as sa
from alembic import op

revision = "c2a94f1be670"
down_revision = "b71e0c93d4f8"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "import_drafts",
        sa.Column("public_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("form", sa.String(length=10), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("form IN ('yaml', 'json', 'csv')", name=op.f("ck_import_drafts_form")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_drafts")),
    )
    op.create_index("ix_import_drafts_public_id", "import_drafts", ["public_id"], unique=True)
    op.create_index("ix_import_drafts_created_at", "import_drafts", ["created_at"])


def downgrade() -> None:
    op.drop_table("import_drafts")
