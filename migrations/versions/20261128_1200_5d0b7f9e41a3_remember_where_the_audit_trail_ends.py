"""Remember where the audit trail ends.

Revision ID: 5d0b7f9e41a3
Revises: a7d43e915c60

A chain shows what is missing in its middle, never that its newest lines were cut off: how many there were, and the hash of the last
one, is kept beside it. The row is made here, for the lines that there are, and never by the application: where it is missing, somebody
removed it.
"""

import sqlalchemy as sa
from alembic import op

revision = "5d0b7f9e41a3"
down_revision = "a7d43e915c60"
branch_labels = None
depends_on = None

FIRST = "0" * 64  # What the first line of a trail names as its predecessor.


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # Every writer has read it before it wrote: none of the version before may add a line between our count and our commit.
        op.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
    op.create_table(
        "audit_state",
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_state")),
    )
    op.execute(
        "INSERT INTO audit_state (id, events, hash, created_at, updated_at) "
        f"SELECT 1, count(*), coalesce((SELECT hash FROM audit_events ORDER BY id DESC LIMIT 1), '{FIRST}'), "
        "CURRENT_TIMESTAMP, CURRENT_TIMESTAMP FROM audit_events"
    )


def downgrade() -> None:
    op.drop_table("audit_state")
