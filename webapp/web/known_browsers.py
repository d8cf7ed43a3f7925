"""Signed cookies that mark browsers with an earlier sign-in. Such a browser only gets its own count of failed attempts."""

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
    """Return the name of the cookie. Over TLS, the `__Host-` prefix prevents sibling domains from setting it."""
    return "__Host-modeldesk-device" if container.is_served_over_tls() else "modeldesk_device"


def get_browser_id_or_none(account: str) -> str | None:
    """Return the id of this browser if the account signed in here before, otherwise None."""
    try:
        payload = _serializer().loads(request.cookies.get(cookie_name(), "")[:500], max_age=COOKIE_LIFETIME_S)
    except BadData:
        return None
    digest, browser_id = payload if isinstance(payload, list) and len(payload) == 2 else (None, None)
    return str(browser_id) if digest == _digest(account) else None


def remember(response: R, account: str) -> R:
    """Set the cookie. Call it only after a complete sign-in: password, link or identity provider, and the second factor if required."""
    text = _serializer().dumps([_digest(account), get_browser_id_or_none(account) or secrets.token_hex(8)])
    response.set_cookie(
        cookie_name(), text, max_age=COOKIE_LIFETIME_S, httponly=True, samesite="Lax", secure=container.is_served_over_tls()
    )
    return response


def _digest(account: str) -> str:
    return hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="modeldesk-device")
