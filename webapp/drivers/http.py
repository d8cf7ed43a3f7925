"""The only outbound door: vetted addresses, one absolute deadline, a byte cap, our headers only, no redirects, no environment."""

import contextvars
import logging
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

import httpcore2
import httpx2

from webapp.drivers.base import Trace
from webapp.security.urlguard import AddressRefused, OutboundPolicy

CONNECT_S = 5.0
CHAT_BYTES = 2_000_000
LIST_BYTES = 8_000_000
ERROR_BODY = 16_000
_ASKED = frozenset({"host", "accept", "content-type", "content-length", "transfer-encoding", "connection"})
_REQUEST_IDS = ("x-request-id", "request-id", "mistral-correlation-id")
_CHATTY = ("httpx2", "httpcore2", "openai")
T = TypeVar("T")


class DeadlinePassed(httpcore2.ReadTimeout):
    """The time for the whole call is over."""


class TooManyBytes(httpcore2.ReadError):
    """The answer is larger than its cap."""


class Compressed(httpcore2.RemoteProtocolError):
    """The answer is compressed although identity was asked for: it may be a bomb."""


class Blocked(httpcore2.ConnectError):
    """The outbound policy refuses the address."""


class NoSuchHost(httpcore2.ConnectError):
    """The name has no address."""


@dataclass(slots=True)
class Call:
    """One HTTP exchange under way: its limits, and what was seen of it."""

    deadline: float
    max_bytes: int = CHAT_BYTES
    trace: Trace = field(default_factory=Trace)

    def left(self) -> float:
        """Seconds until the deadline. Raises `DeadlinePassed`."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlinePassed("deadline")
        return seconds

    def count(self, data: bytes) -> bytes:
        self.trace.received += len(data)
        if self.trace.received > self.max_bytes:
            raise TooManyBytes("too many bytes")
        return data


_call: contextvars.ContextVar[Call] = contextvars.ContextVar("outbound_call")


def within(call: Call, work: Callable[[], T]) -> T:
    """Does the work, whose requests all belong to this call."""
    token = _call.set(call)
    try:
        return work()
    finally:
        _call.reset(token)


class _Stream(httpcore2.NetworkStream):
    """A connection whose every wait ends at the deadline of the current call, headers and slow drips included."""

    def __init__(self, inner: httpcore2.NetworkStream):
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = _call.get()
        return call.count(self._inner.read(max_bytes, call.left()))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = _call.get()
        for start in range(0, len(buffer), 65_536):
            self._inner.write(buffer[start : start + 65_536], call.left())
        call.trace.sent = True

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = min(CONNECT_S, _call.get().left())
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the signature of httpcore2
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Resolves once, vets every answer, connects to what was vetted. Host header and TLS name stay those of the URL."""

    def __init__(self, policy: OutboundPolicy):
        self._policy = policy
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        call = _call.get()
        end = time.monotonic() + min(CONNECT_S, call.left())
        failure: Exception = NoSuchHost("no address")
        for address in _vetted(self._policy, host, port, min(CONNECT_S, call.left()))[:4]:
            left = end - time.monotonic()
            if left <= 0:
                raise httpcore2.ConnectTimeout("connect")
            try:
                return _Stream(self._inner.connect_tcp(address, port, left, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
        raise failure


def _vetted(policy: OutboundPolicy, host: str, port: int, seconds: float) -> list[str]:
    """`policy.vet` with an end: a name server that does not answer would hold the caller for minutes."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(policy.vet(host, port))
        except (OSError, UnicodeError):
            answers.put(NoSuchHost("no address"))
        except AddressRefused as exc:
            answers.put(Blocked(exc.detail))

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise httpcore2.ConnectTimeout("name resolution") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


class _Body(httpx2.SyncByteStream):
    """The body of an answer; the beginning of an error's body is kept for its message."""

    def __init__(self, stream: Iterable[bytes], trace: Trace):
        self._stream = stream
        self._trace = trace

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if self._trace.status is not None and self._trace.status >= 300:
                self._trace.body += chunk[: max(0, ERROR_BODY - len(self._trace.body))]
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
        call = _call.get()
        call.left()
        # A new trace for each request, so that a second one is never judged by the first.
        trace = call.trace
        trace.status, trace.received, trace.sent = None, 0, False
        trace.body.clear()
        answer = _pool(self._policy).handle_request(self._prepared(request, call))
        headers = httpx2.Headers(answer.headers)
        _note(trace, answer.status, headers)
        refusal = self._refusal(headers, call)
        if refusal is not None:
            answer.close()
            raise refusal
        kept = [(name, value) for name, value in headers.multi_items() if name.lower() != "set-cookie"]
        # A synchronous pool gives nothing but synchronous streams, which the type of httpcore2 does not say.
        return httpx2.Response(answer.status, headers=kept, stream=_Body(cast(Iterable[bytes], answer.stream), trace))

    def _prepared(self, request: httpx2.Request, call: Call) -> httpcore2.Request:
        ours = {"accept-encoding": "identity", "user-agent": "Modeldesk"} | {name.lower(): value for name, value in self._headers.items()}
        theirs = [(name, value) for name, value in request.headers.multi_items() if name.lower() in _ASKED and name.lower() not in ours]
        url = request.url
        return httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=httpx2.Headers([*theirs, *ours.items()]).raw,
            content=request.stream,
            extensions={"timeout": {"pool": call.left()}},
        )

    @staticmethod
    def _refusal(headers: httpx2.Headers, call: Call) -> Exception | None:
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            return Compressed("compressed")
        length = headers.get("content-length", "")
        return TooManyBytes("announced") if length.isdecimal() and int(length[:18]) > call.max_bytes else None


def _note(trace: Trace, status: int, headers: httpx2.Headers) -> None:
    trace.status = status
    found = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
    trace.request_id = "".join(character for character in found[:100] if character.isprintable()) if found else None
    trace.retry_after = _seconds(headers.get("retry-after", ""))


def _seconds(value: str) -> float | None:
    """`Retry-After` is a number of seconds or a date."""
    try:
        seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < 10**6 else None


class _Process:
    """What all drivers of this process share, made when first needed and made anew after a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pools: dict[OutboundPolicy, httpcore2.ConnectionPool] = {}
        self.tls: ssl.SSLContext | None = None


_process = _Process()


def _forked() -> None:
    """Forgets the parent's sockets, and a lock that another of its threads may have held."""
    global _process
    _process = _Process()


os.register_at_fork(after_in_child=_forked)


def _pool(policy: OutboundPolicy) -> httpcore2.ConnectionPool:
    with _process.lock:
        if policy not in _process.pools:
            _process.tls = _process.tls or ssl.create_default_context()
            _process.pools[policy] = httpcore2.ConnectionPool(
                ssl_context=_process.tls,
                max_connections=32,
                max_keepalive_connections=8,
                keepalive_expiry=30.0,
                network_backend=_Backend(policy),
                socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            )
        return _process.pools[policy]


def client(policy: OutboundPolicy, headers: Mapping[str, str]) -> httpx2.Client:
    """An HTTP client for an SDK. `headers` are the ones that leave, authorization among them; those of the SDK do not."""
    for name in _CHATTY:  # They log URLs and, at debug level, prompts.
        logging.getLogger(name).setLevel(logging.WARNING)
    # The transport owns the time: a timeout of the client would be one per read, not one in all.
    return httpx2.Client(transport=GuardedTransport(policy, headers), timeout=None, follow_redirects=False, trust_env=False)
