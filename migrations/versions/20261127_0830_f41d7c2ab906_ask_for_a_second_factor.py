"""Ask for a second factor.

Revision ID: f41d7c2ab906
Revises: e7f30b9c12a4
"""

import sqlalchemy as sa
from alembic import op

revision = "f41d7c2ab906"
down_revision = "e7f30b9c12a4"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
    )
    op.create_index("ix_recovery_codes_user_id", "recovery_codes", ["user_id"])
    op.add_column("users", sa.Column("totp_secret", sa.Text(), nullable=True))
    op.add_column("users", sa.Column("totp_pending", sa.Text(), nullable=True))
    op.add_column("users", sa.Column("totp_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("totp_step", sa.BigInteger(), nullable=True))
    # Whoever is signed in while this runs goes on; what needs a fresh confirmation asks for it.
    op.add_column("user_sessions", sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("user_sessions", sa.Column("code_tries_left", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM user_sessions WHERE code_tries_left IS NOT NULL")  # To the release before they would be whole sign-ins.
    for name in ("code_tries_left", "confirmed_at"):
        op.drop_column("user_sessions", name)
    for name in ("totp_step", "totp_since", "totp_pending", "totp_secret"):
        op.drop_column("users", name)
    op.drop_table("recovery_codes")
