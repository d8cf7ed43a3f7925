"""Step-up authentication for sensitive actions after ten minutes, and second-factor enrollment for roles that require it."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Flask, Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from webapp.runtime import container
from webapp.services.accounts import sign_ins
from webapp.web.auth import get_member_or_none, is_safe_path

# The only blueprints available to users who must enroll a second factor first.
EXEMPT_BLUEPRINTS = frozenset({"account", "signing", "openid", "second_factor", "health"})


class ReauthenticationRequired(Exception):
    """The user must confirm their identity again. Not a `ModeldeskError`, so that no page catches it and shows a message instead."""


def require_recent_authentication() -> None:
    """Raise `ReauthenticationRequired` unless this session was confirmed within ten minutes."""
    member = get_member_or_none()
    if member is None or not sign_ins.is_recently_confirmed(member.confirmed_at, datetime.now(UTC)):
        raise ReauthenticationRequired


def on_reauthentication_required(_: ReauthenticationRequired) -> ResponseReturnValue:
    """Redirect to the confirmation page, with the page of the form as return URL. The input stays in the browser's history."""
    target = url_for("signing.confirm", next=_return_url())
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    if request.method != "GET":
        flash("Nothing was changed yet. Confirm who you are, then send it again.", "warning")
    return redirect(target)


def _return_url() -> str:
    """Return the requested page for a GET, or the page that contains the form if it is on this site."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    referrer = urlsplit(request.headers.get("HX-Current-URL") or request.referrer or "")
    path = f"{referrer.path}?{referrer.query}" if referrer.query else referrer.path
    return path if referrer.netloc == request.host and is_safe_path(path) else "/admin/"


def requires_enrollment() -> bool:
    """Return whether the user's role requires a second factor that is not enrolled yet."""
    roles = container.settings().second_factor_roles
    member = get_member_or_none() if roles else None
    return member is not None and member.role in roles and not member.has_factor


def redirect_to_enrollment() -> ResponseReturnValue | None:
    endpoint = request.endpoint or ""
    if (
        request.path.startswith("/api/")
        or endpoint.endswith("static")
        or request.blueprint in EXEMPT_BLUEPRINTS
        or not requires_enrollment()
    ):
        return None
    target = url_for("second_factor.index")
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target)


def init_app(app: Flask) -> None:
    app.before_request(redirect_to_enrollment)
    app.register_error_handler(ReauthenticationRequired, on_reauthentication_required)
