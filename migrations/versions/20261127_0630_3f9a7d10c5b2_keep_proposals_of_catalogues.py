"""Keep proposals of catalogues.

Revision ID: 3f9a7d10c5b2
Revises: 746a024cbec6
"""

import sqlalchemy as sa
from alembic import op

revision = "3f9a7d10c5b2"
down_revision = "746a024cbec6"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "proposals",
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("source_version", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("second_source", sa.String(length=160), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("opened_by", sa.String(length=200), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("applied_by", sa.String(length=200), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=200), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('open', 'applied', 'undone', 'closed')", name=op.f("ck_proposals_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    op.create_index("ix_proposals_created_at", "proposals", ["created_at"])
    op.create_table(
        "proposal_rows",
        sa.Column("proposal_id", ID, nullable=False),
        sa.Column("ref", sa.String(length=300), nullable=False),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("guards", sa.Text(), nullable=False),
        sa.Column("choosable", sa.Boolean(), nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("done", sa.JSON(), nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["proposal_id"], ["proposals.id"], name=op.f("fk_proposal_rows_proposal_id_proposals"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal_rows")),
    )
    op.create_index("ix_proposal_rows_proposal_id_ref", "proposal_rows", ["proposal_id", "ref"], unique=True)
    op.create_index("ix_proposal_rows_chosen", "proposal_rows", ["proposal_id", "chosen"])


def downgrade() -> None:
    op.drop_table("proposal_rows")
    op.drop_table("proposals")
