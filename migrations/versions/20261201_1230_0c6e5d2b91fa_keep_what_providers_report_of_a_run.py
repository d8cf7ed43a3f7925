"""Keep what providers report of a run.

Revision ID: 0c6e5d2b91fa
Revises: d81f3b6e07a5

A cost that is not known says nothing about whether anything was sent. Only what was sent can have a cost, so each run says so. The
provider's own cost and the model that responded are kept next to the calculated cost and the requested model. A cell counts the calls
whose outcome was never recorded, because they can have been billed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0c6e5d2b91fa"
down_revision = "d81f3b6e07a5"
branch_labels = None
depends_on = None

AMOUNT = sa.String(length=40).with_variant(sa.String(length=80), "postgresql")
UNSENT = "driver = 'local' OR cached OR error_code IN ('no_key', 'config', 'limit_reached', 'connect')"


def upgrade() -> None:
    op.add_column("runs", sa.Column("sent", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.execute(f"UPDATE runs SET sent = false WHERE {UNSENT}")
    op.add_column("runs", sa.Column("served_model", sa.String(length=300), nullable=True))
    op.add_column("runs", sa.Column("reported_cost", AMOUNT, nullable=True))
    op.add_column("runs", sa.Column("reported_currency", sa.String(length=3), nullable=True))
    op.add_column("bench_cells", sa.Column("open_calls", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("bench_cells", "open_calls")
    for name in ("reported_currency", "reported_cost", "served_model", "sent"):
        op.drop_column("runs", name)
