"""Tables for access: users, their sessions, one-time links, and API tokens."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.domain.accounts.permissions import ROLES
from webapp.models.base import Base, Ciphertext
from webapp.models.catalog import check_one_of


class User(Base):
    """A member of staff. Without a password hash, the account waits for its set-up link."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint(check_one_of("role", tuple(ROLES)), name="role"),)

    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(200), deferred=True)
    role: Mapped[str] = mapped_column(String(10))
    is_active: Mapped[bool] = mapped_column(default=True)
    # Counts changes of role and state, not sign-ins, to detect a form that shows an older state.
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    last_login_at: Mapped[datetime | None]
    # The second factor: the active secret, the secret that waits for its first code, the activation time, and the last used time step.
    totp_secret: Mapped[str | None] = mapped_column(Ciphertext, deferred=True)
    totp_pending: Mapped[str | None] = mapped_column(Ciphertext, deferred=True)
    totp_since: Mapped[datetime | None]
    totp_step: Mapped[int | None] = mapped_column(BigInteger)

    def __str__(self) -> str:
        return self.email


class UserSession(Base):
    """One sign-in. The cookie holds the secret, the row only its digest. Signing out deletes the row.

    `confirmed_at` is the time of the last authentication. A row with `code_tries_left` is not a session yet: the password was correct, and
    that many codes can still be tried.
    """

    __tablename__ = "user_sessions"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    code_tries_left: Mapped[int | None]
    method: Mapped[str | None] = mapped_column(String(20))  # The sign-in method; None for a password or a link.

    user: Mapped[User] = relationship()


class RecoveryCode(Base):
    """A code that replaces the authenticator app once. Only its digest is stored."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    used_at: Mapped[datetime | None]


class Identity(Base):
    """A user's identity at an identity provider: issuer and subject, because an email address can be given to another person."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("issuer", "user_id"))

    issuer: Mapped[str] = mapped_column(String(500))
    subject: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


class UsedAuthorization(Base):
    """A used authorization response of the identity provider, kept until it expires, because each response works only once."""

    __tablename__ = "spent_returns"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    expires_at: Mapped[datetime]


class OneTimeLink(Base):
    """A one-time link: first set-up, invitation or new password. Only the digest of its secret is stored."""

    __tablename__ = "one_time_links"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class LoginAttempt(Base):
    """One password attempt, counted for five minutes. `key` is the digest of what it counts against: account, browser, address or all."""

    __tablename__ = "login_attempts"
    __table_args__ = (Index("ix_login_attempts_key", "key", "at"), Index("ix_login_attempts_at", "at"))

    key: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]


class ApiToken(Base):
    """An application's token: public id, digest and scopes. The token itself is shown once and never stored."""

    __tablename__ = "api_tokens"

    name: Mapped[str] = mapped_column(String(100))
    public_id: Mapped[str] = mapped_column(String(20), unique=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[list[str]] = mapped_column(default=list)
    project: Mapped[str | None] = mapped_column(String(60))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_by: Mapped[str] = mapped_column(String(200), default="")

    def __str__(self) -> str:
        return self.name
