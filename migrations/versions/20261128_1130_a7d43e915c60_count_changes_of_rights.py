"""Count changes of rights.

Revision ID: a7d43e915c60
Revises: e6a02c8b94d7

A form that was opened before somebody else changed the same person's role or state is noticed by it.
"""

import sqlalchemy as sa
from alembic import op

revision = "a7d43e915c60"
down_revision = "e6a02c8b94d7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("users", "version")
