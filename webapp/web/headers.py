"""Headers that every answer carries: what a browser may load, and that nobody keeps what staff see."""

import secrets

from flask import Flask, Response, g, request

from webapp.runtime import container

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'nonce-{nonce}'",  # Only the scripts that a page of ours names; not even another file of this host.
        "style-src 'self'",
        "img-src 'self' data:",  # Tabler's check marks are data: pictures.
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        "require-trusted-types-for 'script'",  # Text becomes markup through one policy only, and a script never: static/js/trusted.js.
        "trusted-types default",
    )
)
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
API_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "Vary": "Authorization"}


def csp_nonce() -> str:
    """The word that the scripts of this answer carry; another one for each answer."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def add_security_headers(response: Response) -> Response:
    """Adds the headers. Under /api/ there is nothing for a browser to run, and answers may be kept if they are asked about again."""
    if request.path.startswith("/api/") and response.mimetype != "text/html":
        for name, value in API_HEADERS.items():
            response.headers.setdefault(name, value)
        return response
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(nonce=csp_nonce())
    for name, value in PAGE_HEADERS.items():
        response.headers[name] = value
    if container.is_served_over_tls():
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
        response.vary.update(("Cookie", "HX-Request"))
    return response


def init_app(app: Flask) -> None:
    app.after_request(add_security_headers)
    app.jinja_env.globals["csp_nonce"] = csp_nonce
