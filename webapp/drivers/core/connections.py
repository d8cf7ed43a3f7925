"""Connections to providers, shared by all drivers of a process: vetted addresses, one absolute deadline, and a byte limit."""

import atexit
import contextvars
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpcore2

from webapp.drivers.core.base import Trace
from webapp.security.urlguard import AddressRefused, OutboundPolicy

CONNECT_TIMEOUT_S = 5.0
MAX_CHAT_BYTES = 2_000_000
MAX_LIST_BYTES = 8_000_000
T = TypeVar("T")


class DeadlineExceeded(httpcore2.ReadTimeout):
    """The deadline of the whole call has passed."""


class ResponseTooLarge(httpcore2.ReadError):
    """The response is larger than its limit."""


class CompressedResponse(httpcore2.RemoteProtocolError):
    """The response is compressed although identity was requested. It might be a decompression bomb."""


class BlockedAddress(httpcore2.ConnectError):
    """The outbound policy denies the address."""


class NoSuchHost(httpcore2.ConnectError):
    """The host name has no address."""


@dataclass(slots=True)
class OutboundCall:
    """One HTTP exchange in progress: its limits and its trace."""

    deadline: float
    max_bytes: int = MAX_CHAT_BYTES
    trace: Trace = field(default_factory=Trace)

    def remaining_seconds(self) -> float:
        """Return the seconds until the deadline. Raises `DeadlineExceeded`."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlineExceeded("deadline")
        return seconds

    def count_bytes(self, data: bytes) -> bytes:
        self.trace.received += len(data)
        if self.trace.received > self.max_bytes:
            raise ResponseTooLarge("too many bytes")
        return data


current_call: contextvars.ContextVar[OutboundCall] = contextvars.ContextVar("outbound_call")


def run_within(call: OutboundCall, work: Callable[[], T]) -> T:
    """Run `work`. All its requests belong to this call."""
    token = current_call.set(call)
    try:
        return work()
    finally:
        current_call.reset(token)


class _DeadlineStream(httpcore2.NetworkStream):
    """A connection whose every wait ends at the deadline of the current call, even if headers or bytes arrive slowly."""

    def __init__(self, inner: httpcore2.NetworkStream):
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = current_call.get()
        return call.count_bytes(self._inner.read(max_bytes, call.remaining_seconds()))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = current_call.get()
        for start in range(0, len(buffer), 65_536):
            self._inner.write(buffer[start : start + 65_536], call.remaining_seconds())
        call.trace.sent = True

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        seconds = min(CONNECT_TIMEOUT_S, current_call.get().remaining_seconds())
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _VettedBackend(httpcore2.NetworkBackend):
    """Resolves a name once, vets every address, and connects only to vetted addresses. Host header and TLS name stay those of the URL."""

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
        call = current_call.get()
        connect_deadline = time.monotonic() + min(CONNECT_TIMEOUT_S, call.remaining_seconds())
        failure: Exception = NoSuchHost("no address")
        for address in _resolve_vetted(self._policy, host, port, min(CONNECT_TIMEOUT_S, call.remaining_seconds()))[:4]:
            seconds = connect_deadline - time.monotonic()
            if seconds <= 0:
                raise httpcore2.ConnectTimeout("connect")
            try:
                return _DeadlineStream(self._inner.connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
        raise failure


def _resolve_vetted(policy: OutboundPolicy, host: str, port: int, seconds: float) -> list[str]:
    """Run `policy.vet` with a timeout, because a name server that does not respond would block the caller for minutes."""
    results: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(policy.vet(host, port))
        except (OSError, UnicodeError):
            results.put(NoSuchHost("no address"))
        except AddressRefused as exc:
            results.put(BlockedAddress(exc.detail))

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise httpcore2.ConnectTimeout("name resolution") from None
    if isinstance(result, Exception):
        raise result
    return result


class _ProcessState:
    """State that all drivers of this process share. It is created on first use, and again after a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pools: dict[OutboundPolicy, httpcore2.ConnectionPool] = {}
        self.tls: ssl.SSLContext | None = None


_process = _ProcessState()


def _reset_after_fork() -> None:
    """Discard the parent's sockets, and a lock that one of its other threads may have held."""
    global _process
    _process = _ProcessState()


os.register_at_fork(after_in_child=_reset_after_fork)


def close_pools() -> None:
    """Close the connections of this process when it ends."""
    with _process.lock:
        while _process.pools:
            _process.pools.popitem()[1].close()


atexit.register(close_pools)


def get_pool(policy: OutboundPolicy) -> httpcore2.ConnectionPool:
    with _process.lock:
        if policy not in _process.pools:
            _process.tls = _process.tls or ssl.create_default_context()
            _process.pools[policy] = httpcore2.ConnectionPool(
                ssl_context=_process.tls,
                max_connections=32,
                max_keepalive_connections=8,
                keepalive_expiry=30.0,
                network_backend=_VettedBackend(policy),
                socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            )
        return _process.pools[policy]
