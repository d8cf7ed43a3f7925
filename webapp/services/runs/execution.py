"""Execution of a planned run without a database session: a provider call can take a minute. A failure is an outcome, not an exception."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Recommendation
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import ModeldeskError
from webapp.domain.usage.converted_usage import context_tier_gaps
from webapp.drivers import availability, create_adviser
from webapp.drivers.core import clients
from webapp.drivers.core.base import ChatReply, ChatRequest, DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy
from webapp.services.runs.planning import RunPlan
from webapp.services.runs.response_cache import CacheHit

REDACTED = "***"
FAILED_ATTEMPT = "failed_attempt"


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Outcome of a run. Without `sent` no provider was called, so there is no cost. Otherwise a `cost` of None is unknown."""

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
    sent: bool = False
    served_model: str | None = None  # The model that the response names.
    reported_cost: Decimal | None = None  # The provider's own amount in US dollars.


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
    return RunOutcome(
        "succeeded",
        recommendations,
        planned.choice.driver,
        started_at,
        reply.latency_ms,
        reply.usage,
        _calculate_cost(planned, reply, started_at),
        request_id=reply.request_id,
        attempts=reply.attempts,
        text=reply.text,
        sent=True,
        served_model=reply.model_reported,
        reported_cost=reply.reported_cost,
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
    recommendations: tuple[Recommendation, ...] = ()
    status, answered_by = "failed", planned.choice.driver
    if not planned.choice.explicit:
        recommendations, status, answered_by = create_adviser().advise(planned.incident), "fell_back", "local"
    outcome = RunOutcome(status, recommendations, answered_by, started_at, _elapsed_ms(started), error=error)
    # An unusable response is billed too, and so are some failures.
    response = reply or error
    if not isinstance(response, ChatReply | DriverError):
        return outcome
    return replace(
        outcome,
        usage=response.usage,
        cost=_calculate_cost(planned, response, started_at),
        request_id=redact_key(response.request_id, planned.endpoint.api_key if planned.endpoint else None),
        attempts=response.attempts,
        sent=reply is not None or (isinstance(error, DriverError) and error.sent),
        served_model=response.model_reported,
        reported_cost=response.reported_cost,
    )


def _calculate_cost(planned: RunPlan, response: ChatReply | DriverError, started_at: datetime) -> Cost | None:
    """Return the cost of a response, or of an error that was billed. It is None if the model is unknown, or the usage of a paid model."""
    model = planned.priced_model(response.model_reported)
    if model is None:
        return None
    at = started_at.replace(microsecond=0)
    price = model.price_at(at)
    if response.usage is None and (price is None or price.state != "free"):
        return None
    tier = response.service_tier or STANDARD
    cost = cost_of(price, response.usage or Usage(), at=at, service_tier=tier, attributes=response.attributes, model=model.ref)
    missing = tuple(dict.fromkeys((*cost.missing, *_response_gaps(response, price))))
    return cost if cost.price_state == "free" else cost._replace(complete=cost.complete and not missing, missing=missing)


def _response_gaps(response: ChatReply | DriverError, price: Price | None) -> Iterator[str]:
    """Yield what a cost at this price misses.

    Counts that no meter holds, the context tier of several requests, attributes such as `speed: fast` that no rate depends on, and an
    earlier attempt that failed and can be billed.
    """
    priced_attributes = {name for rate in price.rates for name, _ in rate.when} if price else set()
    yield from response.missing
    yield from context_tier_gaps(response.iterations, price)
    yield from (f"attribute:{name}" for name in response.attributes if name not in priced_attributes)
    if response.failed_attempts:
        yield FAILED_ATTEMPT


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
