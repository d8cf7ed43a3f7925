"""Execution of a planned run without a database session: a provider call can take a minute. A failure is an outcome, not an exception."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Recommendation
from webapp.domain.pricing.pricing import STANDARD, Cost, cost_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import ModeldeskError
from webapp.drivers import availability, create_adviser
from webapp.drivers.core import clients
from webapp.drivers.core.base import ChatReply, ChatRequest, DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy
from webapp.services.runs.planning import RunPlan
from webapp.services.runs.response_cache import CacheHit

REDACTED = "***"


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Outcome of a run."""

    status: str
    recommendations: tuple[Recommendation, ...]
    answered_by: str
    started_at: datetime
    latency_ms: int
    usage: Usage | None = None
    cost: Cost | None = None
    error: ModeldeskError | None = None
    request_id: str | None = None
    attempts: int = 1
    text: str | None = None  # The model's response, if it was readable.
    cached_from: str | None = None  # The run that produced a cached response.


def execute(planned: RunPlan, policy: OutboundPolicy) -> RunOutcome:
    """Execute a plan without a database session. Never raises for a provider's failure, which is an outcome.

    After a failure, the built-in rules run only if the model was not chosen explicitly.
    """
    started_at, started = datetime.now(UTC), time.monotonic()
    if planned.endpoint is None or planned.request is None:
        recommendations = create_adviser().advise(planned.incident)
        return RunOutcome("succeeded", recommendations, "local", started_at, _elapsed_ms(started), Usage())
    reply: ChatReply | None = None
    try:
        if planned.refusal_reason and availability(planned.endpoint.driver)[0]:  # A missing driver is the more useful error.
            raise NoAccess(planned.refusal_reason)
        reply = redact_reply(_send_request(planned.endpoint, planned.request, policy), planned.endpoint.api_key)
        recommendations = answer_schema.parse_recommendations(reply.text)
    except ModeldeskError as error:
        return _failed_outcome(planned, error, started_at, started, reply)
    cost = _calculate_cost(planned, reply, started_at)
    driver, attempts = planned.choice.driver, reply.attempts
    return RunOutcome(
        "succeeded", recommendations, driver, started_at, reply.latency_ms, reply.usage, cost, None, reply.request_id, attempts, reply.text
    )


def cached_outcome(planned: RunPlan, hit: CacheHit) -> RunOutcome:
    """Return the outcome of a run with a cached response. Nothing is sent or billed."""
    started = time.monotonic()
    recommendations = answer_schema.parse_recommendations(hit.text)
    now = datetime.now(UTC)
    return RunOutcome(
        "succeeded", recommendations, planned.choice.driver, now, _elapsed_ms(started), Usage(), text=hit.text, cached_from=hit.run
    )


def refused_outcome(planned: RunPlan, error: ModeldeskError) -> RunOutcome:
    """Return the outcome of a run that was not allowed to call the provider. Nothing was sent."""
    return _failed_outcome(planned, error, datetime.now(UTC), time.monotonic(), None)


def _send_request(endpoint: Endpoint, request: ChatRequest, policy: OutboundPolicy) -> ChatReply:
    return clients.shared_clients().use(endpoint, policy, lambda driver: driver.chat(request))


def redact_reply(reply: ChatReply, key: str | None) -> ChatReply:
    """Return the reply with the key redacted, because the reply is stored and shown."""
    if not key:
        return reply
    return replace(reply, text=reply.text.replace(key, REDACTED), request_id=redact_key(reply.request_id, key))


def redact_key(text: str | None, key: str | None) -> str | None:
    return text.replace(key, REDACTED) if text and key else text


class NoAccess(ModeldeskError):
    """The provider of the chosen model has no usable key."""

    status = 409
    code = "no_key"


def _failed_outcome(planned: RunPlan, error: ModeldeskError, started_at: datetime, started: float, reply: ChatReply | None) -> RunOutcome:
    # An unusable response is billed too, and so are some failures.
    usage = reply.usage if reply else getattr(error, "usage", None)
    key = planned.endpoint.api_key if planned.endpoint else None
    request_id = reply.request_id if reply else redact_key(getattr(error, "request_id", None), key)
    recommendations: tuple[Recommendation, ...] = ()
    status, answered_by = "failed", planned.choice.driver
    if not planned.choice.explicit:
        recommendations, status, answered_by = create_adviser().advise(planned.incident), "fell_back", "local"
    cost = _calculate_cost(planned, reply or error, started_at)
    attempts = reply.attempts if reply else getattr(error, "attempts", 1)
    return RunOutcome(status, recommendations, answered_by, started_at, _elapsed_ms(started), usage, cost, error, request_id, attempts)


def _calculate_cost(planned: RunPlan, response: ChatReply | ModeldeskError, started_at: datetime) -> Cost | None:
    """Return the cost of a response, or of an error that was billed.

    It is incomplete if the provider counted what no meter holds, or states a condition such as `speed: fast` that no rate can have.
    """
    model = planned.choice.model
    if model is None or not isinstance(response, ChatReply | DriverError) or response.usage is None:
        return None
    at = started_at.replace(microsecond=0)
    tier = response.service_tier or STANDARD
    cost = cost_of(model.price_at(at), response.usage, at=at, service_tier=tier, model=model.ref)
    conditions = [f"attribute:{name}" for name in response.attributes] if isinstance(response, ChatReply) else []
    missing = tuple(dict.fromkeys((*cost.missing, *response.missing, *conditions)))
    return cost if cost.price_state == "free" else cost._replace(complete=cost.complete and not missing, missing=missing)


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
