"""Sign-in and step-up authentication through the identity provider: the redirect to it, and the single-use callback."""

import hashlib
import hmac
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_user

from webapp.domain.accounts.openid import Challenge, IdentityClaims, OpenId, TokenRefused, is_authenticated_since, parse_claims
from webapp.domain.shared.errors import Conflict, Forbidden, Invalid, ModeldeskError
from webapp.drivers.core.base import DriverError
from webapp.observability.request_id import request_id
from webapp.pages.step_up import format_minutes, retry_after_header
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import tokens
from webapp.services.accounts import identities, login_throttle, sign_ins
from webapp.services.accounts.accounts import OPENID
from webapp.services.accounts.identities import PendingAuthorization
from webapp.services.accounts.login_throttle import Attempt
from webapp.web import known_browsers
from webapp.web.auth import SessionTicket, StaffMember, get_member_or_none, is_safe_path, redirect_to_login, session_secret
from webapp.web.login_flow import HOME, await_second_factor, next_page, start_session

if TYPE_CHECKING:
    from webapp.drivers.identity_provider.client import IdentityProvider

log = logging.getLogger(__name__)
blueprint = Blueprint("openid", __name__)
SESSION_KEY = "openid"
CALLBACK_TIMEOUT = timedelta(minutes=10)
MAX_CODE = 4_000


@blueprint.get("/login/openid")
def begin() -> ResponseReturnValue:
    """Start a sign-in. The redirects are plain GETs, because `form-action 'self'` blocks forms that redirect to another host.

    Nothing is stored in the database yet.
    """
    return redirect(next_page()) if get_member_or_none() else _redirect_to_provider(confirming=False)


@blueprint.get("/confirm/openid")
def confirm() -> ResponseReturnValue:
    member = get_member_or_none()
    if member is None:
        return redirect_to_login()
    return redirect(url_for("signing.confirm", next=next_page())) if member.has_factor else _redirect_to_provider(confirming=True)


def _redirect_to_provider(*, confirming: bool) -> ResponseReturnValue:
    provider = container.identity_provider()
    if provider is None:
        return redirect(url_for("account.login"))
    secret = tokens.new_secret()
    try:
        target = provider.authorization_url(_derive_challenge(secret), fresh=confirming)
    except DriverError as error:
        return _on_driver_error(error)
        # The value is signed and stays in this browser. Everything sent to the provider derives from the secret, which is never sent.
    session[SESSION_KEY] = {"secret": secret, "at": int(datetime.now(UTC).timestamp()), "confirming": confirming, "next": next_page()}
    return redirect(target)


def _derive_challenge(secret: str) -> Challenge:
    state, nonce, verifier = (hmac.new(secret.encode(), part, hashlib.sha256).hexdigest() for part in (b"state", b"nonce", b"verifier"))
    return Challenge(state, nonce, verifier)


@blueprint.get(container.OPENID_CALLBACK_PATH)
def callback() -> ResponseReturnValue:
    settings, provider, stored = container.settings().openid, container.identity_provider(), session.pop(SESSION_KEY, None)
    if settings is None or provider is None:
        return redirect(url_for("account.login"))
    if not isinstance(stored, dict) or not _is_matching_callback(str(stored["secret"]), settings):
        return _failure_page("stale", 400)
    began_at, now = datetime.fromtimestamp(int(stored["at"]), UTC), datetime.now(UTC)
    pending = PendingAuthorization(str(stored["secret"]), began_at + CALLBACK_TIMEOUT)
    try:
        wait = _consume_state(pending, now)
    except Conflict:
        return _failure_page("stale", 400)
    if wait is not None:
        return *_failure_page("throttled", 429, wait=format_minutes(wait)), retry_after_header(wait)
    if request.args.get("error"):
        return _on_provider_refusal(request.args["error"])
    try:
        return _handle_callback(settings, provider, stored, began_at)
    except (DriverError, TokenRefused, Forbidden, Invalid, Conflict) as error:
        return _on_error(error)


def _handle_callback(settings: OpenId, provider: "IdentityProvider", stored: dict[str, object], began_at: datetime) -> ResponseReturnValue:
    """Complete the callback. The provider is called outside any transaction, so that only this sign-in waits for it."""
    claims = provider.fetch_claims(request.args.get("code", "")[:MAX_CODE], _derive_challenge(str(stored["secret"])))
    identity, target = parse_claims(claims, settings.role_claim), str(stored["next"])
    target = target if is_safe_path(target) else HOME
    return _reauthenticate(identity, settings, began_at, target) if stored["confirming"] else _sign_in(identity, settings, target)


def _is_matching_callback(secret: str, settings: OpenId) -> bool:
    """Return whether the response belongs to the request of this browser, and comes from its issuer (RFC 9207)."""
    is_same_state = hmac.compare_digest(
        request.args.get("state", "").encode("utf-8", "surrogatepass"), _derive_challenge(secret).state.encode()
    )
    return is_same_state and request.args.get("iss", settings.issuer) == settings.issuer


def _consume_state(pending: PendingAuthorization, now: datetime) -> timedelta | None:
    """Mark the state as used. Returns the time to wait if the attempt is throttled, otherwise None.

    Attempts count like password guesses, per address and in total, because each one makes the server call the provider.
    """
    with writing(refresh=False) as writer:
        wait = login_throttle.register(writer, Attempt(pending.secret, request.remote_addr or "", kind=OPENID), now)
        if wait is None:
            identities.consume_authorization(writer, pending, now=now)
        return wait


def _sign_in(identity: IdentityClaims, settings: OpenId, target: str) -> ResponseReturnValue:
    """Sign in as after a correct password. A second factor in Modeldesk is still required."""
    now = datetime.now(UTC)
    with writing(refresh=False) as writer:
        user = identities.resolve_user(writer, identity, settings)
        email = user.email
        ticket = sign_ins.begin_sign_in(writer, user, now=now, previous_secret=session_secret(), method=OPENID)
    if ticket.needs_code:
        await_second_factor(ticket.secret)
        return redirect(url_for("signing.code", next=target))
    start_session(ticket.secret)
    return known_browsers.remember(redirect(target), email)


def _reauthenticate(identity: IdentityClaims, settings: OpenId, began_at: datetime, target: str) -> ResponseReturnValue:
    """Renew the session of the same person, if the provider authenticated them after the request began.

    An older session at the provider proves nothing.
    """
    member, now = get_member_or_none(), datetime.now(UTC)
    if member is None:
        return redirect_to_login()
    if member.has_factor:
        return redirect(url_for("signing.confirm", next=target))
    with writing(refresh=False) as writer:
        if not identities.is_linked_to(writer, identity, settings.issuer, member.id):
            raise Forbidden("Somebody else signed in there.", code="somebody_else")
        if not is_authenticated_since(identity, began_at, now):
            raise Forbidden("The provider did not ask anew, or does not say when it did.", code="not_asked")
        new = sign_ins.renew_session(writer, session_secret(), now=now, method=OPENID)
    if new is None:
        return redirect_to_login()
    login_user(SessionTicket(new))
    return redirect(target)


# Failures. Each one leads to a page that states the next step.


def _on_error(error: ModeldeskError) -> ResponseReturnValue:
    if isinstance(error, DriverError):
        return _on_driver_error(error)
    return _on_token_refused(error) if isinstance(error, TokenRefused) else _on_account_refused(error)


def _on_driver_error(error: DriverError) -> ResponseReturnValue:
    detail = "it does not accept MODELDESK_OIDC_CLIENT_ID and MODELDESK_OIDC_CLIENT_SECRET" if error.kind == "auth" else error.detail
    log.warning("the identity provider could not be asked: %s: %s", error.kind, detail)
    # HTTP 400 means that the code was used or has expired. The provider itself works.
    return _failure_page("stale", 400) if error.http_status == 400 else _failure_page("provider", 502)


def _on_token_refused(error: TokenRefused) -> ResponseReturnValue:
    log.warning("a token of the identity provider was refused: %s", error.code)
    return _failure_page("token", 403)


def _on_provider_refusal(error: str) -> ResponseReturnValue:
    known_error = (
        error if error in ("access_denied", "login_required", "server_error", "temporarily_unavailable", "invalid_scope") else "other"
    )
    log.warning("the identity provider sent somebody back: %s", known_error)
    return _failure_page("denied", 403) if known_error == "access_denied" else _failure_page("provider", 502)


def _on_account_refused(error: ModeldeskError) -> ResponseReturnValue:
    """Show the failure page. Only failures that concern the provider have their own text.

    Unknown accounts, disabled accounts and accounts of other people look the same.
    """
    log.warning("somebody came from the identity provider and was kept out: %s", error.code)
    return _failure_page(error.code if error.code in ("unverified", "somebody_else", "not_asked") else "unknown", 403)


def _failure_page(reason: str, status: int, **more: str) -> tuple[str, int]:
    member: StaffMember | None = get_member_or_none()
    page = render_template(
        "pages/openid_failed.html", reason=reason, name=_provider_name(), signed_in=member is not None, request_id=request_id.get(), **more
    )
    return page, status


def _provider_name() -> str:
    settings = container.settings().openid
    return settings.name if settings else ""
