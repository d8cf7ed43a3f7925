"""Switch over to successors.

Revision ID: 8d2c4e61f7a9
Revises: 3f9a7d10c5b2
"""

import sqlalchemy as sa
from alembic import op

revision = "8d2c4e61f7a9"
down_revision = "3f9a7d10c5b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("switches_on", sa.Date(), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "switches_on")
