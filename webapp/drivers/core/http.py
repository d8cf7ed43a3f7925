"""The only outbound HTTP client: Modeldesk's headers only, no redirects, no environment settings, no cookies, vetted connections."""

import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import cast

import httpcore2
import httpx2

from webapp.drivers.core.base import Trace
from webapp.drivers.core.connections import BlockedAddress, CompressedResponse, OutboundCall, ResponseTooLarge, current_call, get_pool
from webapp.security.urlguard import OutboundPolicy

MAX_ERROR_BODY = 16_000
_FORWARDED_HEADERS = frozenset({"host", "accept", "content-type", "content-length", "transfer-encoding", "connection", "anthropic-version"})
_REQUEST_IDS = ("x-request-id", "request-id", "mistral-correlation-id")
_VERBOSE_LOGGERS = ("httpx2", "httpx", "httpcore2", "httpcore", "openai", "anthropic", "google_genai", "mistralai.client", "ollama")


class _ResponseBody(httpx2.SyncByteStream):
    """The body of a response. The trace keeps it: of an error the beginning, for its message; else all, for its usage."""

    def __init__(self, stream: Iterable[bytes], call: OutboundCall, gzipped: bool):
        self._stream = stream
        self._chunks = _unzip(stream, call) if gzipped else stream
        self._trace = call.trace

    def __iter__(self) -> Iterator[bytes]:
        is_error = self._trace.status is not None and self._trace.status >= 300
        for chunk in self._chunks:
            self._trace.body += chunk[: max(0, MAX_ERROR_BODY - len(self._trace.body))] if is_error else chunk
            yield chunk
        self._trace.complete = True

    def close(self) -> None:
        if close := getattr(self._stream, "close", None):
            close()


def _unzip(stream: Iterable[bytes], call: OutboundCall) -> Iterator[bytes]:
    """Decompress a body of a server that ignores `Accept-Encoding`. The byte limit of the call applies to the result."""
    unzip = zlib.decompressobj(wbits=31)
    received = 0
    try:
        for data in stream:
            chunk = unzip.decompress(data, call.max_bytes - received + 1)
            received += len(chunk)
            if received > call.max_bytes:
                raise ResponseTooLarge("too many bytes")
            yield chunk
    except zlib.error:
        raise CompressedResponse("damaged") from None
    if not unzip.eof:
        raise CompressedResponse("incomplete")


class GuardedTransport(httpx2.BaseTransport):
    """Sends requests of an SDK over the process's connection pool, with Modeldesk's own headers."""

    def __init__(self, policy: OutboundPolicy, headers: Mapping[str, str]):
        self._policy = policy
        self._headers = dict(headers)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        status, headers, body = self.exchange(request)
        return httpx2.Response(status, headers=headers, stream=body)

    def exchange(self, request: httpx2.Request) -> tuple[int, list[tuple[str, str]], "_ResponseBody"]:
        """Send one request. Return the status, the headers without cookies, and the body as a stream."""
        call = current_call.get()
        call.remaining_seconds()
        # Reset the trace for each request, so that a second request is never judged by the first.
        trace = call.trace
        trace.status, trace.received, trace.sent, trace.complete = None, 0, False, False
        trace.body.clear()
        response = get_pool(self._policy).handle_request(self._prepare_request(request, call))
        headers = httpx2.Headers(response.headers)
        _trace_response(trace, response.status, headers)
        error = self._response_error(headers, call)
        if error is not None:
            response.close()
            raise error
        gzipped = _encoding(headers) == "gzip"
        hidden = {"set-cookie", "content-encoding", "content-length"} if gzipped else {"set-cookie"}
        visible = [(name, value) for name, value in headers.multi_items() if name.lower() not in hidden]
        # A synchronous pool returns only synchronous streams, but the type in httpcore2 does not say so.
        return response.status, visible, _ResponseBody(cast(Iterable[bytes], response.stream), call, gzipped)

    def _prepare_request(self, request: httpx2.Request, call: OutboundCall) -> httpcore2.Request:
        own_headers = {"accept-encoding": "identity", "user-agent": "Modeldesk"} | {
            name.lower(): value for name, value in self._headers.items()
        }
        sdk_headers = [
            (name, value)
            for name, value in request.headers.multi_items()
            if name.lower() in _FORWARDED_HEADERS and name.lower() not in own_headers
        ]
        url = request.url
        return httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=httpx2.Headers([*sdk_headers, *own_headers.items()]).raw,
            content=request.stream,
            extensions={"timeout": {"pool": call.remaining_seconds()}},
        )

    @staticmethod
    def _response_error(headers: httpx2.Headers, call: OutboundCall) -> Exception | None:
        if _encoding(headers) not in ("", "identity", "gzip"):
            return CompressedResponse("compressed")
        length = headers.get("content-length", "")
        return ResponseTooLarge("announced") if length.isdecimal() and int(length[:18]) > call.max_bytes else None


def _encoding(headers: httpx2.Headers) -> str:
    return headers.get("content-encoding", "identity").strip().lower()


class _BlockedTransport(httpx2.AsyncBaseTransport):
    """Transport for the asynchronous clients that some SDKs require. It sends nothing."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise BlockedAddress("Modeldesk asks providers synchronously.")


def _trace_response(trace: Trace, status: int, headers: httpx2.Headers) -> None:
    trace.status = status
    request_id = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
    trace.request_id = "".join(character for character in request_id[:100] if character.isprintable()) if request_id else None
    trace.retry_after = _parse_retry_after(headers.get("retry-after", ""))


def _parse_retry_after(value: str) -> float | None:
    """Parse `Retry-After`: a number of seconds or a date. Return None if it is neither."""
    try:
        seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < 10**6 else None


def create_client(policy: OutboundPolicy, headers: Mapping[str, str]) -> httpx2.Client:
    """Create an HTTP client for an SDK. It sends `headers`, including authorization, in place of the SDK's own."""
    quiet_loggers()
    # The transport enforces the deadline. A timeout of the client would apply to each read, not to the whole call.
    return httpx2.Client(transport=GuardedTransport(policy, headers), timeout=None, follow_redirects=False, trust_env=False)


def create_blocked_client() -> httpx2.AsyncClient:
    """Create an asynchronous client that sends nothing.

    Without it, an SDK creates its own, with environment settings and a certificate store.
    """
    return httpx2.AsyncClient(transport=_BlockedTransport(), trust_env=False)


def quiet_loggers() -> None:
    """Silence the loggers of the libraries, which log URLs and, at debug level, prompts."""
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
