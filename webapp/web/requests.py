"""Each request's id, and the guards that stand before every view."""

from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import flask
from flask import Flask, Request, Response, request
from flask.sessions import NullSession, SecureCookieSession, SecureCookieSessionInterface

from webapp.domain.shared.errors import Forbidden
from webapp.observability.request_id import new_request_id, request_id
from webapp.runtime import container
from webapp.web.access_log import ROUTE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The revision that this browser has changed the registry to. Another worker that has not got there yet catches up before it answers,
# so that people always see their own changes.
REVISION_COOKIE = "modeldesk_revision"
API_PREFIX = "/api/"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_SITE_VALUES = (None, "same-origin", "none")  # "none" is somebody typing an address.
# What takes more than other requests, in bytes: two public catalogues of at most 20 MB, or one file of ours of at most 10 MB.
MAX_CONTENT_LENGTHS = {"/admin/proposals/new": 45_000_000, "/admin/exchange/compare": 11_000_000, "/api/v1/admin/import": 10_100_000}
NO_SESSION = NullSession()


class ChunkedBody:
    """A body that is sent in pieces. Each server has errors of its own for pieces that make no sense; to us they all mean a broken line."""

    def __init__(self, given: IO[bytes]) -> None:
        self._given = given

    def read(self, size: int = -1) -> bytes:
        try:
            return self._given.read(size)
        except Exception as error:
            raise OSError("the body broke off, or its pieces make no sense") from error  # Which werkzeug answers with 400.


class ModeldeskRequest(flask.Request):
    """A request with the limit of its page: public catalogues are larger than anything else that is sent."""

    def __init__(self, environ: "WSGIEnvironment", *options: Any, **more: Any) -> None:
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = ChunkedBody(environ["wsgi.input"])
        super().__init__(environ, *options, **more)

    @property
    def max_content_length(self) -> int | None:
        return MAX_CONTENT_LENGTHS.get(self.path, super().max_content_length) if self.method == "POST" else super().max_content_length

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        flask.Request.max_content_length.fset(self, value)  # type: ignore[attr-defined] # it is a property there


class PageSessions(SecureCookieSessionInterface):
    """Sessions for pages. Under /api/ there are none: cookies open nothing there, and reading one would cost as much as the answer."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return NO_SESSION if request.path.startswith(API_PREFIX) else super().open_session(app, request)


def assign_request_id() -> None:
    """Before anything may refuse the request: a thread that answers many still holds the number of the one before."""
    request_id.set(new_request_id())
    if request.url_rule is not None:
        request.environ[ROUTE] = request.url_rule.rule


def prepare_request() -> None:
    if request.path.startswith(API_PREFIX):
        return
    if request.method not in SAFE_METHODS:
        require_same_site()
    seen = request.cookies.get(REVISION_COOKIE, "")
    if seen.isascii() and seen.isdigit() and len(seen) < 16 and int(seen) > container.registry().snapshot.revision:
        container.current().registry.refresh()


def require_same_site() -> None:
    """What a browser says of where a form comes from. Programs say nothing and need the token all the same. Raises `Forbidden`."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    ours = [urlsplit(address).netloc for address in (request.host_url, container.settings().base_url)]
    if site not in SAME_SITE_VALUES or (origin is not None and urlsplit(origin).netloc not in ours):
        raise Forbidden("This form was sent by another site. Open the page here and send it again.", code="other_site")


def finish_request(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id.get()
    if request.method != "GET" and not request.path.startswith(API_PREFIX):
        revision = str(container.registry().snapshot.revision)
        response.set_cookie(REVISION_COOKIE, revision, max_age=60, httponly=True, samesite="Lax", secure=container.is_served_over_tls())
    return response


def init_app(app: Flask) -> None:
    app.request_class = ModeldeskRequest
    app.session_interface = PageSessions()
    app.before_request(prepare_request)
    app.after_request(finish_request)
