"""Signing in and out, and the links that set a first or a new password."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_user

from webapp.domain.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.models import User
from webapp.services import accounts, throttle
from webapp.web import devices
from webapp.web.auth import SessionTicket, is_safe_path, sign_out, visitor
from webapp.web.transaction import writing

blueprint = Blueprint("account", __name__)
HOME = "/admin/"
MAX_FIELD = 1_000


@blueprint.get("/")
def root() -> ResponseReturnValue:
    return redirect(HOME)


@blueprint.get("/login")
def login() -> ResponseReturnValue:
    if visitor():
        return redirect(_next())
    return _login_page()


@blueprint.post("/login")
def sign_in() -> ResponseReturnValue:
    email, password = request.form.get("email", ""), request.form.get("password", "")
    secret, guess, now = None, _guess(email), datetime.now(UTC)
    with writing(refresh=False) as writer:
        wait = throttle.admit(writer, guess, now)
    if wait is not None:
        return _throttled(wait)
    # Checking a password takes a tenth of a second on purpose: no other writer has to wait for it.
    user = accounts.authenticate(db.session(), email, password) if max(len(email), len(password)) < MAX_FIELD else None
    if user is not None:
        with writing(refresh=False) as writer:
            secret = accounts.begin_session(writer, writer.get_one(User, user.id), now=now)
            throttle.forget(writer, guess)
    if secret is None:
        return _login_page("The e-mail address or the password is wrong, or the account is switched off."), 422
    target = _next()
    _enter(secret)
    return devices.remember(redirect(target), accounts.normalised(email))


def _guess(email: str) -> throttle.Guess:
    """One function folds the name for the count and for the look-up, so that no spelling of it is counted apart."""
    account = accounts.normalised(email[:MAX_FIELD])
    return throttle.Guess(account, request.remote_addr or "", devices.known(account))


def _throttled(wait: timedelta) -> ResponseReturnValue:
    """The same words for an address that exists and one that does not."""
    minutes = max(1, -(-int(wait.total_seconds()) // 60))
    when = f"{minutes} minute{'s' if minutes != 1 else ''}"
    said = f"Too many attempts. Try again in {when}, or in a browser in which you signed in before."
    return _login_page(said), 429, {"Retry-After": str(int(wait.total_seconds()) + 1)}


def _login_page(error: str | None = None) -> str:
    return render_template("login.html", error=error, email=request.form.get("email", "")[:254], next_url=request.values.get("next", ""))


def _enter(secret: str) -> None:
    """Nothing from before signing in lives on in the session."""
    session.clear()
    login_user(SessionTicket(secret))


def _next() -> str:
    target = request.values.get("next")
    return target if target is not None and is_safe_path(target) else HOME


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    sign_out()
    return redirect(url_for("account.login"))


@blueprint.get("/setup/<secret>")
def setup(secret: str) -> ResponseReturnValue:
    try:
        link = accounts.open_link(db.session(), secret, now=datetime.now(UTC))
    except NotFound:
        return render_template("setup.html", expired=True), 404
    return _setup_page(secret, link.user_id)


@blueprint.post("/setup/<secret>")
def use_link(secret: str) -> ResponseReturnValue:
    email, password, again = (request.form.get(name, "") for name in ("email", "password", "password_again"))
    now = datetime.now(UTC)
    user_id = accounts.open_link(db.session(), secret, now=now).user_id
    try:
        if password != again:
            raise Invalid.field("password_again", "is not the same as the password above")
        with writing(refresh=False) as writer:
            user = accounts.use_link(writer, secret, email=email, password=password, now=now)
            ticket = accounts.begin_session(writer, user, now=now)
    except (Invalid, Conflict) as error:
        return _setup_page(secret, user_id, {found.field: found.message for found in error.errors}), 422
    _enter(ticket)
    return redirect(HOME)


@blueprint.get("/setup")
def setup_without_link() -> ResponseReturnValue:
    return render_template("setup.html", expired=True), 404


def _setup_page(secret: str, user_id: int | None, errors: dict[str, str] | None = None) -> str:
    known = db.session.get(User, user_id) if user_id else None
    typed = request.form.get("email", "")[:254]
    return render_template("setup.html", token=secret, email=known.email if known else None, typed_email=typed, errors=errors or {})
