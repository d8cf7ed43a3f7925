"""Fast path: usual requests to `GET /models/{ref}` and `POST /cost`, served before Flask, which takes longer than the response itself.

Token, permission, parsing and encoding come from the same functions as in the Flask views. Any unusual request (a query, an unknown name,
any denial) goes to Flask with its body restored, so that no decision or message exists twice.
"""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from werkzeug.sansio.utils import host_is_trusted

from webapp.api.v1.catalog.registry_views import utc_now
from webapp.api.v1.core.encoded_registry import EncodedRegistry, encode_registry
from webapp.api.v1.core.json_body import MAX_BYTES, parse_decimal, parse_json_object
from webapp.api.v1.pricing.costs import calculate_cost
from webapp.domain.accounts.permissions import Permission, scopes_allow
from webapp.domain.shared.errors import ModeldeskError
from webapp.observability.request_id import new_request_id, request_id
from webapp.runtime.container import Container
from webapp.web.access_log import ROUTE
from webapp.web.auth import token_from_header
from webapp.web.headers import API_HEADERS

MODELS_PATH, COST_PATH = "/api/v1/models/", "/api/v1/cost"
MODEL_ROUTE = f"{MODELS_PATH}<path:ref>"
CONTENT_LENGTH = re.compile(r"[0-9]{1,7}", re.ASCII)
MAX_HOSTS = 1_000
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class FastResponse(NamedTuple):
    """The response to send. `etag` is None if there is none."""

    status: str
    body: bytes
    etag: str | None


class FastPath:
    """WSGI middleware in front of the application."""

    def __init__(self, application: Wsgi, container: Container, trusted_hosts: Sequence[str]) -> None:
        self._application, self._container, self._trusted_hosts = application, container, list(trusted_hosts)
        self._known_hosts: set[str] = set()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        responder = _responder(environ)
        if responder is None or environ.get("QUERY_STRING") or not self._is_trusted_host(environ):
            return self._application(environ, start_response)
        state = self._authorized_registry(environ)
        response = responder(state, environ) if state else None
        if state is None or response is None:
            return self._application(environ, start_response)
        request_id.set(new_request_id())
        environ[ROUTE] = COST_PATH if responder is _respond_cost else MODEL_ROUTE
        start_response(response.status, _response_headers(state, response))
        return [response.body]

    def _is_trusted_host(self, environ: Environ) -> bool:
        """Return whether the request names a host that is served here. Trusted hosts are cached."""
        host = environ.get("HTTP_HOST", "")
        if host in self._known_hosts:
            return True
        if not host_is_trusted(host, self._trusted_hosts):
            return False
        if len(self._known_hosts) < MAX_HOSTS:
            self._known_hosts.add(host)
        return True

    def _authorized_registry(self, environ: Environ) -> EncodedRegistry | None:
        """Return the current registry if the request's token can read it, else None."""
        self._container.refresher.ensure_running()
        state = encode_registry(self._container.registry)
        token = token_from_header(environ.get("HTTP_AUTHORIZATION", ""), state.snapshot.tokens)
        return state.project_view(token.project) if token is not None and scopes_allow(token.scopes, Permission.REGISTRY_READ) else None


def _responder(environ: Environ) -> Callable[[EncodedRegistry, Environ], FastResponse | None] | None:
    """Return the function that responds to this request, or None if it is not one of the two."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    if method == "GET" and path.startswith(MODELS_PATH):
        return _respond_model
    return _respond_cost if method == "POST" and path == COST_PATH else None


def _respond_model(state: EncodedRegistry, environ: Environ) -> FastResponse | None:
    model = state.snapshot.by_name.get(environ["PATH_INFO"][len(MODELS_PATH) :])
    if_none_match, etag = environ.get("HTTP_IF_NONE_MATCH"), f'"{state.tag}"'
    if model is None or (if_none_match is not None and if_none_match != etag):
        return None
    return FastResponse("200 OK", state.encode_model(model), etag) if if_none_match is None else FastResponse("304 NOT MODIFIED", b"", etag)


def _respond_cost(state: EncodedRegistry, environ: Environ) -> FastResponse | None:
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("CONTENT_TYPE") != "application/json" or CONTENT_LENGTH.fullmatch(length) is None or int(length) > MAX_BYTES:
        return None
    body = environ["wsgi.input"].read(int(length))
    try:
        return FastResponse(
            "200 OK", state.encode_cost(calculate_cost(state, parse_json_object(body, parse_decimal), utc_now())).encode(), None
        )
    except ModeldeskError:
        environ["wsgi.input"] = io.BytesIO(body)  # Flask reads it again and writes the error response.
        return None


def _response_headers(state: EncodedRegistry, response: FastResponse) -> list[tuple[str, str]]:
    headers = [*state.snapshot.headers.items(), *API_HEADERS.items(), ("X-Request-Id", request_id.get())]
    if response.etag is not None:
        headers.append(("ETag", response.etag))
    if response.body:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(response.body)))]
    return headers
