"""Browsers in which somebody has signed in before: a signed cookie, worth nothing but a count of guesses of its own."""

import hashlib
import secrets
from typing import TypeVar

from flask import current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response

from webapp.runtime import container

COOKIE_LIFETIME_S = 180 * 24 * 3600
R = TypeVar("R", bound=Response)


def cookie_name() -> str:
    """The name of the cookie; over TLS no sibling domain can set one of this name."""
    return "__Host-modeldesk-device" if container.is_served_over_tls() else "modeldesk_device"


def get_browser_id_or_none(account: str) -> str | None:
    """The number of this browser, if this very account signed in here before."""
    try:
        found = _serializer().loads(request.cookies.get(cookie_name(), "")[:500], max_age=COOKIE_LIFETIME_S)
    except BadData:
        return None
    whose, number = found if isinstance(found, list) and len(found) == 2 else (None, None)
    return str(number) if whose == _digest(account) else None


def remember(response: R, account: str) -> R:
    """To be called only once this person is in: by a password, a link or the identity provider, and past the second factor."""
    text = _serializer().dumps([_digest(account), get_browser_id_or_none(account) or secrets.token_hex(8)])
    response.set_cookie(
        cookie_name(), text, max_age=COOKIE_LIFETIME_S, httponly=True, samesite="Lax", secure=container.is_served_over_tls()
    )
    return response


def _digest(account: str) -> str:
    return hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="modeldesk-device")
