"""Sign-in steps after the password, with the second factor if there is one, and step-up authentication."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.models import User, UserSession
from webapp.security import tokens
from webapp.security.vault import Vault
from webapp.services.accounts import accounts, login_throttle, second_factor
from webapp.services.accounts.login_throttle import Attempt
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

CODE_TIMEOUT, MAX_CODE_TRIES = timedelta(minutes=5), 5
CONFIRMATION_LIFETIME = timedelta(minutes=10)
ATTEMPTS_EXHAUSTED = "accounts:password:use_up"
UNKNOWN_USER = Target("user", None, "an address that nobody has")


def record_exhausted_attempts(session: Session, email: str) -> None:
    """Record that all password attempts for an address are used up for now.

    An address without a user also gets an event, but without the typed text, which might be a password in the wrong field.
    """
    query = select(User.id, User.email).where(User.email == accounts.normalize_email(email))
    user = session.execute(query).one_or_none() if "\0" not in email else None
    audit_log.record(session, ATTEMPTS_EXHAUSTED, actor="anonymous", target=Target("user", user.id, user.email) if user else UNKNOWN_USER)


@dataclass(frozen=True, slots=True)
class Ticket:
    """The secret for the cookie: of a session, or of a sign-in that still needs its code (`needs_code`)."""

    secret: str = field(repr=False)
    needs_code: bool


def begin_sign_in(session: Session, user: User, *, now: datetime, previous_secret: str, method: str | None = None) -> Ticket:
    """Begin a sign-in after a correct password, a one-time link, or a response of the identity provider (`method`).

    The browser's earlier session (`previous_secret`) ends, so that a copy of its cookie becomes worthless. The user is locked first, as in
    changes of a password or role, so that the later transaction sees the changes of the earlier one.
    """
    accounts.find_for_update(session, user.id)
    accounts.end_session(session, previous_secret, now=now)
    if user.totp_since is None:
        return Ticket(accounts.begin_session(session, user, now=now, method=method), needs_code=False)
    secret = tokens.new_secret()
    session.execute(delete(UserSession).where(UserSession.expires_at <= now))
    session.add(
        UserSession(
            digest=tokens.digest_of(secret),
            user_id=user.id,
            expires_at=now + CODE_TIMEOUT,
            last_seen_at=now,
            code_tries_left=MAX_CODE_TRIES,
            method=method,
        )
    )
    return Ticket(secret, needs_code=True)


def get_pending_or_none(session: Session, secret: str, *, now: datetime) -> tuple[UserSession, User] | None:
    """Return the sign-in with this secret that waits for its code."""
    query = select(UserSession, User).join(User).where(UserSession.digest == tokens.digest_of(secret))
    match = session.execute(query.with_for_update()).one_or_none()
    if match is None:
        return None
    row, user = match
    is_valid = row.code_tries_left and row.expires_at > now and user.is_active
    return (row, user) if is_valid else None


@dataclass(frozen=True, slots=True)
class SubmittedCode:
    """A code and the client address that sent it."""

    code: str = field(repr=False)
    address: str


@dataclass(frozen=True, slots=True)
class SignInResult:
    """The result of a code: the new session's secret, the time to wait, or `ended` if the sign-in must start again."""

    secret: str | None = field(default=None, repr=False)
    email: str = ""
    wait: timedelta | None = None
    ended: bool = False


def complete(session: Session, secret: str, submitted: SubmittedCode, *, vault: Vault, now: datetime) -> SignInResult:
    """Begin the session if the code is correct. After five incorrect codes, the password is required again.

    Codes are counted per user. Only someone who knows the password can enter codes, so the limit locks out no one but its thief.
    """
    pending = get_pending_or_none(session, secret, now=now)
    if pending is None:
        return SignInResult(ended=True)
    row, user = pending
    attempt = Attempt(str(user.id), submitted.address, kind="code")
    wait = login_throttle.register(session, attempt, now)
    if wait is not None:
        return SignInResult(wait=wait)
    if second_factor.verify_code(session, user, submitted.code, vault=vault, now=now) is None:
        row.code_tries_left = (row.code_tries_left or 0) - 1
        return SignInResult(ended=row.code_tries_left <= 0)
    session.delete(row)
    login_throttle.forget(session, attempt)
    return SignInResult(accounts.begin_session(session, user, now=now, method=row.method), user.email)


def is_recently_confirmed(confirmed_at: datetime | None, now: datetime) -> bool:
    """Return whether the user authenticated recently enough for a sensitive action."""
    return confirmed_at is not None and confirmed_at > now - CONFIRMATION_LIFETIME


def renew_session(session: Session, secret: str, *, now: datetime, method: str | None = None) -> str | None:
    """Give the session a new secret after step-up authentication, so that a copy of the old cookie becomes worthless."""
    match = accounts.get_session_or_none(session, secret, now=now)
    if match is None:
        return None
    row, user = match
    new_secret = tokens.new_secret()
    row.digest, row.confirmed_at, row.last_seen_at = tokens.digest_of(new_secret), now, now
    target = Target("user", user.id, user.email)
    audit_log.record(
        session, "accounts:session:confirm", actor=user.email, target=target, change=AuditChange(None, accounts.method_audit_values(method))
    )
    return new_secret
