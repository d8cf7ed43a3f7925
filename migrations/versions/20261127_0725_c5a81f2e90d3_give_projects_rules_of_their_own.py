"""Give projects rules of their own.

Revision ID: c5a81f2e90d3
Revises: c2a94f1be670
"""

import sqlalchemy as sa
from alembic import op

revision = "c5a81f2e90d3"
down_revision = "c2a94f1be670"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "project_overrides",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("price", sa.JSON(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('default', 'allow', 'price')", name=op.f("ck_project_overrides_kind")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_project_overrides_model_id_models"), ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_overrides_project_id_projects"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_overrides")),
    )
    op.create_index(op.f("ix_project_overrides_project_id"), "project_overrides", ["project_id"])
    op.create_index(op.f("ix_project_overrides_model_id"), "project_overrides", ["model_id"])


def downgrade() -> None:
    op.drop_table("project_overrides")
