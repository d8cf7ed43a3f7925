"""Carrying out what was planned, without any database: a provider may take a minute. A failure is an outcome, not an exception."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Recommendation
from webapp.domain.pricing.pricing import Cost, cost_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import ModeldeskError
from webapp.drivers import availability, create_adviser
from webapp.drivers.core import clients
from webapp.drivers.core.base import ChatReply, ChatRequest, Endpoint
from webapp.security.urlguard import OutboundPolicy
from webapp.services.runs.planning import RunPlan
from webapp.services.runs.response_cache import CacheHit

REDACTED = "***"


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What came of a run."""

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
    text: str | None = None  # What the model said, where it could be read.
    cached_from: str | None = None  # The run that asked for it, where it was not asked for again.


def execute(planned: RunPlan, policy: OutboundPolicy) -> RunOutcome:
    """Asks, without any database. Never raises for a provider's failure: that is an outcome. Local rules step in only unasked."""
    started_at, began = datetime.now(UTC), time.monotonic()
    if planned.endpoint is None or planned.request is None:
        advice = create_adviser().advise(planned.incident)
        return RunOutcome("succeeded", advice, "local", started_at, _elapsed_ms(began), Usage())
    reply: ChatReply | None = None
    try:
        if planned.refusal_reason and availability(planned.endpoint.driver)[0]:  # A key would not help a driver that is not there.
            raise NoAccess(planned.refusal_reason)
        reply = redact_reply(_send_request(planned.endpoint, planned.request, policy), planned.endpoint.api_key)
        advice = answer_schema.parse_recommendations(reply.text)
    except ModeldeskError as error:
        return _failed_outcome(planned, error, started_at, began, reply)
    cost = _calculate_cost(planned, reply.usage, started_at)
    driver, attempts = planned.choice.driver, reply.attempts
    return RunOutcome(
        "succeeded", advice, driver, started_at, reply.latency_ms, reply.usage, cost, None, reply.request_id, attempts, reply.text
    )


def cached_outcome(planned: RunPlan, remembered: CacheHit) -> RunOutcome:
    """The outcome of a question that was answered before: the same answer, and nothing is asked or paid."""
    began = time.monotonic()
    advice = answer_schema.parse_recommendations(remembered.text)
    now = datetime.now(UTC)
    return RunOutcome(
        "succeeded", advice, planned.choice.driver, now, _elapsed_ms(began), Usage(), text=remembered.text, cached_from=remembered.run
    )


def refused_outcome(planned: RunPlan, error: ModeldeskError) -> RunOutcome:
    """The outcome of a run that was not allowed to ask: nothing was sent."""
    return _failed_outcome(planned, error, datetime.now(UTC), time.monotonic(), None)


def _send_request(endpoint: Endpoint, request: ChatRequest, policy: OutboundPolicy) -> ChatReply:
    return clients.shared_clients().use(endpoint, policy, lambda driver: driver.chat(request))


def redact_reply(reply: ChatReply, key: str | None) -> ChatReply:
    """The reply with the key blacked out wherever the provider repeats it: it is about to be stored and shown."""
    if not key:
        return reply
    return replace(reply, text=reply.text.replace(key, REDACTED), request_id=redact_key(reply.request_id, key))


def redact_key(text: str | None, key: str | None) -> str | None:
    return text.replace(key, REDACTED) if text and key else text


class NoAccess(ModeldeskError):
    """The provider that should answer has no key that may be used."""

    status = 409
    code = "no_key"


def _failed_outcome(planned: RunPlan, error: ModeldeskError, started_at: datetime, began: float, reply: ChatReply | None) -> RunOutcome:
    # An answer that cannot be used was billed all the same, and so are some failures.
    usage = reply.usage if reply else getattr(error, "usage", None)
    key = planned.endpoint.api_key if planned.endpoint else None
    request_id = reply.request_id if reply else redact_key(getattr(error, "request_id", None), key)
    advice: tuple[Recommendation, ...] = ()
    status, answered_by = "failed", planned.choice.driver
    if not planned.choice.explicit:
        advice, status, answered_by = create_adviser().advise(planned.incident), "fell_back", "local"
    cost = _calculate_cost(planned, usage, started_at)
    attempts = reply.attempts if reply else getattr(error, "attempts", 1)
    return RunOutcome(status, advice, answered_by, started_at, _elapsed_ms(began), usage, cost, error, request_id, attempts)


def _calculate_cost(planned: RunPlan, usage: Usage | None, at: datetime) -> Cost | None:
    model = planned.choice.model
    if model is None or usage is None:
        return None
    moment = at.replace(microsecond=0)
    return cost_of(model.price_at(moment), usage, at=moment, model=model.ref)


def _elapsed_ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
