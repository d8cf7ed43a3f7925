"""From whatever an SDK raised to one `DriverError`: by our own markers, then by the HTTP status, never by an SDK's class names."""

import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import httpcore2

from webapp.drivers.core.base import ERROR_MESSAGES, MAX_DEADLINE_S, DriverError, Trace
from webapp.drivers.core.connections import (
    MAX_CHAT_BYTES,
    BlockedAddress,
    CompressedResponse,
    NoSuchHost,
    OutboundCall,
    ResponseTooLarge,
    run_within,
)
from webapp.security.redaction import redact

MAX_ATTEMPTS = 2
MAX_WAIT_S = 10.0
T = TypeVar("T")

_KIND_BY_STATUS = {
    401: "auth",
    402: "billing",
    403: "permission",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    409: "server_error",
    410: "not_found",
    413: "too_large",
    429: "rate_limited",
    499: "network",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# Vendors answer some mistakes with the status of another one: (kind by status, what the body says, the true kind).
_KIND_REFINEMENTS = (
    (("bad_request", "permission"), r"api_key_invalid|(?:incorrect|invalid) api key|api key not valid|invalid_api_key", "auth"),
    (("rate_limited", "bad_request"), r"insufficient_quota|billing|credit balance", "billing"),
    (("bad_request",), r"context.?length|context window|too many tokens|prompt is too long|input token count", "too_large"),
    (("bad_request",), r"unsupported[_ ](?:value|parameter)|not supported with this model", "unsupported_param"),
    (("bad_request",), r"model_not_found|model .{0,80}does not exist", "not_found"),
)
_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d+)?)s"')


@dataclass(frozen=True, slots=True)
class CallRunner:
    """Runs calls of one driver and translates what they raise; knows the secrets that must not appear."""

    secrets: tuple[str, ...] = field(default=(), repr=False)

    def run(self, work: Callable[[Trace], T], deadline: float, max_bytes: int = MAX_CHAT_BYTES) -> T:
        """One attempt. Raises `DriverError` without cause or context: the SDK's exception holds the request with its key."""
        call = OutboundCall(deadline, max_bytes)
        try:
            return run_within(call, lambda: work(call.trace))
        except DriverError as exc:
            error = exc
        except Exception as exc:  # Every SDK raises what it likes; all of it becomes one DriverError.
            error = self.translate(exc, call.trace)
        error.__context__ = None
        raise error from None

    def run_with_retry(self, work: Callable[[int, Trace], T], deadline_s: float) -> T:
        """At most one more attempt, only where that is safe and there is time for it. `work` gets the number of the attempt."""
        deadline = time.monotonic() + min(deadline_s, MAX_DEADLINE_S)
        attempt = 1
        while True:
            try:
                return self.run(partial(work, attempt), deadline)
            except DriverError as exc:
                error = exc
            error.attempts = attempt
            wait = error.retry_after if error.retry_after is not None else random.uniform(0.3, 0.9)  # noqa: S311 - jitter
            too_late = wait > MAX_WAIT_S or time.monotonic() + wait >= deadline
            if not error.retryable or attempt >= MAX_ATTEMPTS or too_late:
                error.__context__ = None
                raise error from None
            attempt += 1
            time.sleep(wait)

    def translate(self, exc: BaseException, trace: Trace) -> DriverError:
        """The `DriverError` for whatever was raised during an exchange."""
        chain = list(_exception_chain(exc))
        blocked = next((one for one in chain if isinstance(one, BlockedAddress)), None)
        if blocked is not None:
            return DriverError("config", f"{blocked} Correct the provider's address.", trace=trace)
        kind = _kind_from_exceptions(chain, trace)
        if kind == "connect":
            return DriverError("connect", _describe_connect_failure(chain), trace=trace)
        if kind is None and trace.status is not None and trace.status >= 300:
            return self._from_response(trace)
        if kind is None and trace.status is not None:
            kind = "invalid_response"
        return DriverError(kind or ("unknown" if trace.sent else "config"), trace=trace)

    def _from_response(self, trace: Trace) -> DriverError:
        body = bytes(trace.body).decode("utf-8", "replace")
        said, codes = _parse_error_body(body)
        kind = _kind_from_status(trace.status or 0)
        for kinds, pattern, true_kind in _KIND_REFINEMENTS:
            if kind in kinds and re.search(pattern, f"{codes} {said}", re.IGNORECASE):
                kind = true_kind
                break
        if trace.retry_after is None and (delay := _RETRY_DELAY.search(body)):
            trace.retry_after = float(delay[1])
        quoted = redact(said, self.secrets)
        detail = f"{ERROR_MESSAGES[kind]} (HTTP {trace.status}{f': “{quoted}”' if quoted else ''})"
        if kind == "rate_limited" and trace.retry_after:
            detail += f" It asks to wait {trace.retry_after:g} seconds."
        return DriverError(kind, detail, trace=trace)


def _kind_from_exceptions(chain: list[BaseException], trace: Trace) -> str | None:
    """What the transport itself saw, which is surer than any answer."""
    answered_badly = trace.status is not None and trace.status >= 300
    for types, kind in (
        (ResponseTooLarge, None if answered_badly else "response_too_large"),
        (CompressedResponse, "invalid_response"),
        (httpcore2.ConnectTimeout, "connect"),
        (httpcore2.TimeoutException, "timeout"),
        (httpcore2.ConnectError, "connect"),
        ((httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol), "config"),
        ((httpcore2.NetworkError, httpcore2.RemoteProtocolError), None if answered_badly else "network"),
    ):
        if any(isinstance(one, types) for one in chain):
            return kind
    return None


def _describe_connect_failure(chain: list[BaseException]) -> str:
    """Which part of connecting failed."""
    if any(isinstance(one, NoSuchHost) for one in chain):
        return "The host name of the provider has no address: check the base URL for typing mistakes."
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain):
        return "The provider's certificate is not trusted: check its date, its name and the system's authorities."
    if any(isinstance(one, ssl.SSLError) for one in chain):
        return "No encrypted connection to the provider is possible: check that its port speaks https."
    if any(isinstance(one, httpcore2.ConnectTimeout) for one in chain):
        return "The provider did not accept a connection in time: check its address, and whether a firewall is in between."
    return "The provider refused the connection: check its address and port, and whether it runs."


def _exception_chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__


def _kind_from_status(status: int) -> str:
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    return "redirect" if status < 400 else "bad_request" if status < 500 else "server_error"


def _parse_error_body(body: str) -> tuple[str, str]:
    """The sentence in an error's body, and the codes around it. HTML and the like say nothing."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ("" if "<" in body[:200] or len(body) > 500 else body), ""
    error = data.get("error", data) if isinstance(data, Mapping) else data
    if isinstance(error, Mapping):
        said = error.get("message") or error.get("detail")
        codes = [str(error.get(name, ""))[:100] for name in ("code", "type", "status", "param")] + [str(error.get("details", ""))[:500]]
        return (said if isinstance(said, str) else ""), " ".join(codes)
    return (error if isinstance(error, str) else ""), str(data.get("code", ""))[:100] if isinstance(data, Mapping) else ""
