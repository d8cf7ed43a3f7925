"""Who is asking: staff by a server-side session, applications by a bearer token. Nobody may anything that is not declared."""

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
# Written at most this often: each write would otherwise lock the database once a click.
LAST_SEEN_INTERVAL = timedelta(minutes=1)
View = TypeVar("View", bound=Callable[..., Any])


class StaffMember(UserMixin):
    """A signed-in user as plain values, good for the whole request."""

    def __init__(self, user: User, confirmed_at: datetime | None = None) -> None:
        self.id, self.email, self.role = user.id, user.email, user.role
        self.has_factor, self.confirmed_at = user.totp_since is not None, confirmed_at

    def can(self, permission: Permission) -> bool:
        return role_allows(self.role, permission)


def load_user(secret: str) -> StaffMember | None:
    """The member of staff whose session this is. Role and state are read anew each time, so that a change acts at once."""
    now = datetime.now(UTC)
    if g.get("nobody_can_be_loaded"):
        return None  # The page that tells of the error asks again who it is for.
    try:
        found = accounts.get_session_or_none(db.session(), secret, now=now)
    except SQLAlchemyError as error:
        g.nobody_can_be_loaded = True
        raise translate_database_error(error) from error
    if found is None:
        return None
    row, user = found
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
            log.warning("a session could not be marked as seen: %s", error.code)  # Reading goes on while others write.


login.user_loader(load_user)


class SessionTicket(UserMixin):
    """What Flask-Login puts into the signed cookie: the secret of a session row, not a user's number."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def get_id(self) -> str:
        return self.secret


def get_member_or_none() -> StaffMember | None:
    """The member of staff who is signed in, if anybody is."""
    found: Any = current_user
    return found if found.is_authenticated else None


def require_member() -> StaffMember:
    """The signed-in member of staff, behind a door that let nobody else in."""
    found = get_member_or_none()
    if found is None:
        raise Forbidden("Sign in first.")
    return found


def caller() -> Caller:
    """The sender of this request as far as provider keys go: a member of staff, or the project of a token."""
    if token := g.get("token"):
        return Caller(project=token.project)
    member = get_member_or_none()
    return Caller(member.email if member else None)


def has_permission(permission: Permission) -> bool:
    found = get_member_or_none()
    return found is not None and found.can(permission)


def permission_required(permission: Permission) -> Callable[[View], View]:
    """Declares what a page needs. Strangers are sent to the log-in page and back, others without the permission get a 403."""

    def declare(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            found = get_member_or_none()
            if found is None:
                return redirect_to_login()
            if not found.can(permission):
                raise Forbidden(f"Your role, {found.role}, may not do this. Ask an admin.")
            return view(*args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined] # read by the test that walks all routes
        return guarded  # type: ignore[return-value] # wraps keeps the signature

    return declare


def redirect_to_login() -> ResponseReturnValue:
    """To the log-in page, with the way back. A fragment asks htmx to load the whole page."""
    target = url_for("account.login", next=request.full_path.rstrip("?") if request.method == "GET" else "/admin/")
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target)


login.unauthorized_handler(redirect_to_login)


def session_secret() -> str:
    """The secret in this browser's cookie."""
    return str(session.get("_user_id", ""))


def sign_out() -> None:
    """Ends the session's row, so that a copied cookie is worth nothing."""
    secret = session_secret()
    session.clear()
    if secret:
        with writing(refresh=False) as writer:
            accounts.end_session(writer, secret, now=datetime.now(UTC))


BEARER = re.compile(r"Bearer ([!-~]+)", re.ASCII)


def token_from_request() -> TokenInfo | None:
    """The token in `Authorization: Bearer`, and nowhere else; None unless it is known, whole and not expired."""
    return token_from_header(request.headers.get("Authorization", ""), container.registry().snapshot.tokens)


def token_from_header(header: str, known: Mapping[str, TokenInfo]) -> TokenInfo | None:
    """The one of these tokens that an Authorization header holds."""
    match = BEARER.fullmatch(header)
    public_id = tokens.public_id_of(match[1]) if match else None
    found = known.get(public_id) if public_id else None
    if match is None or found is None or not tokens.digests_match(found.digest, tokens.digest_of(match[1])):
        return None
    if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
        return None
    return found


def actor() -> str:
    """Who is to be named in the audit trail."""
    if token := g.get("token"):
        return f"token:{token.name}"
    found = get_member_or_none()
    return found.email if found else "anonymous"


def is_safe_path(target: str | None) -> bool:
    """Whether a `next` leads into this application: one slash, then no backslash, no control character, no second slash."""
    return bool(target) and re.fullmatch(r"/(?![/\\])[^\x00-\x20\\\x7f]*", target or "") is not None
