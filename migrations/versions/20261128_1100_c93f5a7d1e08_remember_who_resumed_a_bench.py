"""Remember who resumed a bench.

Revision ID: c93f5a7d1e08
Revises: 4b8d0f6e2c17
"""

import sqlalchemy as sa
from alembic import op

revision = "c93f5a7d1e08"
down_revision = "4b8d0f6e2c17"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("benches", sa.Column("runs_as", sa.String(length=200), nullable=True))


def downgrade() -> None:
    op.drop_column("benches", "runs_as")
