"""The only outbound HTTP client: our headers only, no redirects, no environment, no cookies, over vetted connections."""

import logging
import time
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
    """The body of an answer; the beginning of an error's body is kept for its message."""

    def __init__(self, stream: Iterable[bytes], trace: Trace):
        self._stream = stream
        self._trace = trace

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if self._trace.status is not None and self._trace.status >= 300:
                self._trace.body += chunk[: max(0, MAX_ERROR_BODY - len(self._trace.body))]
            yield chunk

    def close(self) -> None:
        if close := getattr(self._stream, "close", None):
            close()


class GuardedTransport(httpx2.BaseTransport):
    """Carries requests of an SDK over the process's connection pool, with the headers that we chose."""

    def __init__(self, policy: OutboundPolicy, headers: Mapping[str, str]):
        self._policy = policy
        self._headers = dict(headers)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        status, headers, body = self.exchange(request)
        return httpx2.Response(status, headers=headers, stream=body)

    def exchange(self, request: httpx2.Request) -> tuple[int, list[tuple[str, str]], "_ResponseBody"]:
        """Sends one request through the door: the status, the headers that may be known, and the body as it comes."""
        call = current_call.get()
        call.remaining_seconds()
        # A new trace for each request, so that a second one is never judged by the first.
        trace = call.trace
        trace.status, trace.received, trace.sent = None, 0, False
        trace.body.clear()
        answer = get_pool(self._policy).handle_request(self._prepare_request(request, call))
        headers = httpx2.Headers(answer.headers)
        _trace_response(trace, answer.status, headers)
        refusal = self._response_error(headers, call)
        if refusal is not None:
            answer.close()
            raise refusal
        kept = [(name, value) for name, value in headers.multi_items() if name.lower() != "set-cookie"]
        # A synchronous pool gives nothing but synchronous streams, which the type of httpcore2 does not say.
        return answer.status, kept, _ResponseBody(cast(Iterable[bytes], answer.stream), trace)

    def _prepare_request(self, request: httpx2.Request, call: OutboundCall) -> httpcore2.Request:
        ours = {"accept-encoding": "identity", "user-agent": "Modeldesk"} | {name.lower(): value for name, value in self._headers.items()}
        theirs = [
            (name, value)
            for name, value in request.headers.multi_items()
            if name.lower() in _FORWARDED_HEADERS and name.lower() not in ours
        ]
        url = request.url
        return httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=httpx2.Headers([*theirs, *ours.items()]).raw,
            content=request.stream,
            extensions={"timeout": {"pool": call.remaining_seconds()}},
        )

    @staticmethod
    def _response_error(headers: httpx2.Headers, call: OutboundCall) -> Exception | None:
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return CompressedResponse("compressed")
        length = headers.get("content-length", "")
        return ResponseTooLarge("announced") if length.isdecimal() and int(length[:18]) > call.max_bytes else None


class _BlockedTransport(httpx2.AsyncBaseTransport):
    """For asynchronous clients that SDKs insist on having: nothing leaves through it."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise BlockedAddress("Modeldesk asks providers synchronously.")


def _trace_response(trace: Trace, status: int, headers: httpx2.Headers) -> None:
    trace.status = status
    found = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
    trace.request_id = "".join(character for character in found[:100] if character.isprintable()) if found else None
    trace.retry_after = _parse_retry_after(headers.get("retry-after", ""))


def _parse_retry_after(value: str) -> float | None:
    """`Retry-After` is a number of seconds or a date."""
    try:
        seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < 10**6 else None


def create_client(policy: OutboundPolicy, headers: Mapping[str, str]) -> httpx2.Client:
    """An HTTP client for an SDK. `headers` are the ones that leave, authorization among them; those of the SDK do not."""
    quiet_loggers()
    # The transport owns the time: a timeout of the client would be one per read, not one in all.
    return httpx2.Client(transport=GuardedTransport(policy, headers), timeout=None, follow_redirects=False, trust_env=False)


def create_blocked_client() -> httpx2.AsyncClient:
    """An asynchronous client that sends nothing, so that an SDK makes none of its own, with an environment and a certificate store."""
    return httpx2.AsyncClient(transport=_BlockedTransport(), trust_env=False)


def quiet_loggers() -> None:
    """The libraries log URLs and, at debug level, prompts."""
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
