"""Count every run of a bench.

Revision ID: e6a02c8b94d7
Revises: c93f5a7d1e08

A cell knows only the run that it shows; what else was asked for a bench was paid for as well.
"""

import sqlalchemy as sa
from alembic import op

revision = "e6a02c8b94d7"
down_revision = "c93f5a7d1e08"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("benches", sa.Column("generation", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("bench", sa.String(length=40), nullable=True))
    op.execute(
        "UPDATE runs SET bench = (SELECT max(benches.public_id) FROM bench_cells JOIN benches ON benches.id = bench_cells.bench_id "
        "WHERE bench_cells.run_id = runs.id) WHERE id IN (SELECT run_id FROM bench_cells WHERE run_id IS NOT NULL)"
    )
    op.create_index(op.f("ix_runs_bench"), "runs", ["bench"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_bench"), "runs")
    op.drop_column("runs", "bench")
    op.drop_column("benches", "generation")
