"""Redirect targets and browser sessions of a sign-in."""

from flask import request, session
from flask_login import login_user

from webapp.web.auth import SessionTicket, is_safe_path

HOME = "/admin/"
MAX_FIELD_LENGTH = 1_000


def next_page() -> str:
    """Return the `next` page if it is on this site, otherwise the start page."""
    target = request.values.get("next")
    return target if target is not None and is_safe_path(target) else HOME


def start_session(secret: str) -> None:
    """Start a session. The old session data is cleared first, to prevent session fixation."""
    session.clear()
    login_user(SessionTicket(secret))


def await_second_factor(secret: str) -> None:
    """Store the pending sign-in after a correct password. The session starts with the one-time code."""
    session.clear()
    session["waiting"] = secret
