"""Request ids, body limits, and the guards that run before every view."""

from urllib.parse import urlsplit

import flask
from flask import Flask, Request, Response, request
from flask.sessions import NullSession, SecureCookieSession, SecureCookieSessionInterface

from webapp.domain.shared.errors import Forbidden
from webapp.observability.request_id import new_request_id, request_id
from webapp.runtime import container
from webapp.web.access_log import ROUTE

# The revision of this browser's last change. A worker with an older snapshot refreshes first, so that users always see their own
# changes.
REVISION_COOKIE = "modeldesk_revision"
API_PREFIX = "/api/"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_SITE_VALUES = (None, "same-origin", "none")  # "none" means that the user entered the address.
MAX_CONTENT_LENGTH = 1_000_000  # Bytes.
# Paths with larger body limits: two public catalogs of at most 20 MB each, or one export of at most 10 MB.
MAX_CONTENT_LENGTHS = {"/admin/proposals/new": 45_000_000, "/admin/exchange/compare": 11_000_000, "/api/v1/admin/import": 10_100_000}
NO_SESSION = NullSession()


def max_body_bytes(method: str, path: str) -> int:
    """Return the largest body of an address. The server and Flask apply the same limit."""
    return MAX_CONTENT_LENGTHS.get(path, MAX_CONTENT_LENGTH) if method == "POST" else MAX_CONTENT_LENGTH


class ModeldeskRequest(flask.Request):
    """A request with a body limit per path, because imported catalogs are larger than all other requests."""

    @property
    def max_content_length(self) -> int | None:
        return max_body_bytes(self.method, self.path)

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        flask.Request.max_content_length.fset(self, value)  # type: ignore[attr-defined] # it is a property in the base class


class PageSessions(SecureCookieSessionInterface):
    """Sessions for pages only. The API ignores cookies, and reading one would take as long as the response."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return NO_SESSION if request.path.startswith(API_PREFIX) else super().open_session(app, request)


def assign_request_id() -> None:
    """Set a new request id. Runs before all guards, because the thread still has the id of its previous request."""
    request_id.set(new_request_id())
    if request.url_rule is not None:
        request.environ[ROUTE] = request.url_rule.rule


def prepare_request() -> None:
    if request.path.startswith(API_PREFIX):
        return
    if request.method not in SAFE_METHODS:
        require_same_site()
    revision = request.cookies.get(REVISION_COOKIE, "")
    if revision.isascii() and revision.isdigit() and len(revision) < 16 and int(revision) > container.registry().snapshot.revision:
        container.current().registry.refresh()


def require_same_site() -> None:
    """Reject forms from other sites, by the headers that browsers send. Raises `Forbidden`.

    Other clients send no such headers, but they need the CSRF token too.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    own_hosts = [urlsplit(address).netloc for address in (request.host_url, container.settings().base_url)]
    if site not in SAME_SITE_VALUES or (origin is not None and urlsplit(origin).netloc not in own_hosts):
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
