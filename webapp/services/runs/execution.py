"""Carrying out what was planned, without any database: a provider may take a minute. A failure is an outcome, not an exception."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Recommendation
from webapp.domain.pricing.pricing import Cost, cost_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.errors import ModeldeskError
from webapp.drivers import adviser, available
from webapp.drivers.core import clients
from webapp.drivers.core.base import ChatReply, ChatRequest, Endpoint
from webapp.security.urlguard import OutboundPolicy
from webapp.services.runs.planning import Plan
from webapp.services.runs.response_cache import Remembered

BLACKED_OUT = "***"


@dataclass(frozen=True, slots=True)
class Outcome:
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


def execute(planned: Plan, policy: OutboundPolicy) -> Outcome:
    """Asks, without any database. Never raises for a provider's failure: that is an outcome. Local rules step in only unasked."""
    started_at, began = datetime.now(UTC), time.monotonic()
    if planned.endpoint is None or planned.request is None:
        advice = adviser().advise(planned.incident)
        return Outcome("succeeded", advice, "local", started_at, _since(began), Usage())
    reply: ChatReply | None = None
    try:
        if planned.refused and available(planned.endpoint.driver)[0]:  # A key would not help a driver that is not there.
            raise NoAccess(planned.refused)
        reply = without_key(_asked(planned.endpoint, planned.request, policy), planned.endpoint.api_key)
        advice = answer_schema.parse_recommendations(reply.text)
    except ModeldeskError as error:
        return _failed(planned, error, started_at, began, reply)
    cost = _cost(planned, reply.usage, started_at)
    driver, attempts = planned.choice.driver, reply.attempts
    return Outcome(
        "succeeded", advice, driver, started_at, reply.latency_ms, reply.usage, cost, None, reply.request_id, attempts, reply.text
    )


def again(planned: Plan, remembered: Remembered) -> Outcome:
    """The outcome of a question that was answered before: the same answer, and nothing is asked or paid."""
    began = time.monotonic()
    advice = answer_schema.parse_recommendations(remembered.text)
    now = datetime.now(UTC)
    return Outcome(
        "succeeded", advice, planned.choice.driver, now, _since(began), Usage(), text=remembered.text, cached_from=remembered.run
    )


def refused(planned: Plan, error: ModeldeskError) -> Outcome:
    """The outcome of a run that was not allowed to ask: nothing was sent."""
    return _failed(planned, error, datetime.now(UTC), time.monotonic(), None)


def _asked(endpoint: Endpoint, request: ChatRequest, policy: OutboundPolicy) -> ChatReply:
    return clients.shared().use(endpoint, policy, lambda driver: driver.chat(request))


def without_key(reply: ChatReply, key: str | None) -> ChatReply:
    """The reply with the key blacked out wherever the provider repeats it: it is about to be stored and shown."""
    if not key:
        return reply
    return replace(reply, text=reply.text.replace(key, BLACKED_OUT), request_id=cleared(reply.request_id, key))


def cleared(text: str | None, key: str | None) -> str | None:
    return text.replace(key, BLACKED_OUT) if text and key else text


class NoAccess(ModeldeskError):
    """The provider that should answer has no key that may be used."""

    status = 409
    code = "no_key"


def _failed(planned: Plan, error: ModeldeskError, started_at: datetime, began: float, reply: ChatReply | None) -> Outcome:
    # An answer that cannot be used was billed all the same, and so are some failures.
    usage = reply.usage if reply else getattr(error, "usage", None)
    key = planned.endpoint.api_key if planned.endpoint else None
    request_id = reply.request_id if reply else cleared(getattr(error, "request_id", None), key)
    advice: tuple[Recommendation, ...] = ()
    status, answered_by = "failed", planned.choice.driver
    if not planned.choice.explicit:
        advice, status, answered_by = adviser().advise(planned.incident), "fell_back", "local"
    cost = _cost(planned, usage, started_at)
    attempts = reply.attempts if reply else getattr(error, "attempts", 1)
    return Outcome(status, advice, answered_by, started_at, _since(began), usage, cost, error, request_id, attempts)


def _cost(planned: Plan, usage: Usage | None, at: datetime) -> Cost | None:
    model = planned.choice.model
    if model is None or usage is None:
        return None
    moment = at.replace(microsecond=0)
    return cost_of(model.price_at(moment), usage, at=moment, model=model.ref)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
