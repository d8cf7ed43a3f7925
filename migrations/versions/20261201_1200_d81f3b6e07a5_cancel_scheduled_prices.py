"""Cancel scheduled prices.

Revision ID: d81f3b6e07a5
Revises: 5d0b7f9e41a3

A column is added in place, so the triggers that keep prices append-only stay.
"""

import sqlalchemy as sa
from alembic import op

revision = "d81f3b6e07a5"
down_revision = "5d0b7f9e41a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("prices", sa.Column("cancels", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Cancellations become corrections: they state the rates that were in force when the price was canceled."""
    op.drop_column("prices", "cancels")
