"""Translation of SDK exceptions to one `DriverError`: by Modeldesk's own markers, then by HTTP status, never by an SDK's class names."""

import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import httpcore2

from webapp.domain.usage.converted_usage import ConvertedUsage
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
# Vendors use one status for several errors: (kinds by status, pattern in the body, actual kind).
_KIND_REFINEMENTS = (
    (("bad_request", "permission"), r"api_key_invalid|(?:incorrect|invalid) api key|api key not valid|invalid_api_key", "auth"),
    (("rate_limited", "bad_request"), r"insufficient_quota|billing|credit balance", "billing"),
    (("bad_request",), r"context.?length|context window|too many tokens|prompt is too long|input token count", "too_large"),
    (("bad_request",), r"unsupported[_ ](?:value|parameter)|not supported with this model", "unsupported_param"),
    (("bad_request",), r"model_not_found|model .{0,80}does not exist", "not_found"),
)
_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d+)?)s"')


class CallAttempt(NamedTuple):
    """One attempt at a call, and how many attempts before it were sent without a usable response."""

    number: int
    failed_before: int


@dataclass(frozen=True, slots=True)
class CallRunner:
    """Runs the calls of one driver and translates their exceptions. It holds the secrets to redact."""

    secrets: tuple[str, ...] = field(default=(), repr=False)

    def run(self, work: Callable[[Trace], T], deadline: float, max_bytes: int = MAX_CHAT_BYTES) -> T:
        """Make one attempt. Raises `DriverError` without cause or context, because the SDK's exception holds the request with its key."""
        call = OutboundCall(deadline, max_bytes)
        try:
            return run_within(call, lambda: work(call.trace))
        except DriverError as exc:
            error = exc
        except Exception as exc:  # SDKs raise arbitrary exceptions. All of them become one DriverError.
            error = self.translate(exc, call.trace)
        error.__context__ = None
        raise error from None

    def run_with_retry(self, work: Callable[[CallAttempt, Trace], T], deadline_s: float) -> T:
        """Make an attempt, and a second one only if that is safe and there is time for it."""
        deadline = time.monotonic() + min(deadline_s, MAX_DEADLINE_S)
        attempt = CallAttempt(1, 0)
        while True:
            try:
                return self.run(partial(work, attempt), deadline)
            except DriverError as exc:
                error = exc
            error.attempts, error.failed_attempts = attempt
            failed = attempt.failed_before + error.sent
            error.sent = failed > 0
            wait = error.retry_after if error.retry_after is not None else random.uniform(0.3, 0.9)  # noqa: S311 - jitter
            too_late = wait > MAX_WAIT_S or time.monotonic() + wait >= deadline
            if not error.retryable or attempt.number >= MAX_ATTEMPTS or too_late:
                error.__context__ = None
                raise error from None
            attempt = CallAttempt(attempt.number + 1, failed)
            time.sleep(wait)

    def translate(self, exc: BaseException, trace: Trace) -> DriverError:
        """Return the `DriverError` for an exception that was raised during an exchange."""
        chain = list(_exception_chain(exc))
        blocked = next((error for error in chain if isinstance(error, BlockedAddress)), None)
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

    def reported_error(self, trace: Trace, usage: ConvertedUsage) -> DriverError:
        """Return the error that a response with a status of success reports in its body."""
        quoted = redact(_parse_error_body(bytes(trace.body).decode("utf-8", "replace"))[0], self.secrets)
        detail = f"The provider reported an error with a status of success: “{quoted}”." if quoted else ""
        return DriverError("invalid_response", detail, trace=trace, usage=usage)

    def _from_response(self, trace: Trace) -> DriverError:
        body = bytes(trace.body).decode("utf-8", "replace")
        message, codes = _parse_error_body(body)
        kind = _kind_from_status(trace.status or 0)
        for kinds, pattern, true_kind in _KIND_REFINEMENTS:
            if kind in kinds and re.search(pattern, f"{codes} {message}", re.IGNORECASE):
                kind = true_kind
                break
        if trace.retry_after is None and (delay := _RETRY_DELAY.search(body)):
            trace.retry_after = float(delay[1])
        quoted = redact(message, self.secrets)
        detail = f"{ERROR_MESSAGES[kind]} (HTTP {trace.status}{f': “{quoted}”' if quoted else ''})"
        if kind == "rate_limited" and trace.retry_after:
            detail += f" It asks to wait {trace.retry_after:g} seconds."
        return DriverError(kind, detail, trace=trace)


def _kind_from_exceptions(chain: list[BaseException], trace: Trace) -> str | None:
    """Return the kind that the transport itself detected, which is more reliable than any response."""
    is_error_status = trace.status is not None and trace.status >= 300
    for types, kind in (
        (ResponseTooLarge, None if is_error_status else "response_too_large"),
        (CompressedResponse, "invalid_response"),
        (httpcore2.ConnectTimeout, "connect"),
        (httpcore2.TimeoutException, "timeout"),
        (httpcore2.ConnectError, "connect"),
        ((httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol), "config"),
        ((httpcore2.NetworkError, httpcore2.RemoteProtocolError), None if is_error_status else "network"),
    ):
        if any(isinstance(error, types) for error in chain):
            return kind
    return None


def _describe_connect_failure(chain: list[BaseException]) -> str:
    """Describe the connection step that failed."""
    if any(isinstance(error, NoSuchHost) for error in chain):
        return "The host name of the provider has no address: check the base URL for typing mistakes."
    if any(isinstance(error, ssl.SSLCertVerificationError) for error in chain):
        return "The provider's certificate is not trusted: check its date, its name and the system's authorities."
    if any(isinstance(error, ssl.SSLError) for error in chain):
        return "No encrypted connection to the provider is possible: check that its port speaks https."
    if any(isinstance(error, httpcore2.ConnectTimeout) for error in chain):
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
    """Return the message in the body of an error, and its codes. HTML has neither."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ("" if "<" in body[:200] or len(body) > 500 else body), ""
    error = data.get("error", data) if isinstance(data, Mapping) else data
    if isinstance(error, Mapping):
        message = error.get("message") or error.get("detail")
        codes = [str(error.get(name, ""))[:100] for name in ("code", "type", "status", "param")] + [str(error.get("details", ""))[:500]]
        return (message if isinstance(message, str) else ""), " ".join(codes)
    return (error if isinstance(error, str) else ""), str(data.get("code", ""))[:100] if isinstance(data, Mapping) else ""
