"""Where a sign-in leads, and how it begins in the browser."""

from flask import request, session
from flask_login import login_user

from webapp.web.auth import SessionTicket, is_safe_path

HOME = "/admin/"
MAX_FIELD_LENGTH = 1_000


def next_page() -> str:
    """The page that somebody came from, if it is one of this site."""
    target = request.values.get("next")
    return target if target is not None and is_safe_path(target) else HOME


def start_session(secret: str) -> None:
    """Nothing from before signing in lives on in the session."""
    session.clear()
    login_user(SessionTicket(secret))


def await_second_factor(secret: str) -> None:
    """The password was right; the session begins with the code."""
    session.clear()
    session["waiting"] = secret
