"""RSGI application for granian that receives a complete request and then serves it with a WSGI application in a thread.

A client that sends or reads slowly therefore occupies no thread. granian parses HTTP.
"""

import asyncio
import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from webapp.server.bodies import BodyReader, RefusedBody
from webapp.web.errors import CODE_BY_STATUS, build_problem
from webapp.web.requests import API_PREFIX, max_body_bytes

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
MAX_HEAD_BYTES = 65_536  # Of the headers. granian's own limit is at most twice as large.
RETRY_AFTER_S = 5
# How long, and with how many bytes, a client can continue to send a body that is too large, so that it reads the response.
LINGER_S, LINGER_BYTES, MIN_PIECE = 2.0, 50_000_000, 5_000
UNEXPECTED = "The server failed to respond. The failure was logged; tell an admin if it happens again."
log = logging.getLogger(__name__)


class Response(NamedTuple):
    """A complete response, in the order of granian's arguments."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class RefusedHead(Exception):
    """A head that is not passed to the application. The message is the reason."""

    def __init__(self, reason: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(reason)
        self.status = status


class Adapter:
    """Serves a WSGI application from threads."""

    def __init__(self, application: Wsgi, threads: int) -> None:
        self._application, self._bodies = application, BodyReader()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._under_way = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        self._under_way += 1
        try:
            await self._respond(scope, protocol)
        finally:
            self._under_way -= 1

    async def finish(self) -> None:
        """Return when no request is under way. Clients that still send a body are not waited for."""
        self._bodies.hurry()
        while self._under_way:
            await asyncio.sleep(0.02)

    async def _respond(self, scope: Any, protocol: Any) -> None:
        try:
            environ = build_environ(scope)
        except RefusedHead as error:
            protocol.response_bytes(*_refusal(scope.path, error.status, str(error)))
            return
        if "CONTENT_LENGTH" not in environ and "transfer-encoding" not in scope.headers:
            protocol.response_bytes(*await self._run(environ))
            return
        try:
            response, is_complete = await self._respond_to_body(environ, scope, protocol)
        except RefusedBody as error:
            protocol.response_bytes(*_refusal(scope.path, error.status, str(error)))
            return
        protocol.response_bytes(*response)
        if not is_complete and "expect" not in scope.headers:
            await _discard_rest(protocol)

    async def _respond_to_body(self, environ: Environ, scope: Any, protocol: Any) -> tuple[Response, bool]:
        """Return the response, and whether the body was read. The application refuses a body that is too large, by its size."""
        declared = int(environ["CONTENT_LENGTH"]) if "CONTENT_LENGTH" in environ else None
        body = await self._bodies.read(protocol, declared=declared, maximum=max_body_bytes(scope.method, scope.path))
        try:
            environ |= {"wsgi.input": body.content, "CONTENT_LENGTH": str(body.size)}
            return await self._run(environ), body.complete
        finally:
            self._bodies.release(body)

    async def _run(self, environ: Environ) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _run_application, self._application, environ)


def build_environ(scope: Any) -> Environ:
    """Return the WSGI environment of a request without its body. Raises `RefusedHead`.

    Names of headers that hold an underscore are dropped, because `X_Real_Ip` would pass for `X-Real-Ip`.
    """
    server_name, _, server_port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _as_latin1(scope.path),
        "QUERY_STRING": _as_latin1(scope.query_string),
        "SERVER_NAME": server_name.strip("[]"),
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": "HTTP/1.1" if scope.http_version == "1.1" else "HTTP/1.0",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    _add_headers(environ, scope.headers)
    _set_host(environ, scope)
    return environ


def _add_headers(environ: Environ, headers: Any) -> None:
    items = headers.items()
    names = {name for name, _ in items}
    # granian leaves out values that it cannot decode. Without `Authorization`, the request just has no permission.
    unreadable = set() if len(names) == len(headers) else set(headers.keys()) - names - {"authorization"}
    if unreadable:
        raise RefusedHead(f"The header {min(unreadable)} holds characters other than ASCII.")
    if sum(len(name) + len(value) for name, value in items) > MAX_HEAD_BYTES:
        raise RefusedHead("The head of the request is larger than 64 kB.", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    for name, value in items:
        if "_" not in name:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            separator = "; " if name == "cookie" else ","
            environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
    _set_length(environ)


def _set_length(environ: Environ) -> None:
    """Rename the headers that have names of their own in WSGI."""
    if environ.pop("HTTP_TRANSFER_ENCODING", None) and "HTTP_CONTENT_LENGTH" in environ:
        raise RefusedHead("Transfer-Encoding and Content-Length contradict each other.")
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if (value := environ.pop(f"HTTP_{key}", None)) is not None:
            environ[key] = value
    if not environ.get("CONTENT_LENGTH", "0").isdecimal():
        raise RefusedHead("Content-Length is no number.")


def _set_host(environ: Environ, scope: Any) -> None:
    """Set the host of an absolute address, which takes precedence. HTTP/1.1 requires one header."""
    hosts = scope.headers.get_all("host")
    if len(hosts) > 1 or (not hosts and scope.http_version == "1.1"):
        raise RefusedHead("The request needs one Host header.")
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority


def _as_latin1(text: str) -> str:
    """Return the text as WSGI passes bytes."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _run_application(application: Wsgi, environ: Environ) -> Response:
    """Return the response of the application. Runs in a thread."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        started.append((status, headers))

    try:
        parts = application(environ, start_response)
        try:
            body = b"".join(parts)
        finally:
            if close := getattr(parts, "close", None):
                close()
        status, headers = started[-1]
    except Exception as error:
        log.error("a request failed outside of the error handlers: %s", type(error).__name__, exc_info=error)
        return _refusal(environ["PATH_INFO"], HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
    return Response(int(status[:3]), headers, body)


def _refusal(path: str, status: HTTPStatus, detail: str) -> Response:
    """Return the response of the server itself, which the application does not see."""
    headers = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    if path.startswith(API_PREFIX):
        body = msgspec.json.encode(build_problem(status, CODE_BY_STATUS.get(status, "unavailable"), detail))
        return Response(status, [("Content-Type", "application/problem+json"), *headers], body)
    return Response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], f"{detail}\n".encode())


async def _discard_rest(protocol: Any) -> None:
    """Read on for a while after the response. Otherwise the closed connection would keep the client from reading it."""
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError, RuntimeError):
        async with asyncio.timeout(LINGER_S):
            async for piece in protocol:
                left -= max(len(piece), MIN_PIECE)
                if left < 0:
                    return
