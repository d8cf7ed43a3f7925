"""Staff: users, their one-time links, and their sessions."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, undefer

from webapp.domain.accounts.permissions import ROLES, Permission, role_allows
from webapp.domain.shared import validators
from webapp.domain.shared.errors import Conflict, FieldError, Invalid, NotFound, Stale
from webapp.models import MAX_ID, OneTimeLink, User, UserSession
from webapp.security import passwords, tokens
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target

LINK_LIFETIME = timedelta(minutes=30)
FIRST_ADMIN = Target("user", None, "the first admin")
OPENID = "openid"  # The method of a session that began at the identity provider.
PERMISSION_CHANGE_ACTIONS = tuple(f"accounts:user:{verb}" for verb in ("set_role", "enable", "disable"))
SESSION_IDLE_TIMEOUT, SESSION_LIFETIME = timedelta(minutes=30), timedelta(hours=12)


def normalize_email(email: str) -> str:
    """Return the canonical spelling of an address. It is stored, looked up and counted, so that no variant gets its own attempts."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).strip().casefold()).strip()


def count(session: Session) -> int:
    return session.execute(select(func.count()).select_from(User)).scalar_one()


def find(session: Session, email: str) -> User:
    """Return the user with this address. Raises `NotFound`."""
    query = select(User).where(User.email == normalize_email(email))
    user = session.execute(query).scalar_one_or_none() if "\0" not in email else None
    if user is None:
        raise NotFound(f"There is no user {email}.")
    return user


def find_for_update(session: Session, user_id: int, *, version: int | None = None) -> User:
    """Return the row, locked for a change. Raises `NotFound`, or `Stale` if `version` is not the current one."""
    user = session.get(User, user_id, with_for_update=True, populate_existing=True) if user_id <= MAX_ID else None
    if user is None:
        raise NotFound("There is no such user.")
    if version is not None and user.version != version:
        raise Stale("Somebody else changed what this person may do meanwhile. Nothing was stored: look at the change, and repeat yours.")
    return user


def has_permission(session: Session, email: str, permission: Permission) -> bool:
    """Return whether an active user with this address exists whose current role allows this."""
    row = session.execute(select(User.role, User.is_active).where(User.email == normalize_email(email))).one_or_none()
    return row is not None and row.is_active and role_allows(row.role, permission)


def actor_has_permission(session: Session, actor: str, permission: Permission) -> bool:
    """Return whether an actor of the audit log has this permission. Tokens and operators were authorized at their entry points."""
    is_staff = session.execute(select(User.id).where(User.email == actor)).first() is not None
    return not is_staff or has_permission(session, actor, permission)


def create(session: Session, email: str, role: str, *, actor: str, password: str | None = None) -> User:
    """Add a user. Raises `Invalid`, or `Conflict` if the address is taken."""
    address = normalize_email(validators.email(email, "email"))
    if role not in ROLES:
        raise Invalid.field("role", f"must be one of {', '.join(ROLES)}")
    if session.execute(select(User.id).where(User.email == address)).scalar_one_or_none() is not None:
        raise Conflict(f"There is already a user {address}.", [FieldError("email", "is taken")], code="duplicate")
    user = User(email=address, role=role, password_hash=passwords.hash_password(password) if password is not None else None)
    session.add(user)
    session.flush()
    audit_log.record(
        session, "accounts:user:create", actor=actor, target=_user_target(user), change=AuditChange(None, _user_audit_values(user))
    )
    return user


def set_role(session: Session, user: User, role: str, *, actor: str) -> None:
    """Change a user's role. Raises `Conflict` for the last active admin."""
    if role not in ROLES:
        raise Invalid.field("role", f"must be one of {', '.join(ROLES)}")
    _require_remaining_admin(session, user, becomes_admin=role == "admin")
    before = _user_audit_values(user)
    user.role = role
    _increment_version(session, user)
    audit_log.record(
        session, "accounts:user:set_role", actor=actor, target=_user_target(user), change=AuditChange(before, _user_audit_values(user))
    )


def set_active(session: Session, user: User, active: bool, *, actor: str) -> None:
    """Enable or disable a user, and in both cases end sessions and links. Raises `Conflict` for the last active admin."""
    _require_remaining_admin(session, user, becomes_admin=active and user.role == "admin")
    before = _user_audit_values(user)
    user.is_active = active
    _increment_version(session, user)
    if not (active and before["active"]):  # Nothing that began while the user was disabled must become valid.
        end_sessions(session, user)
        end_links(session, user)
    action = "enable" if active else "disable"
    audit_log.record(
        session, f"accounts:user:{action}", actor=actor, target=_user_target(user), change=AuditChange(before, _user_audit_values(user))
    )


def _increment_version(session: Session, user: User) -> None:
    """Increment in the database, so that two concurrent changes count as two, whatever version each of them read."""
    session.execute(update(User).where(User.id == user.id).values(version=User.version + 1))


def _require_remaining_admin(session: Session, user: User, *, becomes_admin: bool) -> None:
    if becomes_admin or user.role != "admin" or not user.is_active:
        return
    admins = session.execute(select(User.id).where(User.role == "admin", User.is_active).with_for_update()).scalars().all()
    if len(admins) <= 1:
        raise Conflict(f"{user.email} is the last active admin. Make somebody else admin first.", code="last_admin")


def set_password(session: Session, user: User, password: str, *, actor: str) -> None:
    """Set a user's password and end every session."""
    user.password_hash = passwords.hash_password(password)
    end_sessions(session, user)
    session.flush()
    audit_log.record(session, "accounts:user:set_password", actor=actor, target=_user_target(user))


def change_password(session: Session, user: User, password: str, *, current_secret: str) -> None:
    """Change the user's own password; end links and all sessions but the one with `current_secret`. Raises `Invalid` at `new`."""
    user.password_hash = passwords.hash_password(password, "new")
    other_sessions = (UserSession.user_id == user.id, UserSession.digest != tokens.digest_of(current_secret))
    session.execute(delete(UserSession).where(*other_sessions))
    end_links(session, user)
    session.flush()
    audit_log.record(session, "accounts:user:set_password", actor=user.email, target=_user_target(user))


def list_sessions(session: Session, user_id: int, *, now: datetime) -> Sequence[UserSession]:
    """Return a user's valid sessions, newest first."""
    valid = (
        UserSession.user_id == user_id,
        UserSession.expires_at > now,
        UserSession.last_seen_at > now - SESSION_IDLE_TIMEOUT,
        UserSession.code_tries_left.is_(None),
    )
    return session.execute(select(UserSession).where(*valid).order_by(UserSession.id.desc())).scalars().all()


def end_own_session(session: Session, user_id: int, session_id: int, *, actor: str) -> None:
    """End one session of this user. Raises `NotFound` even for another user's session, so that it is not revealed."""
    row = session.get(UserSession, session_id) if 0 < session_id <= MAX_ID else None
    if row is None or row.user_id != user_id:
        raise NotFound("That sign-in has ended already.")
    user = session.get_one(User, user_id)
    session.delete(row)
    audit_log.record(session, "accounts:session:end", actor=actor, target=_user_target(user))


def end_sessions(session: Session, user: User) -> None:
    session.execute(delete(UserSession).where(UserSession.user_id == user.id))


def end_links(session: Session, user: User | None) -> None:
    """End this user's links, or those for the first admin if `user` is None."""
    session.execute(delete(OneTimeLink).where(OneTimeLink.user_id.is_(None) if user is None else OneTimeLink.user_id == user.id))


def make_link(session: Session, user: User | None, *, actor: str, now: datetime) -> str:
    """Return the secret of a one-time link, valid for 30 minutes, for this user or for the first admin. Earlier links no longer work.

    Raises `Invalid` for a disabled user, because enabling a user is a separate action.
    """
    if user is not None and not find_for_update(session, user.id).is_active:
        raise Invalid(f"{user.email} may not sign in. Let the user in first.")
    end_links(session, user)
    secret = tokens.new_secret()
    session.add(OneTimeLink(digest=tokens.digest_of(secret), user_id=user.id if user else None, expires_at=now + LINK_LIFETIME))
    audit_log.record(session, "accounts:user:make_link", actor=actor, target=_user_target(user) if user else FIRST_ADMIN)
    return secret


def find_link(session: Session, secret: str, *, now: datetime) -> OneTimeLink:
    """Return the link with this secret. Raises `NotFound` if it is unknown, used or expired, or if its user is disabled.

    The user is locked first, in the same order as in `set_active`, which prevents a deadlock and a race between the two.
    """
    by_digest = OneTimeLink.digest == tokens.digest_of(secret)
    is_active = session.execute(select(User.is_active).join(OneTimeLink).where(by_digest).with_for_update(of=User)).scalar_one_or_none()
    link = session.execute(
        select(OneTimeLink).where(by_digest).with_for_update().execution_options(populate_existing=True)
    ).scalar_one_or_none()
    if link is None or link.used_at is not None or link.expires_at <= now or is_active is False:
        raise NotFound("This link was used already or is older than 30 minutes. Ask for a new one.", code="link_expired")
    return link


def use_link(session: Session, secret: str, *, email: str, password: str, now: datetime) -> User:
    """Set the password of the link's user, or create the first admin. The link is used up only if that succeeds."""
    link = find_link(session, secret, now=now)
    if link.user_id is None:
        if count(session):
            raise NotFound("The first admin exists already. Sign in, or ask an admin for a link.", code="link_expired")
        user = create(session, email, "admin", actor="set-up link", password=password)
    else:
        user = session.get_one(User, link.user_id)
        set_password(session, user, password, actor=user.email)
    link.used_at = now
    return user


def has_password(session: Session, user_id: int) -> bool:
    return session.execute(select(User.id).where(User.id == user_id, User.password_hash.is_not(None))).scalar_one_or_none() is not None


def authenticate(session: Session, email: str, password: str) -> User | None:
    """Return the active user with this address and password. An unknown address takes as long as a wrong password."""
    query = select(User).where(User.email == normalize_email(email)).options(undefer(User.password_hash))
    user = session.execute(query).scalar_one_or_none() if "\0" not in email else None  # PostgreSQL rejects a NUL character.
    is_correct = passwords.verify(user.password_hash if user else None, password)
    return user if user is not None and is_correct and user.is_active else None


def get_by_password_hash_or_none(session: Session, user_id: int, stored: str | None) -> User | None:
    """Return the active user, locked, if their hash is still `stored`. The password was checked before this transaction."""
    unchanged = (User.id == user_id, User.password_hash == stored, User.is_active)
    query = select(User).where(*unchanged).with_for_update().execution_options(populate_existing=True)
    return session.execute(query).scalar_one_or_none()


def renew_hash(session: Session, user_id: int, before: str, renewed: str) -> None:
    """Store the same password at the current hashing cost, unless another password was set in the meantime.

    The password itself does not change, so there is no audit event. The update bypasses the session, which would require one.
    """
    unchanged = (User.id == user_id, User.password_hash == before)
    session.connection().execute(update(User).where(*unchanged).values(password_hash=renewed, updated_at=User.updated_at))


def method_audit_values(method: str | None) -> dict[str, object] | None:
    """Return the audit values of an authentication method; None for a password."""
    return {"method": "OpenID Connect" if method == OPENID else method} if method else None


def begin_session(session: Session, user: User, *, now: datetime, method: str | None = None) -> str:
    """Start a session and return the secret for its cookie. Expired sessions are deleted."""
    secret = tokens.new_secret()
    session.execute(delete(UserSession).where(UserSession.expires_at <= now))
    session.add(
        UserSession(
            digest=tokens.digest_of(secret),
            user_id=user.id,
            expires_at=now + SESSION_LIFETIME,
            last_seen_at=now,
            confirmed_at=now,
            method=method,
        )
    )
    user.last_login_at = now
    audit_log.record(
        session,
        "accounts:session:begin",
        actor=user.email,
        target=_user_target(user),
        change=AuditChange(None, method_audit_values(method)),
    )
    return secret


def get_session_or_none(session: Session, secret: str, *, now: datetime) -> tuple[UserSession, User] | None:
    """Return the session with this secret and its user if both are valid. A session that waits for its code is not."""
    query = select(UserSession, User).join(User).where(UserSession.digest == tokens.digest_of(secret))
    match = session.execute(query).one_or_none()
    if match is None:
        return None
    row, user = match
    if row.code_tries_left is not None or row.expires_at <= now or row.last_seen_at <= now - SESSION_IDLE_TIMEOUT or not user.is_active:
        return None
    return row, user


def end_session(session: Session, secret: str, *, now: datetime) -> None:
    """Sign out. A session that had ended, or that waited for its code, gets no audit event."""
    match = get_session_or_none(session, secret, now=now)
    session.execute(delete(UserSession).where(UserSession.digest == tokens.digest_of(secret)))
    if match is not None:
        _, user = match
        audit_log.record(session, "accounts:session:sign_out", actor=user.email, target=_user_target(user))


def _user_target(user: User) -> Target:
    return Target("user", user.id, user.email)


def _user_audit_values(user: User) -> dict[str, object]:
    return {"email": user.email, "role": user.role, "active": user.is_active}
