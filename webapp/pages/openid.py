"""Signing in, and confirming who one is, through the identity provider: out to it, and back once."""

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
from webapp.pages.step_up import in_minutes, retry_after
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import tokens
from webapp.services.accounts import identities, login_throttle, sign_ins
from webapp.services.accounts.accounts import OPENID
from webapp.services.accounts.identities import WayBack
from webapp.services.accounts.login_throttle import Guess
from webapp.web import known_browsers
from webapp.web.auth import SessionTicket, StaffMember, is_safe_path, session_secret, to_login, visitor
from webapp.web.login_flow import HOME, enter, next_page, wait_for_code

if TYPE_CHECKING:
    from webapp.drivers.identity_provider.client import IdentityProvider

log = logging.getLogger(__name__)
blueprint = Blueprint("openid", __name__)
COOKIE_ENTRY = "openid"
BACK_WITHIN = timedelta(minutes=10)
MAX_CODE = 4_000


@blueprint.get("/login/openid")
def begin() -> ResponseReturnValue:
    """Plain GETs lead out: a form that is redirected to another host would be stopped by `form-action 'self'`. Nothing is written yet."""
    return redirect(next_page()) if visitor() else _leave(confirming=False)


@blueprint.get("/confirm/openid")
def confirm() -> ResponseReturnValue:
    found = visitor()
    if found is None:
        return to_login()
    return redirect(url_for("signing.confirm", next=next_page())) if found.has_factor else _leave(confirming=True)


def _leave(*, confirming: bool) -> ResponseReturnValue:
    provider = container.identity_provider()
    if provider is None:
        return redirect(url_for("account.login"))
    secret = tokens.new_secret()
    try:
        target = provider.authorization_url(_challenge(secret), fresh=confirming)
    except DriverError as error:
        return _provider_failed(error)
    # Signed, and only in this browser. All that is sent along follows from the secret, which itself is not sent.
    session[COOKIE_ENTRY] = {"secret": secret, "at": int(datetime.now(UTC).timestamp()), "confirming": confirming, "next": next_page()}
    return redirect(target)


def _challenge(secret: str) -> Challenge:
    state, nonce, verifier = (hmac.new(secret.encode(), part, hashlib.sha256).hexdigest() for part in (b"state", b"nonce", b"verifier"))
    return Challenge(state, nonce, verifier)


@blueprint.get(container.WAY_BACK)
def callback() -> ResponseReturnValue:
    settings, provider, kept = container.settings().openid, container.identity_provider(), session.pop(COOKIE_ENTRY, None)
    if settings is None or provider is None:
        return redirect(url_for("account.login"))
    if not isinstance(kept, dict) or not _is_ours(str(kept["secret"]), settings):
        return _failed("stale", 400)
    begun, now = datetime.fromtimestamp(int(kept["at"]), UTC), datetime.now(UTC)
    way = WayBack(str(kept["secret"]), begun + BACK_WITHIN)
    try:
        wait = _spend(way, now)
    except Conflict:
        return _failed("stale", 400)
    if wait is not None:
        return *_failed("throttled", 429, wait=in_minutes(wait)), retry_after(wait)
    if request.args.get("error"):
        return _refused_there(request.args["error"])
    try:
        return _answered(settings, provider, kept, begun)
    except (DriverError, TokenRefused, Forbidden, Invalid, Conflict) as error:
        return _went_wrong(error)


def _answered(settings: OpenId, provider: "IdentityProvider", kept: dict[str, object], begun: datetime) -> ResponseReturnValue:
    """The provider is asked outside of any transaction: nobody waits for it but whoever signs in."""
    claims = provider.claims(request.args.get("code", "")[:MAX_CODE], _challenge(str(kept["secret"])))
    person, target = parse_claims(claims, settings.role_claim), str(kept["next"])
    target = target if is_safe_path(target) else HOME
    return _confirmed(person, settings, begun, target) if kept["confirming"] else _entered(person, settings, target)


def _is_ours(secret: str, settings: OpenId) -> bool:
    """Whether this answer belongs to the question that this browser was sent with; and (RFC 9207) comes from whom it was put to."""
    same = hmac.compare_digest(request.args.get("state", "").encode("utf-8", "surrogatepass"), _challenge(secret).state.encode())
    return same and request.args.get("iss", settings.issuer) == settings.issuer


def _spend(way: WayBack, now: datetime) -> timedelta | None:
    """Counted like guesses of passwords, by address and in all, because each makes us ask the provider."""
    with writing(refresh=False) as writer:
        wait = login_throttle.admit(writer, Guess(way.secret, request.remote_addr or "", kind=OPENID), now)
        if wait is None:
            identities.spend(writer, way, now=now)
        return wait


def _entered(person: IdentityClaims, settings: OpenId, target: str) -> ResponseReturnValue:
    """As after the right password: a second factor of ours is asked for all the same."""
    now = datetime.now(UTC)
    with writing(refresh=False) as writer:
        user = identities.user_of(writer, person, settings)
        account = user.email
        ticket = sign_ins.enter(writer, user, now=now, instead_of=session_secret(), method=OPENID)
    if ticket.needs_code:
        wait_for_code(ticket.secret)
        return redirect(url_for("signing.code", next=target))
    enter(ticket.secret)
    return known_browsers.remember(redirect(target), account)


def _confirmed(person: IdentityClaims, settings: OpenId, begun: datetime, target: str) -> ResponseReturnValue:
    """Only the same person, and only if the provider asked just now; a session there from this morning proves nothing."""
    found, now = visitor(), datetime.now(UTC)
    if found is None:
        return to_login()
    if found.has_factor:
        return redirect(url_for("signing.confirm", next=target))
    with writing(refresh=False) as writer:
        if not identities.belongs_to(writer, person, settings.issuer, found.id):
            raise Forbidden("Somebody else signed in there.", code="somebody_else")
        if not is_authenticated_since(person, begun, now):
            raise Forbidden("The provider did not ask anew, or does not say when it did.", code="not_asked")
        new = sign_ins.renew(writer, session_secret(), now=now, method=OPENID)
    if new is None:
        return to_login()
    login_user(SessionTicket(new))
    return redirect(target)


# Why it did not work: each leads to a page that says what to do next.


def _went_wrong(error: ModeldeskError) -> ResponseReturnValue:
    if isinstance(error, DriverError):
        return _provider_failed(error)
    return _not_accepted(error) if isinstance(error, TokenRefused) else _kept_out(error)


def _provider_failed(error: DriverError) -> ResponseReturnValue:
    detail = "it does not accept MODELDESK_OIDC_CLIENT_ID and MODELDESK_OIDC_CLIENT_SECRET" if error.kind == "auth" else error.detail
    log.warning("the identity provider could not be asked: %s: %s", error.kind, detail)
    # A refused code is one that was used or is too old: the provider is well.
    return _failed("stale", 400) if error.http_status == 400 else _failed("provider", 502)


def _not_accepted(error: TokenRefused) -> ResponseReturnValue:
    log.warning("a token of the identity provider was refused: %s", error.code)
    return _failed("token", 403)


def _refused_there(error: str) -> ResponseReturnValue:
    known = error if error in ("access_denied", "login_required", "server_error", "temporarily_unavailable", "invalid_scope") else "other"
    log.warning("the identity provider sent somebody back: %s", known)
    return _failed("denied", 403) if known == "access_denied" else _failed("provider", 502)


def _kept_out(error: ModeldeskError) -> ResponseReturnValue:
    """Unknown, switched off and somebody else's account read alike; what only concerns the provider is said."""
    log.warning("somebody came from the identity provider and was kept out: %s", error.code)
    return _failed(error.code if error.code in ("unverified", "somebody_else", "not_asked") else "unknown", 403)


def _failed(reason: str, status: int, **more: str) -> tuple[str, int]:
    found: StaffMember | None = visitor()
    page = render_template(
        "pages/openid_failed.html", reason=reason, name=_name(), signed_in=found is not None, request_id=request_id.get(), **more
    )
    return page, status


def _name() -> str:
    settings = container.settings().openid
    return settings.name if settings else ""
