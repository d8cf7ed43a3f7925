"""Security headers of every response: content security policy, and no caching of pages for staff."""

import secrets

from flask import Flask, Response, g, request

from webapp.runtime import container

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'nonce-{nonce}'",  # Only scripts with the nonce, not even other files of this host.
        "style-src 'self'",
        "img-src 'self' data:",  # Tabler's check marks are data: images.
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        "require-trusted-types-for 'script'",  # Only the policy in static/js/trusted.js creates markup, and never scripts.
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
    """Return the CSP nonce of this response."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def add_security_headers(response: Response) -> Response:
    """Add the security headers. API responses contain nothing to execute, and clients can cache them if they revalidate."""
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
