"""Sign-in and sign-out, and the links that set a password."""

import logging
from datetime import UTC, datetime, timedelta

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.shared.errors import Conflict, Invalid, NotFound, TooManyConcurrentCalls, Unavailable
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
        return _login_page(WRONG_CREDENTIALS), 422  # The input is not checked, so it does not count as a guess.
    attempt, now = _login_attempt(email), datetime.now(UTC)
    wait = _register_attempt(attempt, email, now)
    if wait is not None:
        return _throttled_response(wait)
    try:
        ticket = _authenticate(attempt, email, password, now)
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


def _authenticate(attempt: login_throttle.Attempt, email: str, password: str, now: datetime) -> sign_ins.Ticket | None:
    """Return a ticket if the password is correct, otherwise None.

    Hashing takes a tenth of a second on purpose. It runs outside the transaction, so that no other writer waits for it.

    A correct password is checked again if the stored hash changed in the meantime, because a concurrent sign-in can renew the hash.
    """
    for _ in range(2):
        user = accounts.authenticate(db.session(), email, password)
        if user is None or not _can_use_password(user):
            return None
        if ticket := _issue_ticket(user, password, attempt, now):
            return ticket
    return None


def _issue_ticket(candidate: User, password: str, attempt: login_throttle.Attempt, now: datetime) -> sign_ins.Ticket | None:
    """Issue the ticket in a transaction. Returns None if the hash changed or the user was disabled during the check."""
    user_id, stored_hash = candidate.id, candidate.password_hash
    new_hash = passwords.rehash_or_none(stored_hash, password)
    with writing(refresh=False) as writer:
        user = accounts.get_by_password_hash_or_none(writer, user_id, stored_hash)
        if user is None:
            return None
        if stored_hash is not None and new_hash is not None:
            accounts.renew_hash(writer, user_id, stored_hash, new_hash)
        ticket = sign_ins.begin_sign_in(writer, user, now=now, previous_secret=session_secret())
        login_throttle.forget(writer, attempt)
        return ticket


def _redirect_to_code(secret: str, target: str) -> ResponseReturnValue:
    await_second_factor(secret)
    return redirect(url_for("signing.code", next=target))


def _can_use_password(user: User) -> bool:
    """Return whether the user can sign in with a password.

    With passwords switched off, admins can still use theirs if the identity provider is down.
    """
    return container.settings().password_sign_in or user.role == "admin"


def _login_attempt(email: str) -> login_throttle.Attempt:
    """Build the attempt for the throttle. The address is normalized as in the lookup, so every spelling has the same count."""
    account = accounts.normalize_email(email)
    return login_throttle.Attempt(account, request.remote_addr or "", known_browsers.get_browser_id_or_none(account))


def _register_attempt(attempt: login_throttle.Attempt, email: str, now: datetime) -> timedelta | None:
    """Register an attempt. Returns the time to wait if it is throttled, otherwise None.

    The attempt that exhausts the limit is audited in the same transaction.
    """
    with writing(refresh=False) as writer:
        wait = login_throttle.register(writer, attempt, now)
        if wait is None and login_throttle.should_audit(writer, attempt, now):
            sign_ins.record_exhausted_attempts(writer, email)
        return wait


def _throttled_response(wait: timedelta) -> ResponseReturnValue:
    """Return the same response for known and unknown addresses."""
    log.warning("a sign-in from %s was not looked at: too many attempts", request.remote_addr)
    message = f"Too many attempts. Try again in {format_minutes(wait)}, or in a browser in which you signed in before."
    return _login_page(message), 429, retry_after_header(wait)


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
    except (SQLAlchemyError, Unavailable):
        db.session.rollback()
        return False  # The page works without the database; the sign-in reports the error.


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
    email, password, repeated = (request.form.get(name, "") for name in ("email", "password", "password_again"))
    now = datetime.now(UTC)
    user_id = accounts.find_link(db.session(), secret, now=now).user_id
    try:
        if password != repeated:
            raise Invalid.field("password_again", "is not the same as the password above")
        with writing(refresh=False) as writer:
            user = accounts.use_link(writer, secret, email=email, password=password, now=now)
            account_email = user.email
            ticket = sign_ins.begin_sign_in(writer, user, now=now, previous_secret=session_secret())
    except (Invalid, Conflict) as error:
        return _setup_page(secret, user_id, {field_error.field: field_error.message for field_error in error.errors}), 422
    if ticket.needs_code:  # The link does not prove possession of the second factor.
        return _redirect_to_code(ticket.secret, HOME)
    start_session(ticket.secret)
    return known_browsers.remember(redirect(HOME), account_email)


@blueprint.get("/setup")
def setup_without_link() -> ResponseReturnValue:
    return render_template("pages/setup.html", expired=True), 404


def _setup_page(secret: str, user_id: int | None, errors: dict[str, str] | None = None) -> str:
    user = db.session.get(User, user_id) if user_id else None
    email = request.form.get("email", "")[:254]
    return render_template("pages/setup.html", token=secret, email=user.email if user else None, typed_email=email, errors=errors or {})
