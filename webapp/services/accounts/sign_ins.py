"""The way in after the right password: past the second factor if there is one; and the renewed proof before what is dangerous."""

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
    """A line that somebody has tried all the passwords that may be tried for a while.

    An address that nobody has gets one in the same way, without what was typed: it may be a password in the wrong field.
    """
    query = select(User.id, User.email).where(User.email == accounts.normalize_email(email))
    found = session.execute(query).one_or_none() if "\0" not in email else None
    audit_log.record(
        session, ATTEMPTS_EXHAUSTED, actor="anonymous", target=Target("user", found.id, found.email) if found else UNKNOWN_USER
    )


@dataclass(frozen=True, slots=True)
class Ticket:
    """The secret for the cookie: of a session, or (`needs_code`) of one that begins with the right code."""

    secret: str = field(repr=False)
    needs_code: bool


def begin_sign_in(session: Session, user: User, *, now: datetime, previous_secret: str, method: str | None = None) -> Ticket:
    """After the right password, a link that works once, or the word of the identity provider (`method`).

    The session with the secret `instead_of`, which the browser had until now, ends: a copy of its cookie is worth nothing.
    The user is locked first, as by whoever changes a password or a role: the one who comes second sees what the first has done.
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
    """The sign-in with this secret that waits for its code."""
    query = select(UserSession, User).join(User).where(UserSession.digest == tokens.digest_of(secret))
    found = session.execute(query.with_for_update()).one_or_none()
    if found is None:
        return None
    row, user = found
    good = row.code_tries_left and row.expires_at > now and user.is_active
    return (row, user) if good else None


@dataclass(frozen=True, slots=True)
class SubmittedCode:
    """A code, and the address that it came from."""

    code: str = field(repr=False)
    address: str


@dataclass(frozen=True, slots=True)
class SignInResult:
    """What became of a code: the secret of the session that it began, how long to wait, or that all has to begin anew."""

    secret: str | None = field(default=None, repr=False)
    email: str = ""
    wait: timedelta | None = None
    ended: bool = False


def complete(session: Session, secret: str, proof: SubmittedCode, *, vault: Vault, now: datetime) -> SignInResult:
    """Begins the session if the code is right. After five wrong ones the password is asked for again.

    Codes are counted by person: only who knows the password comes so far, so this keeps out nobody but its thief.
    """
    found = get_pending_or_none(session, secret, now=now)
    if found is None:
        return SignInResult(ended=True)
    row, user = found
    guess = Attempt(str(user.id), proof.address, kind="code")
    wait = login_throttle.register(session, guess, now)
    if wait is not None:
        return SignInResult(wait=wait)
    if second_factor.verify_code(session, user, proof.code, vault=vault, now=now) is None:
        row.code_tries_left = (row.code_tries_left or 0) - 1
        return SignInResult(ended=row.code_tries_left <= 0)
    session.delete(row)
    login_throttle.forget(session, guess)
    return SignInResult(accounts.begin_session(session, user, now=now, method=row.method), user.email)


def is_recently_confirmed(confirmed_at: datetime | None, now: datetime) -> bool:
    """Whether somebody proved who they are lately enough for what is dangerous."""
    return confirmed_at is not None and confirmed_at > now - CONFIRMATION_LIFETIME


def renew_session(session: Session, secret: str, *, now: datetime, method: str | None = None) -> str | None:
    """After a renewed proof: the same session under a new secret, so that a copy of the old cookie is worth nothing."""
    found = accounts.get_session_or_none(session, secret, now=now)
    if found is None:
        return None
    row, user = found
    new = tokens.new_secret()
    row.digest, row.confirmed_at, row.last_seen_at = tokens.digest_of(new), now, now
    target = Target("user", user.id, user.email)
    audit_log.record(
        session, "accounts:session:confirm", actor=user.email, target=target, change=AuditChange(None, accounts.method_audit_values(method))
    )
    return new
