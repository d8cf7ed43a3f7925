"""Headers that every answer carries: what a browser may load, and that nobody keeps what staff see."""

from flask import Flask, Response, request

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Tabler's check marks are data: pictures.
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
API_ALWAYS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "Vary": "Authorization"}


def protect(response: Response) -> Response:
    """Adds the headers. Under /api/ there is nothing for a browser to run, and answers may be kept if they are asked about again."""
    if request.path.startswith("/api/") and response.mimetype != "text/html":
        for name, value in API_ALWAYS.items():
            response.headers.setdefault(name, value)
        return response
    for name, value in ALWAYS.items():
        response.headers[name] = value
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
        response.vary.update(("Cookie", "HX-Request"))
    return response


def init_app(app: Flask) -> None:
    app.after_request(protect)
