"""Widen amounts.

Revision ID: 4b8d0f6e2c17
Revises: 9b3e60d7c1f2

The longest exact cost has 64 characters. SQLite does not look at the length of a text, so there its tables stay as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "4b8d0f6e2c17"
down_revision = "9b3e60d7c1f2"
branch_labels = None
depends_on = None

AMOUNTS = (
    ("benches", "spend_cap", True),
    ("prompt_templates", "temperature", True),
    ("providers", "default_temperature", True),
    ("price_rates", "amount", False),
    ("runs", "cost_total", True),
    ("usage_records", "cost_total", True),
    ("bench_cells", "most_cost", True),
)


def upgrade() -> None:
    _alter(40, 80)


def downgrade() -> None:
    """Fails where a longer amount is stored: a shorter one would be another amount."""
    _alter(80, 40)


def _alter(before: int, after: int) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column, nullable in AMOUNTS:
        op.alter_column(
            table, column, existing_type=sa.String(length=before), type_=sa.String(length=after), existing_nullable=nullable
        )
