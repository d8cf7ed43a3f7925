"""Renewed proof: what is dangerous asks who it is if that was proved more than ten minutes ago; roles may have to have a second factor."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Flask, Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from webapp.runtime import container
from webapp.services.accounts import sign_ins
from webapp.web.auth import get_member_or_none, is_safe_path

# Where whoever still has to set up a second factor may be: there, at the door, and nowhere else.
EXEMPT_BLUEPRINTS = frozenset({"account", "signing", "openid", "second_factor", "health"})


class ReauthenticationRequired(Exception):
    """Somebody is signed in and has to prove it again. No error of ours: no page may turn it into a message and go on."""


def require_recent_authentication() -> None:
    """Raises `ReauthenticationRequired` unless this session was confirmed within ten minutes."""
    found = get_member_or_none()
    if found is None or not sign_ins.is_recently_confirmed(found.confirmed_at, datetime.now(UTC)):
        raise ReauthenticationRequired


def on_reauthentication_required(_: ReauthenticationRequired) -> ResponseReturnValue:
    """To the page that asks, and back to where the form stood. What was typed is in the browser's history."""
    target = url_for("signing.confirm", next=_return_url())
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    if request.method != "GET":
        flash("Nothing was changed yet. Confirm who you are, then send it again.", "warning")
    return redirect(target)


def _return_url() -> str:
    """The page of a GET; of a form the page that it stood on, if that is one of ours."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    came_from = urlsplit(request.headers.get("HX-Current-URL") or request.referrer or "")
    path = f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path
    return path if came_from.netloc == request.host and is_safe_path(path) else "/admin/"


def requires_enrollment() -> bool:
    """Whether this visitor's role asks for a second factor that is not there yet."""
    roles = container.settings().second_factor_roles
    found = get_member_or_none() if roles else None
    return found is not None and found.role in roles and not found.has_factor


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
