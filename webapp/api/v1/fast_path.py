"""The hot path: `GET /models/{ref}` and `POST /cost`, asked as usual, are answered before Flask is, which takes longer than the answer.

Token, permission, body and bodies' bytes come from the same functions as behind the door. Whatever is not quite as usual (a query,
an unknown name, a refusal of any kind) goes on to Flask with its body put back, so that nothing is decided or worded twice.
"""

import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from werkzeug.sansio.utils import host_is_trusted

from webapp.api.v1.catalog.registry_views import utc_now
from webapp.api.v1.core.encoded_registry import EncodedRegistry, encode_registry
from webapp.api.v1.core.json_body import MAX_BYTES, parse_json_object
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
    """What is to be sent. The ETag is None where there is none."""

    status: str
    body: bytes
    etag: str | None


class FastPath:
    """WSGI in front of the application."""

    def __init__(self, application: Wsgi, container: Container, trusted_hosts: Sequence[str]) -> None:
        self._application, self._container, self._trusted = application, container, list(trusted_hosts)
        self._hosts: set[str] = set()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        answerer = _responder(environ)
        if answerer is None or environ.get("QUERY_STRING") or not self._is_trusted_host(environ):
            return self._application(environ, start_response)
        state = self._authorized_registry(environ)
        answer = answerer(state, environ) if state else None
        if state is None or answer is None:
            return self._application(environ, start_response)
        request_id.set(new_request_id())
        environ[ROUTE] = COST_PATH if answerer is _respond_cost else MODEL_ROUTE
        start_response(answer.status, _response_headers(state, answer))
        return [answer.body]

    def _is_trusted_host(self, environ: Environ) -> bool:
        """Whether the request names a host that is served here. Those once found good are remembered."""
        host = environ.get("HTTP_HOST", "")
        if host in self._hosts:
            return True
        if not host_is_trusted(host, self._trusted):
            return False
        if len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        return True

    def _authorized_registry(self, environ: Environ) -> EncodedRegistry | None:
        """The present state for whoever may read it."""
        self._container.refresher.ensure_running()
        state = encode_registry(self._container.registry)
        token = token_from_header(environ.get("HTTP_AUTHORIZATION", ""), state.snapshot.tokens)
        return state.project_view(token.project) if token is not None and scopes_allow(token.scopes, Permission.REGISTRY_READ) else None


def _responder(environ: Environ) -> Callable[[EncodedRegistry, Environ], FastResponse | None] | None:
    """What answers this kind of request, if it is one of the two."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    if method == "GET" and path.startswith(MODELS_PATH):
        return _respond_model
    return _respond_cost if method == "POST" and path == COST_PATH else None


def _respond_model(state: EncodedRegistry, environ: Environ) -> FastResponse | None:
    model = state.snapshot.by_name.get(environ["PATH_INFO"][len(MODELS_PATH) :])
    asked, etag = environ.get("HTTP_IF_NONE_MATCH"), f'"{state.tag}"'
    if model is None or (asked is not None and asked != etag):
        return None
    return FastResponse("200 OK", state.encode_model(model), etag) if asked is None else FastResponse("304 NOT MODIFIED", b"", etag)


def _respond_cost(state: EncodedRegistry, environ: Environ) -> FastResponse | None:
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("CONTENT_TYPE") != "application/json" or CONTENT_LENGTH.fullmatch(length) is None or int(length) > MAX_BYTES:
        return None
    body = environ["wsgi.input"].read(int(length))
    try:
        return FastResponse("200 OK", state.encode_cost(calculate_cost(state, parse_json_object(body), utc_now())).encode(), None)
    except ModeldeskError:
        environ["wsgi.input"] = io.BytesIO(body)  # Flask reads it again, and words the refusal.
        return None


def _response_headers(state: EncodedRegistry, answer: FastResponse) -> list[tuple[str, str]]:
    headers = [*state.snapshot.headers.items(), *API_HEADERS.items(), ("X-Request-Id", request_id.get())]
    if answer.etag is not None:
        headers.append(("ETag", answer.etag))
    if answer.body:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(answer.body)))]
    return headers
