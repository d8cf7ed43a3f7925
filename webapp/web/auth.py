"""Authentication of staff by server-side sessions and of applications by bearer tokens. Views declare the permissions they require."""

import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

from flask import Response, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import UserMixin, current_user
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.accounts.permissions import Permission, role_allows
from webapp.domain.catalog.entities import TokenInfo
from webapp.domain.shared.errors import Forbidden, Unavailable
from webapp.extensions import db, login
from webapp.models import User, UserSession
from webapp.runtime import container
from webapp.runtime.transaction import translate_database_error, writing
from webapp.security import tokens
from webapp.services.accounts import accounts
from webapp.services.credentials.key_access import Caller

log = logging.getLogger(__name__)
SESSION_SECRET = "session"
# Minimum time between two writes of `last_seen_at`. Otherwise each click would take the write lock of the database.
LAST_SEEN_INTERVAL = timedelta(minutes=1)
View = TypeVar("View", bound=Callable[..., Any])


class StaffMember(UserMixin):
    """A signed-in user as plain values that stay valid for the whole request."""

    def __init__(self, user: User, confirmed_at: datetime | None = None) -> None:
        self.id, self.email, self.role = user.id, user.email, user.role
        self.has_factor, self.confirmed_at = user.totp_since is not None, confirmed_at

    def can(self, permission: Permission) -> bool:
        return role_allows(self.role, permission)


def load_user(secret: str) -> StaffMember | None:
    """Return the user of a session. Role and state are read on every request, so that changes apply immediately."""
    now = datetime.now(UTC)
    if g.get("nobody_can_be_loaded"):
        return None  # The error page loads the user again.
    try:
        match = accounts.get_session_or_none(db.session(), secret, now=now)
    except SQLAlchemyError as error:
        g.nobody_can_be_loaded = True
        raise translate_database_error(error) from error
    if match is None:
        return None
    row, user = match
    member = StaffMember(user, row.confirmed_at)
    if now - row.last_seen_at > LAST_SEEN_INTERVAL:
        _update_last_seen(row.id, now)
    return member


def _update_last_seen(session_id: int, now: datetime) -> None:
    try:
        with writing(refresh=False) as writer:
            writer.execute(update(UserSession).where(UserSession.id == session_id).values(last_seen_at=now))
    except Unavailable as error:
        if container.current().registry.outage_log.should_log():
            log.warning("a session could not be marked as seen: %s", error.code)  # A busy writer must not fail a read.


login.user_loader(load_user)


class SessionTicket(UserMixin):
    """Identity that Flask-Login stores in the signed cookie: the secret of a session row, not a user id."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def get_id(self) -> str:
        return self.secret


def get_member_or_none() -> StaffMember | None:
    """Return the signed-in user, or None."""
    user: Any = current_user
    return user if user.is_authenticated else None


def require_member() -> StaffMember:
    """Return the signed-in user, for views that require one. Raises `Forbidden` without a session."""
    member = get_member_or_none()
    if member is None:
        raise Forbidden("Sign in first.")
    return member


def caller() -> Caller:
    """Return the sender of this request, for the choice of provider keys: a user, or the project of a token."""
    if token := g.get("token"):
        return Caller(project=token.project)
    member = get_member_or_none()
    return Caller(member.email if member else None)


def has_permission(permission: Permission) -> bool:
    member = get_member_or_none()
    return member is not None and member.can(permission)


def permission_required(permission: Permission) -> Callable[[View], View]:
    """Declare the permission that a view requires. Anonymous users are redirected to the sign-in page, others get 403."""

    def declare(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            member = get_member_or_none()
            if member is None:
                return redirect_to_login()
            if not member.can(permission):
                raise Forbidden(f"Your role, {member.role}, may not do this. Ask an admin.")
            return view(*args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined] # read by the test that visits all routes
        return guarded  # type: ignore[return-value] # wraps keeps the signature

    return declare


def redirect_to_login() -> ResponseReturnValue:
    """Redirect to the sign-in page, with the return URL. For a fragment, htmx is instructed to load the whole page."""
    target = url_for("account.login", next=request.full_path.rstrip("?") if request.method == "GET" else "/admin/")
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target)


login.unauthorized_handler(redirect_to_login)


def session_secret() -> str:
    """Return the session secret from the browser's cookie, or an empty string."""
    return str(session.get("_user_id", ""))


def sign_out() -> None:
    """End the session in the database, so that a copied cookie is useless."""
    secret = session_secret()
    session.clear()
    if secret:
        with writing(refresh=False) as writer:
            accounts.end_session(writer, secret, now=datetime.now(UTC))


BEARER = re.compile(r"Bearer ([!-~]+)", re.ASCII)


def token_from_request() -> TokenInfo | None:
    """Return the token of the `Authorization: Bearer` header, or None. Tokens are read from no other place."""
    return token_from_header(request.headers.get("Authorization", ""), container.registry().snapshot.tokens)


def token_from_header(header: str, known_tokens: Mapping[str, TokenInfo]) -> TokenInfo | None:
    """Return the token in an Authorization header, or None unless it is known, its digest matches and it has not expired."""
    match = BEARER.fullmatch(header)
    public_id = tokens.public_id_of(match[1]) if match else None
    token = known_tokens.get(public_id) if public_id else None
    if match is None or token is None or not tokens.digests_match(token.digest, tokens.digest_of(match[1])):
        return None
    if token.expires_at is not None and token.expires_at <= datetime.now(UTC):
        return None
    return token


def actor() -> str:
    """Return the name of the sender for the audit log."""
    if token := g.get("token"):
        return f"token:{token.name}"
    member = get_member_or_none()
    return member.email if member else "anonymous"


def is_safe_path(target: str | None) -> bool:
    """Return whether a `next` value stays in this application: one slash, then no second slash, backslash or control character."""
    return bool(target) and re.fullmatch(r"/(?![/\\])[^\x00-\x20\\\x7f]*", target or "") is not None
