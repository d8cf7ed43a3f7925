"""Base of the vendor drivers: keys that are valid in a header, one or two guarded attempts, checks, and model lists."""

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from webapp.domain.catalog.discovery import MAX_LISTED
from webapp.domain.shared.errors import Invalid
from webapp.domain.usage.converted_usage import ConvertedUsage
from webapp.domain.usage.formats import convert_usage
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
from webapp.drivers.core.failures import CallAttempt, CallRunner
from webapp.security.redaction import redact
from webapp.security.urlguard import OutboundPolicy

MAX_NAME = 300
TEXT_PARTS = ("text", "output_text")
PROBE_REQUEST = ChatRequest(model="", system="Answer with one word.", user="Say ok.", max_output_tokens=16, deadline_s=CHECK_DEADLINE_S)
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")
# Error kinds of servers that cannot list their models, but might support chat.
_LISTING_UNSUPPORTED = ("not_found", "invalid_response", "bad_request")


class VendorDriver(ABC):
    """Calls one vendor through its SDK. Subclasses convert requests, replies and lists; the rest is the same for all vendors."""

    usage_format = "openai.chat"  # The name of the vendor's format in `webapp/domain/usage/formats.py`.

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
        """Make one call of the SDK. Its result is not used."""

    @abstractmethod
    def parse_reply(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        """Convert the JSON of a response to a reply. Must not trust any type in it. Raises `DriverError`."""

    @abstractmethod
    def fetch_models(self, trace: Trace) -> Iterable[UpstreamModel]:
        """Return the models that the vendor lists."""

    @abstractmethod
    def close(self) -> None:
        """Close the driver. The connections belong to the process and stay open."""

    # Shared by all vendors.

    def chat(self, request: ChatRequest) -> ChatReply:
        options = self.options(request)

        def send_once(attempt: CallAttempt, trace: Trace) -> ChatReply:
            started = time.monotonic()
            document = read_json(lambda: self.send(options), trace)
            if not isinstance(document, Mapping):
                raise DriverError("invalid_response", trace=trace)
            reply = self._parse_or_explain(document, trace)
            return replace(reply, latency_ms=elapsed_ms(started), attempts=attempt.number, failed_attempts=attempt.failed_before)

        return self._runner.run_with_retry(send_once, request.deadline_s)

    def _parse_or_explain(self, document: Mapping[str, Any], trace: Trace) -> ChatReply:
        """Parse a response. If it has no answer but reports an error, the error's own message explains why."""
        try:
            return self.parse_reply(document, trace)
        except DriverError as error:
            if error.kind not in ("invalid_response", "empty") or not document.get("error"):
                raise
        raise self._runner.reported_error(trace, self.convert(document))

    def convert(self, document: object) -> ConvertedUsage:
        """Return the usage in a response. Names of fields are the provider's text, which can contain the key."""
        return self.redacted(convert_usage(self.usage_format, document))

    def redacted(self, converted: ConvertedUsage) -> ConvertedUsage:
        """Return the usage with the driver's secrets redacted from all text of the provider."""
        secrets = self._runner.secrets
        metadata = converted.metadata
        attributes = {name: redact(value, secrets) for name, value in metadata.attributes.items()}
        model = redact(metadata.model, secrets) if metadata.model else None
        missing = tuple(redact(name, secrets) for name in converted.gaps)
        return replace(
            converted, missing=missing, contradictions=(), errors=(), metadata=replace(metadata, model=model, attributes=attributes)
        )

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
    """Return the first `MAX_LISTED` models, each id once. An id that is too long or not printable stays, so that staff see it refused."""
    by_id: dict[str, UpstreamModel] = {}
    for model in models:
        if model_id := _printable(model.model_id):
            label = _printable(model.display_name) if model.display_name else None
            by_id.setdefault(model_id, replace(model, model_id=model_id, display_name=label))
        if len(by_id) >= MAX_LISTED:
            break
    return tuple(by_id.values())


def _printable(text: str) -> str:
    """Return text that can be shown, with escapes for what cannot, such as half of a surrogate pair."""
    return (text if text.isprintable() else text.encode("unicode_escape").decode())[:MAX_NAME]


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


def build_reply(text: object, finish: str, usage: ConvertedUsage, trace: Trace, *, kind: str | None = None) -> ChatReply:
    """Return the reply. Raises `DriverError` if it is unusable. `kind` is the error kind of the vendor's finish reason, if any."""
    content = join_text(text)
    error_kind = kind or ("" if content.strip() else "empty")
    if error_kind:
        raise DriverError(error_kind, ERROR_MESSAGES[error_kind], trace=trace, usage=usage)
    return ChatReply(
        text=content,
        finish=finish[:40] or "unknown",
        usage=usage.usage,
        model_reported=usage.metadata.model,
        request_id=trace.request_id,
        http_status=trace.status or 0,
        latency_ms=0,
        attempts=1,
        service_tier=usage.metadata.service_tier,
        attributes=usage.metadata.attributes,
        reported_cost=usage.metadata.reported_cost,
        missing=usage.gaps,
        iterations=usage.metadata.iterations,
    )


def read_json(call: Callable[[], object], trace: Trace) -> Any:
    """Make a call of an SDK and return the JSON of the response.

    An SDK coerces, drops or rejects what its types do not expect, so only the body counts, if it is complete.
    """
    try:
        call()
    except Exception:
        if not trace.complete or trace.status is None or trace.status >= 300:
            raise
    return json.loads(trace.body.decode("utf-8-sig"), parse_float=Decimal)


def model_entries(document: object, trace: Trace, name_field: str = "id") -> list[Mapping[str, Any]]:
    """Return the models of a list: a bare list, or the list in an object. Raises `DriverError` if there is none."""
    if isinstance(document, Mapping):
        lists = [document.get(name) for name in ("data", "models")]
        document = next((value for value in lists if isinstance(value, list)), None)
    if not isinstance(document, list):
        raise DriverError("invalid_response", trace=trace)
    entries = [entry for entry in document if isinstance(entry, Mapping) and isinstance(entry.get(name_field), str)]
    if document and not entries:
        raise DriverError("invalid_response", trace=trace)
    return entries


def join_text(content: object) -> str:
    """Return the text of a content: text, or a list of parts, some of which are text."""
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, Mapping) and part.get("type", "text") in TEXT_PARTS)
        return "".join(filter_texts(part.get("text") for part in parts))
    return content if isinstance(content, str) else ""


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a part of a response as a mapping. Return an empty mapping for any other value."""
    return value if isinstance(value, Mapping) else {}


def first_mapping(value: object) -> Mapping[str, Any]:
    """Return the first entry of a list as a mapping."""
    return as_mapping(value[0]) if isinstance(value, list) and value else {}


def text_or_unknown(value: object) -> str:
    return value if isinstance(value, str) and value else "unknown"


def filter_texts(values: Iterable[object]) -> Iterator[str]:
    """Return the values that are text."""
    return (value for value in values if isinstance(value, str))


def count_or_none(value: object) -> int | None:
    """Return a count that a vendor reports about a model, or None if it is invalid."""
    return value if type(value) is int and 0 < value < 10**9 else None


def elapsed_ms(started: float) -> int:
    return round(1000 * (time.monotonic() - started))
