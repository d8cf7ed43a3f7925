"""Signing in and out, and the links that set a first or a new password."""

import logging
from datetime import UTC, datetime, timedelta

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.shared.errors import Conflict, DatabaseUnreachable, Invalid, NotFound, TooManyConcurrentCalls
from webapp.extensions import db
from webapp.models import User
from webapp.pages.step_up import format_minutes, retry_after_header
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import passwords
from webapp.services.accounts import accounts, login_throttle, sign_ins
from webapp.web import known_browsers
from webapp.web.auth import get_member_or_none, session_secret, sign_out
from webapp.web.login_flow import HOME, MAX_FIELD_LENGTH, await_second_factor, next_page, start_session

log = logging.getLogger(__name__)
blueprint = Blueprint("account", __name__)
WRONG_CREDENTIALS = "The e-mail address or the password is wrong, or the account is switched off."


@blueprint.get("/")
def root() -> ResponseReturnValue:
    return redirect(HOME)


@blueprint.get("/login")
def login() -> ResponseReturnValue:
    if get_member_or_none():
        return redirect(next_page())
    return _login_page()


@blueprint.post("/login")
def sign_in() -> ResponseReturnValue:
    email, password = request.form.get("email", ""), request.form.get("password", "")
    if max(len(email), len(password)) >= MAX_FIELD_LENGTH:
        return _login_page(WRONG_CREDENTIALS), 422  # Nothing is looked at, so nothing is guessed.
    guess, now = _login_attempt(email), datetime.now(UTC)
    wait = _register_attempt(guess, email, now)
    if wait is not None:
        return _throttled_response(wait)
    try:
        ticket = _authenticate(guess, email, password, now)
    except TooManyConcurrentCalls as error:
        return _login_page(error.detail), error.status, {"Retry-After": str(error.retry_after)}
    if ticket is None:
        log.warning("a sign-in from %s was refused", request.remote_addr)
        return _login_page(WRONG_CREDENTIALS), 422
    target = next_page()
    if ticket.needs_code:
        return _redirect_to_code(ticket.secret, target)
    start_session(ticket.secret)
    return known_browsers.remember(redirect(target), accounts.normalize_email(email))


def _authenticate(guess: login_throttle.Attempt, email: str, password: str, now: datetime) -> sign_ins.Ticket | None:
    """The way in for whoever has the right password. Checking it takes a tenth of a second on purpose: no other writer has to wait for it.

    A right one is checked once more if another hash was stored meanwhile: a sign-in at the same moment may have renewed it.
    """
    for _ in range(2):
        user = accounts.authenticate(db.session(), email, password)
        if user is None or not _can_use_password(user):
            return None
        if ticket := _issue_ticket(user, password, guess, now):
            return ticket
    return None


def _issue_ticket(checked: User, password: str, guess: login_throttle.Attempt, now: datetime) -> sign_ins.Ticket | None:
    """The same inside a transaction; None where another hash was stored, or the person switched off, while the password was checked."""
    user_id, stored = checked.id, checked.password_hash
    renewed = passwords.rehash_or_none(stored, password)
    with writing(refresh=False) as writer:
        user = accounts.get_by_password_hash_or_none(writer, user_id, stored)
        if user is None:
            return None
        if stored is not None and renewed is not None:
            accounts.renew_hash(writer, user_id, stored, renewed)
        ticket = sign_ins.begin_sign_in(writer, user, now=now, previous_secret=session_secret())
        login_throttle.forget(writer, guess)
        return ticket


def _redirect_to_code(secret: str, target: str) -> ResponseReturnValue:
    await_second_factor(secret)
    return redirect(url_for("signing.code", next=target))


def _can_use_password(user: User) -> bool:
    """With passwords switched off they are the admins' way in for the day the identity provider is away."""
    return container.settings().password_sign_in or user.role == "admin"


def _login_attempt(email: str) -> login_throttle.Attempt:
    """One function folds the name for the count and for the look-up, so that no spelling of it is counted apart."""
    account = accounts.normalize_email(email)
    return login_throttle.Attempt(account, request.remote_addr or "", known_browsers.get_browser_id_or_none(account))


def _register_attempt(guess: login_throttle.Attempt, email: str, now: datetime) -> timedelta | None:
    """How long to wait; None for whoever may try. The last guess for a while has a line in the trail, in the same transaction."""
    with writing(refresh=False) as writer:
        wait = login_throttle.register(writer, guess, now)
        if wait is None and login_throttle.should_audit(writer, guess, now):
            sign_ins.record_exhausted_attempts(writer, email)
        return wait


def _throttled_response(wait: timedelta) -> ResponseReturnValue:
    """The same words for an address that exists and one that does not."""
    log.warning("a sign-in from %s was not looked at: too many attempts", request.remote_addr)
    said = f"Too many attempts. Try again in {format_minutes(wait)}, or in a browser in which you signed in before."
    return _login_page(said), 429, retry_after_header(wait)


def _login_page(error: str | None = None) -> str:
    settings = container.settings()
    return render_template(
        "pages/login.html",
        error=error,
        email=request.form.get("email", "")[:254],
        next_url=request.values.get("next", ""),
        openid=settings.openid.name if settings.openid else None,
        password_first=settings.password_sign_in,
        nobody_yet=_has_no_users(),
    )


def _has_no_users() -> bool:
    try:
        return accounts.count(db.session()) == 0
    except (SQLAlchemyError, DatabaseUnreachable):
        db.session.rollback()
        return False  # The page opens while the database is away; whoever signs in is told.


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    sign_out()
    return redirect(url_for("account.login"))


@blueprint.get("/setup/<secret>")
def setup(secret: str) -> ResponseReturnValue:
    try:
        link = accounts.find_link(db.session(), secret, now=datetime.now(UTC))
    except NotFound:
        return render_template("pages/setup.html", expired=True), 404
    return _setup_page(secret, link.user_id)


@blueprint.post("/setup/<secret>")
def use_link(secret: str) -> ResponseReturnValue:
    email, password, again = (request.form.get(name, "") for name in ("email", "password", "password_again"))
    now = datetime.now(UTC)
    user_id = accounts.find_link(db.session(), secret, now=now).user_id
    try:
        if password != again:
            raise Invalid.field("password_again", "is not the same as the password above")
        with writing(refresh=False) as writer:
            user = accounts.use_link(writer, secret, email=email, password=password, now=now)
            account = user.email
            ticket = sign_ins.begin_sign_in(writer, user, now=now, previous_secret=session_secret())
    except (Invalid, Conflict) as error:
        return _setup_page(secret, user_id, {found.field: found.message for found in error.errors}), 422
    if ticket.needs_code:  # Whoever reads the link has not yet shown the device.
        return _redirect_to_code(ticket.secret, HOME)
    start_session(ticket.secret)
    return known_browsers.remember(redirect(HOME), account)


@blueprint.get("/setup")
def setup_without_link() -> ResponseReturnValue:
    return render_template("pages/setup.html", expired=True), 404


def _setup_page(secret: str, user_id: int | None, errors: dict[str, str] | None = None) -> str:
    known = db.session.get(User, user_id) if user_id else None
    typed = request.form.get("email", "")[:254]
    return render_template("pages/setup.html", token=secret, email=known.email if known else None, typed_email=typed, errors=errors or {})
