"""Contracts of all drivers: frozen request and reply values, one protocol, and errors that say what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from webapp.domain.incidents.incidents import Incident, Recommendation
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import ModeldeskError
from webapp.domain.usage.converted_usage import UNKNOWN_USAGE, ConvertedUsage

CHECK_DEADLINE_S = 15.0
MAX_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address that a driver calls, from a provider's row, with its key in plaintext. Never show, log or store it."""

    slug: str
    driver: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    config: Mapping[str, object] = field(default_factory=dict, repr=False)  # Can contain secret headers.
    timeout_s: float = 60.0
    credential: str = ""  # Name of the provider's key, such as shared or personal:ann@example.com. Not the key.


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat request.

    Fields that are None are not sent. `token_parameter` is the name of the limit, if a model or server uses another name.
    """

    model: str
    system: str
    user: str
    max_output_tokens: int = 2_000
    temperature: float | None = None
    json_schema: Mapping[str, object] | None = None
    schema_name: str = "answer"
    token_parameter: str | None = None
    context_window: int | None = None  # For servers that truncate requests to the context size set by the client.
    deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One complete response. `usage` is None if the provider did not report it: unknown, not zero.

    `missing` names what makes the cost of the usage incomplete. `reported_cost` is the provider's own amount in US dollars.
    `failed_attempts` counts the earlier attempts that were sent, and may be billed.
    """

    text: str
    finish: str
    usage: Usage | None
    model_reported: str | None
    request_id: str | None
    http_status: int
    latency_ms: int
    attempts: int
    service_tier: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    reported_cost: Decimal | None = None
    missing: tuple[str, ...] = ()
    failed_attempts: int = 0
    iterations: int = 1


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model that a provider lists."""

    model_id: str
    display_name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    lifecycle: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of a check of a base URL and its key."""

    ok: bool
    detail: str
    kind: str | None = None
    models: int | None = None
    latency_ms: int = 0
    request_id: str | None = None
    how: str = "listed"  # Or "asked": a model received a question, which might be billed.


ERROR_MESSAGES: Mapping[str, str] = {
    "config": "The settings of this provider do not work: correct its address, key or options.",
    "auth": "The provider does not accept the key: enter a valid one.",
    "permission": "The key is valid but may not do this: give it the right, or use another key.",
    "billing": "The provider wants payment or its quota is used up: look at the account's billing page.",
    "not_found": "The provider does not know this model or address: check the model's id and the base URL.",
    "unsupported_param": "The model does not take one of the parameters: change the model's settings.",
    "bad_request": "The provider refused the request: check the model's settings.",
    "too_large": "The incident and the prompt are too long for this model: shorten them, or use a model with a larger context.",
    "rate_limited": "The provider limits how often it may be asked: wait, then try again.",
    "overloaded": "The provider is overloaded: try again in a while, or use another model.",
    "server_error": "The provider failed: try again, and look at its status page if it goes on.",
    "timeout": "The provider did not answer in time: try again, or give the model a longer timeout.",
    "connect": "The provider cannot be reached: check its address, name and certificate.",
    "network": "The connection to the provider was lost: try again.",
    "redirect": "The provider's address leads elsewhere, and redirects are not followed: enter the final address.",
    "invalid_response": "The provider's answer cannot be read: check that the base URL is that of its API.",
    "response_too_large": "The provider's answer is too large and was cut off: check that the base URL is that of its API.",
    "empty": "The model answered without any text: try again, or raise its limit of output tokens.",
    "truncated": "The answer was cut off at the limit of output tokens: raise the limit.",
    "refused": "The model declined to answer: change the incident's wording, or use another model.",
    "unknown": "Something unexpected happened while asking the provider: try again, and look into the log if it goes on.",
}
RETRYABLE_KINDS = frozenset({"rate_limited", "overloaded", "server_error", "connect", "network"})
_REQUEST_ERROR_KINDS = frozenset({"config", "too_large", "unsupported_param"})


class DriverError(ModeldeskError):
    """Failure of a call to a provider. `kind` (also `code`) is a key of `ERROR_MESSAGES`.

    `status` is the status of Modeldesk's own response (502, 504, or 422 if its settings are invalid). `http_status` is the provider's: a
    provider's 401 must never become Modeldesk's 401. `usage`, `missing`, `model_reported` and `reported_cost` are set if tokens were billed
    for an unusable response. `failed_attempts` counts the earlier attempts that were sent, and `sent` is true if any attempt was.
    """

    def __init__(self, kind: str, detail: str = "", *, trace: "Trace | None" = None, usage: ConvertedUsage = UNKNOWN_USAGE):
        super().__init__(detail or ERROR_MESSAGES[kind], code=kind)
        self.kind = kind
        self.status = 422 if kind in _REQUEST_ERROR_KINDS else 504 if kind == "timeout" else 502
        self.http_status = trace.status if trace else None
        self.retry_after = trace.retry_after if trace else None
        self.request_id = trace.request_id if trace else None
        self.usage = usage.usage
        self.missing = usage.gaps
        self.service_tier = usage.metadata.service_tier
        self.attributes = usage.metadata.attributes
        self.model_reported = usage.metadata.model
        self.reported_cost = usage.metadata.reported_cost
        self.iterations = usage.metadata.iterations
        self.attempts = 1
        self.failed_attempts = 0
        self.sent = trace is not None and trace.sent

    @property
    def retryable(self) -> bool:
        """Whether a retry can help. Never true for timeouts: the provider may have done, and billed, the work."""
        return self.kind in RETRYABLE_KINDS


@dataclass(slots=True)
class Trace:
    """Observations of one HTTP exchange, the same for every SDK."""

    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    received: int = 0
    sent: bool = False
    body: bytearray = field(default_factory=bytearray, repr=False)  # Only the beginning of an error's. It might contain the key.
    complete: bool = False  # Whether the whole body was received.


class Driver(Protocol):
    """Client for one vendor's protocol. Thread-safe. Every method raises only `DriverError`."""

    def chat(self, request: ChatRequest) -> ChatReply:
        """Send one request and return the complete response."""

    def list_models(self) -> tuple[UpstreamModel, ...]:
        """List the provider's models."""

    def check(self, model: str | None = None) -> CheckResult:
        """Check the base URL and the key. Never raises. The model is called only if the provider cannot list its models."""

    def close(self) -> None:
        """Close the driver. The connections belong to the process and stay open."""


class Adviser(Protocol):
    """Adviser on incidents without a model: the built-in rules."""

    def advise(self, incident: Incident) -> tuple[Recommendation, ...]:
        """Return at least one recommendation."""
