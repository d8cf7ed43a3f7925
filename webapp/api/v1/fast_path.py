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
from webapp.api.v1.core.encoded_registry import Rendered, rendered_by
from webapp.api.v1.core.json_body import MAX_BYTES, parse_object
from webapp.api.v1.pricing.costs import asked_cost
from webapp.domain.accounts.permissions import Permission, scopes_allow
from webapp.domain.shared.errors import ModeldeskError
from webapp.observability.request_id import new_request_id, request_id
from webapp.runtime.container import Container
from webapp.web.access_log import ROUTE
from webapp.web.auth import token_in
from webapp.web.headers import API_ALWAYS

MODELS, COST = "/api/v1/models/", "/api/v1/cost"
ONE_MODEL = f"{MODELS}<path:ref>"
LENGTH = re.compile(r"[0-9]{1,7}", re.ASCII)
MAX_HOSTS = 1_000
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Answer(NamedTuple):
    """What is to be sent. The ETag is None where there is none."""

    status: str
    body: bytes
    etag: str | None


class HotPath:
    """WSGI in front of the application."""

    def __init__(self, application: Wsgi, container: Container, trusted_hosts: Sequence[str]) -> None:
        self._application, self._container, self._trusted = application, container, list(trusted_hosts)
        self._hosts: set[str] = set()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        answerer = _answerer(environ)
        if answerer is None or environ.get("QUERY_STRING") or not self._is_ours(environ):
            return self._application(environ, start_response)
        state = self._admitted(environ)
        answer = answerer(state, environ) if state else None
        if state is None or answer is None:
            return self._application(environ, start_response)
        request_id.set(new_request_id())
        environ[ROUTE] = COST if answerer is _cost else ONE_MODEL
        start_response(answer.status, _headers(state, answer))
        return [answer.body]

    def _is_ours(self, environ: Environ) -> bool:
        """Whether the request names a host that is served here. Those once found good are remembered."""
        host = environ.get("HTTP_HOST", "")
        if host in self._hosts:
            return True
        if not host_is_trusted(host, self._trusted):
            return False
        if len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        return True

    def _admitted(self, environ: Environ) -> Rendered | None:
        """The present state for whoever may read it."""
        self._container.refresher.ensure_running()
        state = rendered_by(self._container.registry)
        token = token_in(environ.get("HTTP_AUTHORIZATION", ""), state.snapshot.tokens)
        return state.seen_by(token.project) if token is not None and scopes_allow(token.scopes, Permission.REGISTRY_READ) else None


def _answerer(environ: Environ) -> Callable[[Rendered, Environ], Answer | None] | None:
    """What answers this kind of request, if it is one of the two."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    if method == "GET" and path.startswith(MODELS):
        return _model
    return _cost if method == "POST" and path == COST else None


def _model(state: Rendered, environ: Environ) -> Answer | None:
    model = state.snapshot.by_name.get(environ["PATH_INFO"][len(MODELS) :])
    asked, etag = environ.get("HTTP_IF_NONE_MATCH"), f'"{state.tag}"'
    if model is None or (asked is not None and asked != etag):
        return None
    return Answer("200 OK", state.model(model), etag) if asked is None else Answer("304 NOT MODIFIED", b"", etag)


def _cost(state: Rendered, environ: Environ) -> Answer | None:
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("CONTENT_TYPE") != "application/json" or LENGTH.fullmatch(length) is None or int(length) > MAX_BYTES:
        return None
    body = environ["wsgi.input"].read(int(length))
    try:
        return Answer("200 OK", state.cost(asked_cost(state, parse_object(body), utc_now())).encode(), None)
    except ModeldeskError:
        environ["wsgi.input"] = io.BytesIO(body)  # Flask reads it again, and words the refusal.
        return None


def _headers(state: Rendered, answer: Answer) -> list[tuple[str, str]]:
    headers = [*state.snapshot.headers.items(), *API_ALWAYS.items(), ("X-Request-Id", request_id.get())]
    if answer.etag is not None:
        headers.append(("ETag", answer.etag))
    if answer.body:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(answer.body)))]
    return headers
