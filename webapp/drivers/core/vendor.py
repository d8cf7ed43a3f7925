"""Base of the vendor drivers: keys that are valid in a header, one or two guarded attempts, checks, and model lists."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import Invalid
from webapp.drivers.core.base import (
    CHECK_DEADLINE_S,
    ERROR_MESSAGES,
    ChatReply,
    ChatRequest,
    CheckResult,
    DriverError,
    Endpoint,
    Trace,
    UpstreamModel,
)
from webapp.drivers.core.connections import MAX_LIST_BYTES
from webapp.drivers.core.failures import CallRunner
from webapp.security.urlguard import OutboundPolicy

MAX_MODELS = 5_000
MAX_NAME = 300
PROBE_REQUEST = ChatRequest(model="", system="Answer with one word.", user="Say ok.", max_output_tokens=16, deadline_s=CHECK_DEADLINE_S)
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")
# Error kinds of servers that cannot list their models, but might support chat.
_LISTING_UNSUPPORTED = ("not_found", "invalid_response", "bad_request")


class VendorDriver(ABC):
    """Calls one vendor through its SDK. Subclasses convert requests, replies and lists; the rest is the same for all vendors."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        secrets = (endpoint.api_key, *extra_headers(endpoint).values())
        self._runner = CallRunner(tuple(secret for secret in secrets if secret and len(secret) >= 4))

    # Implemented by the driver of each vendor.

    @abstractmethod
    def options(self, request: ChatRequest) -> dict[str, Any]:
        """Return the arguments of the SDK call. Raises `DriverError` of kind `config`."""

    @abstractmethod
    def send(self, options: dict[str, Any]) -> object:
        """Make one call of the SDK."""

    @abstractmethod
    def parse_reply(self, response: object, trace: Trace) -> ChatReply:
        """Convert the SDK response to a reply. Must not trust any type in it. Raises `DriverError`."""

    @abstractmethod
    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        """Return the models that the vendor lists."""

    @abstractmethod
    def close(self) -> None:
        """Close the driver. The connections belong to the process and stay open."""

    # Shared by all vendors.

    def chat(self, request: ChatRequest) -> ChatReply:
        options = self.options(request)

        def attempt(number: int, trace: Trace) -> ChatReply:
            started = time.monotonic()
            reply = self.parse_reply(self.send(options), trace)
            return replace(reply, latency_ms=elapsed_ms(started), attempts=number)

        return self._runner.run_with_retry(attempt, request.deadline_s)

    def list_models(self) -> tuple[UpstreamModel, ...]:
        deadline = time.monotonic() + min(self.endpoint.timeout_s, CHECK_DEADLINE_S)
        return self._runner.run(lambda trace: _limit_models(self.fetch_models(trace)), deadline, MAX_LIST_BYTES)

    def check(self, model: str | None = None) -> CheckResult:
        """Check the base URL and the key by listing the models.

        A server that cannot list its models gets one short question, if a model is named. Only that question can cost anything.
        """
        started = time.monotonic()
        try:
            models = len(self.list_models())
        except DriverError as error:
            if error.kind in _LISTING_UNSUPPORTED and model:
                return self._check_by_chat(model, started)
            return CheckResult(False, error.detail, error.kind, None, elapsed_ms(started), error.request_id)
        return CheckResult(
            True, f"Address and key work; the provider lists {models} model{'' if models == 1 else 's'}.", None, models, elapsed_ms(started)
        )

    def _check_by_chat(self, model: str, started: float) -> CheckResult:
        try:
            reply = self.chat(replace(PROBE_REQUEST, model=model))
        except DriverError as error:
            # The model responded, although with too little or too much text. Base URL, key and model work.
            if error.kind not in ("truncated", "empty"):
                return CheckResult(False, error.detail, error.kind, None, elapsed_ms(started), error.request_id, "asked")
            request_id = error.request_id
        else:
            request_id = reply.request_id
        detail = f"Address and key work. The provider does not list its models, so {model} was asked one short question, which it may bill."
        return CheckResult(True, detail, None, None, elapsed_ms(started), request_id, "asked")


def _limit_models(models: Iterable[UpstreamModel]) -> tuple[UpstreamModel, ...]:
    by_id: dict[str, UpstreamModel] = {}
    for model in models:
        if 0 < len(model.model_id) <= MAX_NAME and model.model_id.isprintable():
            by_id.setdefault(model.model_id, model)
        if len(by_id) >= MAX_MODELS:
            break
    return tuple(by_id.values())


def key_of(endpoint: Endpoint, *, required: bool = True) -> str:
    """Return the key if it is valid in a header. Raises `DriverError` of kind `config`."""
    key = endpoint.api_key or ""
    if (key or required) and not _KEY.fullmatch(key):
        problem = "holds spaces or characters that cannot be sent" if key else "is missing"
        raise DriverError("config", f"The key of this provider {problem}: enter it again.")
    return key


def allowed_base_url(endpoint: Endpoint, policy: OutboundPolicy) -> str:
    """Return the base URL if the policy allows it. Raises `DriverError` of kind `config`."""
    try:
        policy.check_url(endpoint.base_url or "")
    except Invalid as error:
        detail = error.detail
    else:
        return (endpoint.base_url or "").rstrip("/")
    raise DriverError("config", detail)


def extra_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers that a provider's row adds to every request."""
    headers = endpoint.config.get("extra_headers")
    return {str(name): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def build_reply(  # noqa: PLR0913 - the parts of a reply
    text: object, finish: str, usage: Usage | None, trace: Trace, *, kind: str | None = None, model: object = None
) -> ChatReply:
    """Return the reply. Raises `DriverError` if it is unusable. `kind` is the error kind of the vendor's finish reason, if any."""
    content = text if isinstance(text, str) else ""
    error_kind = kind or ("" if content.strip() else "empty")
    if error_kind:
        raise DriverError(error_kind, ERROR_MESSAGES[error_kind], trace=trace, usage=usage)
    return ChatReply(
        text=content,
        finish=finish[:40] or "unknown",
        usage=usage,
        model_reported=model[:MAX_NAME] if isinstance(model, str) and model else None,
        request_id=trace.request_id,
        http_status=trace.status or 0,
        latency_ms=0,
        attempts=1,
    )


def usage_from(total: Mapping[str, object], parts: Mapping[str, object]) -> Usage | None:
    """Convert quantities to usage. Return None if the totals are not reported. Parts that contradict their totals are dropped."""
    return _usage_or_none({**total, **parts}) or _usage_or_none(total)


def _usage_or_none(quantities: Mapping[str, object]) -> Usage | None:
    try:
        return Usage.of(quantities)
    except Invalid:
        return None


def sum_or_none(*quantities: object) -> object:
    """Return the sum of the reported quantities. None if one is not a whole number, or if none is reported."""
    reported = [quantity for quantity in quantities if quantity is not None]
    if not reported or any(type(quantity) is not int for quantity in reported):
        return None
    return sum(quantity for quantity in reported if isinstance(quantity, int))


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return an SDK object or a part of a response as a mapping. Return an empty mapping for any other value."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    document = dump() if callable(dump) else {}
    return document if isinstance(document, Mapping) else {}


def filter_texts(values: Iterable[object]) -> Iterator[str]:
    """Return the values that are text."""
    return (value for value in values if isinstance(value, str))


def count_or_none(value: object) -> int | None:
    """Return a count that a vendor reports about a model, or None if it is invalid."""
    return value if type(value) is int and 0 < value < 10**9 else None


def elapsed_ms(started: float) -> int:
    return round(1000 * (time.monotonic() - started))
