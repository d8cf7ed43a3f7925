"""The one-time code after the password, and step-up authentication before sensitive actions."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_user

from webapp.domain.shared.errors import KeysLocked
from webapp.extensions import db
from webapp.models import User
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, identities, login_throttle, second_factor, sign_ins
from webapp.services.accounts.login_throttle import Attempt
from webapp.services.accounts.sign_ins import SubmittedCode
from webapp.web import known_browsers
from webapp.web.auth import SessionTicket, StaffMember, get_member_or_none, redirect_to_login, session_secret
from webapp.web.login_flow import MAX_FIELD_LENGTH, next_page, start_session

blueprint = Blueprint("signing", __name__)
WRONG_CODE = "That code is wrong or was used already. Wait for the next one, or use a recovery code."
WRONG_PASSWORD = "That is not your password."


@blueprint.get("/login/code")
def code() -> ResponseReturnValue:
    if get_member_or_none():
        return redirect(next_page())
    pending = sign_ins.get_pending_or_none(db.session(), _pending_secret(), now=datetime.now(UTC))
    return _code_page() if pending else redirect(url_for("account.login"))


@blueprint.post("/login/code")
def use_code() -> ResponseReturnValue:
    submitted, now = SubmittedCode(request.form.get("code", ""), request.remote_addr or ""), datetime.now(UTC)
    try:
        with writing(refresh=False) as writer:
            result = sign_ins.complete(writer, _pending_secret(), submitted, vault=container.vault(), now=now)
    except KeysLocked as error:  # The code was not checked, so it does not count as a guess.
        return _code_page(error.detail), error.status
    if result.secret is not None:
        target = next_page()
        start_session(result.secret)
        return known_browsers.remember(redirect(target), accounts.normalize_email(result.email))
    if result.ended:
        session.clear()
        flash("The password was given too long ago, or too many codes were wrong. Begin anew.", "error")
        return redirect(url_for("account.login", next=next_page()))
    if result.wait is not None:
        return (_code_page(f"Too many codes. Try again in {format_minutes(result.wait)}."), 429, retry_after_header(result.wait))
    return _code_page(WRONG_CODE), 422


def _pending_secret() -> str:
    return str(session.get("waiting", ""))


def _code_page(error: str | None = None) -> str:
    return render_template("pages/code.html", error=error, next_url=request.values.get("next", ""))


@blueprint.get("/confirm")
def confirm() -> ResponseReturnValue:
    member = get_member_or_none()
    return _confirm_page(member) if member else redirect_to_login()


@blueprint.post("/confirm")
def use_proof() -> ResponseReturnValue:
    """Verify the step-up proof: a one-time code if the user has a second factor, otherwise the password."""
    member, now = get_member_or_none(), datetime.now(UTC)
    if member is None:
        return redirect_to_login()
    attempt = Attempt(session_secret(), request.remote_addr or "", kind="session")
    with writing(refresh=False) as writer:
        wait = login_throttle.register(writer, attempt, now)
    if wait is not None:
        return _confirm_page(member, f"Too many attempts. Try again in {format_minutes(wait)}."), 429, retry_after_header(wait)
    try:
        secret = _reauthenticate_by_code(member, now) if member.has_factor else _reauthenticate_by_password(member, now)
    except KeysLocked as error:
        return _confirm_page(member, error.detail), error.status
    if secret is None:
        return _confirm_page(member, WRONG_CODE if member.has_factor else WRONG_PASSWORD), 422
    login_user(SessionTicket(secret))  # The rest of the browser session stays, so forms in other tabs keep valid CSRF tokens.
    return redirect(next_page())


def _reauthenticate_by_code(member: StaffMember, now: datetime) -> str | None:
    with writing(refresh=False) as writer:
        user = writer.get_one(User, member.id)
        kind = second_factor.verify_code(writer, user, request.form.get("code", ""), vault=container.vault(), now=now)
        return sign_ins.renew_session(writer, session_secret(), now=now) if kind is not None else None


def _reauthenticate_by_password(member: StaffMember, now: datetime) -> str | None:
    password = request.form.get("password", "")[:MAX_FIELD_LENGTH]
    if accounts.authenticate(db.session(), member.email, password) is None:
        return None
    with writing(refresh=False) as writer:
        return sign_ins.renew_session(writer, session_secret(), now=now)


def _confirm_page(member: StaffMember, error: str | None = None) -> str:
    return render_template(
        "pages/confirm.html",
        error=error,
        next_url=request.values.get("next", ""),
        email=member.email,
        by_code=member.has_factor,
        by_password=accounts.has_password(db.session(), member.id),
        openid=_linked_provider_name(member),
        minutes=int(sign_ins.CONFIRMATION_LIFETIME.total_seconds() // 60),
    )


def _linked_provider_name(member: StaffMember) -> str | None:
    """Return the identity provider's name if the user is linked to it and has no second factor here."""
    settings = container.settings().openid
    is_linked = (
        settings is not None
        and not member.has_factor
        and identities.get_identity_or_none(db.session(), member.id, settings.issuer) is not None
    )
    return settings.name if settings is not None and is_linked else None


def format_minutes(wait: timedelta) -> str:
    minutes = max(1, -(-int(wait.total_seconds()) // 60))
    return f"{minutes} minute{'s' if minutes != 1 else ''}"


def retry_after_header(wait: timedelta) -> dict[str, str]:
    return {"Retry-After": str(int(wait.total_seconds()) + 1)}
