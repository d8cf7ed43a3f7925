"""What the drivers of all vendors have in common: keys that are fit to be sent, one guarded attempt or two, checks, and lists."""

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
# What a server answers that cannot list its models, though it may chat well.
_LISTING_UNSUPPORTED = ("not_found", "invalid_response", "bad_request")


class VendorDriver(ABC):
    """Asks one vendor through its SDK. Subclasses say how a question, an answer and a list look; the rest is the same for all."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        secrets = (endpoint.api_key, *extra_headers(endpoint).values())
        self._guard = CallRunner(tuple(secret for secret in secrets if secret and len(secret) >= 4))

    # What a vendor's driver says.

    @abstractmethod
    def options(self, request: ChatRequest) -> dict[str, Any]:
        """The arguments of the SDK's call. Raises `DriverError` of kind `config`."""

    @abstractmethod
    def send(self, options: dict[str, Any]) -> object:
        """One call of the SDK."""

    @abstractmethod
    def parse_reply(self, answer: object, trace: Trace) -> ChatReply:
        """The answer as ours. Nothing of it is trusted to be of its type. Raises `DriverError`."""

    @abstractmethod
    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        """What the vendor lists."""

    @abstractmethod
    def close(self) -> None:
        """Ends its use. The connections are the process's, and stay."""

    # What follows from it.

    def chat(self, request: ChatRequest) -> ChatReply:
        options = self.options(request)

        def attempt(number: int, trace: Trace) -> ChatReply:
            started = time.monotonic()
            reply = self.parse_reply(self.send(options), trace)
            return replace(reply, latency_ms=elapsed_ms(started), attempts=number)

        return self._guard.run_with_retry(attempt, request.deadline_s)

    def list_models(self) -> tuple[UpstreamModel, ...]:
        deadline = time.monotonic() + min(self.endpoint.timeout_s, CHECK_DEADLINE_S)
        return self._guard.run(lambda trace: _limit_models(self.fetch_models(trace)), deadline, MAX_LIST_BYTES)

    def check(self, model: str | None = None) -> CheckResult:
        """Looks whether address and key work, by listing the models. A server that cannot list is asked one short question, if a model
        is named: only that costs anything."""
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
            # It answered with words, though too few or too many: address, key and model work.
            if error.kind not in ("truncated", "empty"):
                return CheckResult(False, error.detail, error.kind, None, elapsed_ms(started), error.request_id, "asked")
            request_id = error.request_id
        else:
            request_id = reply.request_id
        detail = f"Address and key work. The provider does not list its models, so {model} was asked one short question, which it may bill."
        return CheckResult(True, detail, None, None, elapsed_ms(started), request_id, "asked")


def _limit_models(found: Iterable[UpstreamModel]) -> tuple[UpstreamModel, ...]:
    kept: dict[str, UpstreamModel] = {}
    for model in found:
        if 0 < len(model.model_id) <= MAX_NAME and model.model_id.isprintable():
            kept.setdefault(model.model_id, model)
        if len(kept) >= MAX_MODELS:
            break
    return tuple(kept.values())


def key_of(endpoint: Endpoint, *, required: bool = True) -> str:
    """The key, fit for a header. Raises `DriverError` of kind `config`."""
    key = endpoint.api_key or ""
    if (key or required) and not _KEY.fullmatch(key):
        problem = "holds spaces or characters that cannot be sent" if key else "is missing"
        raise DriverError("config", f"The key of this provider {problem}: enter it again.")
    return key


def allowed_base_url(endpoint: Endpoint, policy: OutboundPolicy) -> str:
    """The base URL, if it may be reached. Raises `DriverError` of kind `config`."""
    try:
        policy.check_url(endpoint.base_url or "")
    except Invalid as error:
        detail = error.detail
    else:
        return (endpoint.base_url or "").rstrip("/")
    raise DriverError("config", detail)


def extra_headers(endpoint: Endpoint) -> dict[str, str]:
    """The headers that a provider's row adds to every request."""
    given = endpoint.config.get("extra_headers")
    return {str(name): str(value) for name, value in given.items()} if isinstance(given, Mapping) else {}


def build_reply(  # noqa: PLR0913 # what a reply consists of
    text: object, finish: str, usage: Usage | None, trace: Trace, *, kind: str | None = None, model: object = None
) -> ChatReply:
    """The answer, or the `DriverError` that says why it is of no use. `kind` is what the vendor's own word for the finish means."""
    words = text if isinstance(text, str) else ""
    wrong = kind or ("" if words.strip() else "empty")
    if wrong:
        raise DriverError(wrong, ERROR_MESSAGES[wrong], trace=trace, usage=usage)
    return ChatReply(
        text=words,
        finish=finish[:40] or "unknown",
        usage=usage,
        model_reported=model[:MAX_NAME] if isinstance(model, str) and model else None,
        request_id=trace.request_id,
        http_status=trace.status or 0,
        latency_ms=0,
        attempts=1,
    )


def usage_from(total: Mapping[str, object], parts: Mapping[str, object]) -> Usage | None:
    """Usage by our meters: None if the totals are not told. Parts that contradict their totals are not believed; the totals still are."""
    return _usage_or_none({**total, **parts}) or _usage_or_none(total)


def _usage_or_none(quantities: Mapping[str, object]) -> Usage | None:
    try:
        return Usage.of(quantities)
    except Invalid:
        return None


def sum_or_none(*quantities: object) -> object:
    """Their sum, where what is not told counts as nothing; None if one of them is no whole number or all are untold."""
    told = [quantity for quantity in quantities if quantity is not None]
    if not told or any(type(quantity) is not int for quantity in told):
        return None
    return sum(quantity for quantity in told if isinstance(quantity, int))


def as_mapping(value: object) -> Mapping[str, Any]:
    """An SDK's object, or a part of an answer, as a mapping; empty for what is none."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    found = dump() if callable(dump) else {}
    return found if isinstance(found, Mapping) else {}


def filter_texts(values: Iterable[object]) -> Iterator[str]:
    """Those that are text."""
    return (value for value in values if isinstance(value, str))


def count_or_none(value: object) -> int | None:
    """A count that a vendor tells of a model."""
    return value if type(value) is int and 0 < value < 10**9 else None


def elapsed_ms(started: float) -> int:
    return round(1000 * (time.monotonic() - started))
