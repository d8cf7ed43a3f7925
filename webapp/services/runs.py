"""Runs: asking a model (or the local rules) about an incident, and recording what came of it. A failure is recorded as a failure."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain import prompts
from webapp.domain.choice import ENVIRONMENT_KEY, Choice, choose
from webapp.domain.choice import LOCAL as LOCAL_RULES
from webapp.domain.documents import cost_document
from webapp.domain.errors import ModeldeskError, NotFound
from webapp.domain.incidents import Incident, Recommendation, incident_dict, recommendation_dict
from webapp.domain.moments import shown_moment
from webapp.domain.pricing import Cost, cost_of
from webapp.domain.snapshot import Snapshot
from webapp.domain.usage import Usage
from webapp.drivers import DRIVERS, adviser, available, driver_for, needs_key
from webapp.drivers.base import ChatReply, ChatRequest, Endpoint
from webapp.models import Provider, Run, RunRecommendation
from webapp.security.urlguard import OutboundPolicy
from webapp.security.vault import Vault
from webapp.services import audit, credentials
from webapp.services.audit import Target

DATABASE, ENVIRONMENT, LOCAL = "database", "environment", "local"
BLACKED_OUT = "***"
DEFAULT_MAX_TOKENS, DEFAULT_TIMEOUT_S = 2_000, 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run needs, so that no database is held while a provider is asked."""

    incident: Incident
    choice: Choice
    endpoint: Endpoint | None = field(repr=False)
    request: ChatRequest | None
    source: str
    missing_key: str | None = None


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


@dataclass(frozen=True, slots=True)
class Means:
    """What planning may use: the registry's state, the keys and the operator's environment."""

    snapshot: Snapshot
    vault: Vault
    environment: Mapping[str, str] = field(repr=False)


def plan(session: Session, means: Means, incident: Incident, *, model: str | None = None, template: str | None = None) -> Plan:
    """Decides what is to run. Raises `NotFound` for an unknown template, `UnknownModel`, `AmbiguousModel`, or `Conflict`."""
    if template not in (None, prompts.TEMPLATE):
        raise NotFound(f"There is no template of that name; there is {prompts.TEMPLATE}.", code="unknown_template")
    choice = choose(means.snapshot, model, means.environment)
    if choice.driver == "local":
        return Plan(incident, choice, None, None, LOCAL)
    provider = _provider(session, choice)
    key, source = _key(session, means, provider)
    endpoint = _endpoint(choice, provider, key)
    missing = f"{choice.provider or choice.driver} has no key." if key is None and needs_key(choice.driver, _variables(provider)) else None
    return Plan(incident, choice, endpoint, _request(means, incident, choice, provider), source, missing)


def plan_local(incident: Incident) -> Plan:
    """The local rules because somebody asked for just them."""
    return Plan(incident, replace(LOCAL_RULES, decided_by="explicit choice", explicit=True), None, None, LOCAL)


def _provider(session: Session, choice: Choice) -> Provider | None:
    if choice.provider is None:
        return None
    return session.execute(select(Provider).where(Provider.slug == choice.provider)).scalar_one_or_none()


def _key(session: Session, means: Means, provider: Provider | None) -> tuple[str | None, str]:
    """The key and where it came from: the database first, then the variables that the provider names."""
    stored = credentials.reveal(session, provider, vault=means.vault) if provider else None
    if stored is not None:
        return stored, DATABASE
    found = next((means.environment[name].strip() for name in _variables(provider) if means.environment.get(name, "").strip()), None)
    return (found, ENVIRONMENT) if found else (None, DATABASE)


def _variables(provider: Provider | None) -> Sequence[str]:
    """The environment variables that may hold the key."""
    return provider.required_environment if provider else (ENVIRONMENT_KEY,)


def _endpoint(choice: Choice, provider: Provider | None, key: str | None) -> Endpoint:
    info = DRIVERS[choice.driver]
    base_url = (provider.base_url if provider else None) or info.base_url
    timeout = float(provider.timeout_seconds) if provider and provider.timeout_seconds else DEFAULT_TIMEOUT_S
    return Endpoint(choice.provider or choice.driver, choice.driver, base_url, key, provider.config if provider else {}, timeout)


def _request(means: Means, incident: Incident, choice: Choice, provider: Provider | None) -> ChatRequest:
    quirks = choice.model.quirks if choice.model else {}
    temperature = provider.default_temperature if provider and quirks.get("temperature", True) else None
    token_parameter = quirks.get("token_parameter")
    timeout = float(provider.timeout_seconds) if provider and provider.timeout_seconds else DEFAULT_TIMEOUT_S
    return ChatRequest(
        model=choice.upstream_model or "",
        system=prompts.SYSTEM_PROMPT,
        user=prompts.user_text(incident),
        max_output_tokens=_max_tokens(means, choice, provider),
        temperature=None if temperature is None else float(temperature),
        json_schema=prompts.ANSWER_SCHEMA,
        schema_name=prompts.SCHEMA_NAME,
        token_parameter=str(token_parameter) if token_parameter else None,
        deadline_s=timeout,
    )


def _max_tokens(means: Means, choice: Choice, provider: Provider | None) -> int:
    wanted = provider.default_max_tokens if provider else None
    given = means.environment.get("OPENAI_MAX_TOKENS", "").strip()
    if provider is None and given.isascii() and given.isdigit() and 0 < len(given) < 8:
        wanted = int(given)
    most = choice.model.max_output_tokens if choice.model else None
    return min(wanted or DEFAULT_MAX_TOKENS, most or wanted or DEFAULT_MAX_TOKENS)


def execute(planned: Plan, policy: OutboundPolicy) -> Outcome:
    """Asks, without any database. Never raises for a provider's failure: that is an outcome. Local rules step in only unasked."""
    started_at, began = datetime.now(UTC), time.monotonic()
    if planned.endpoint is None or planned.request is None:
        advice = adviser().advise(planned.incident)
        return Outcome("succeeded", advice, "local", started_at, _since(began), Usage())
    reply: ChatReply | None = None
    try:
        if planned.missing_key and available(planned.endpoint.driver)[0]:  # A key would not help a driver that is not there.
            raise KeyMissing(planned.missing_key)
        reply = without_key(driver_for(planned.endpoint, policy).chat(planned.request), planned.endpoint.api_key)
        advice = prompts.recommendations_from(reply.text)
    except ModeldeskError as error:
        return _failed(planned, error, started_at, began, reply)
    cost = _cost(planned, reply.usage, started_at)
    return Outcome(
        "succeeded", advice, planned.choice.driver, started_at, reply.latency_ms, reply.usage, cost, None, reply.request_id, reply.attempts
    )


def without_key(reply: ChatReply, key: str | None) -> ChatReply:
    """The reply with the key blacked out wherever the provider repeats it: it is about to be stored and shown."""
    if not key:
        return reply
    return replace(reply, text=reply.text.replace(key, BLACKED_OUT), request_id=cleared(reply.request_id, key))


def cleared(text: str | None, key: str | None) -> str | None:
    return text.replace(key, BLACKED_OUT) if text and key else text


class KeyMissing(ModeldeskError):
    """The provider that should answer has no key."""

    status = 409
    code = "no_key"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} Enter one on the provider's page, or choose another model.")


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


def record(session: Session, planned: Plan, outcome: Outcome, *, actor: str) -> Run:
    """Stores a run and its advice."""
    choice, cost = planned.choice, outcome.cost
    run = Run(
        public_id=f"run_{secrets.token_hex(12)}", actor=actor, status=outcome.status, template=prompts.TEMPLATE,
        incident=incident_dict(planned.incident), model_ref=choice.model.ref if choice.model else None, provider_slug=choice.provider,
        driver=choice.driver, source=planned.source, decided_by=choice.decided_by, answered_by=outcome.answered_by,
        usage=outcome.usage.as_dict() if outcome.usage else None,
        cost=cost_document(cost) if cost else None, cost_total=cost.total if cost else None, currency=cost.currency if cost else None,
        price_id=cost.price_id if cost else None, latency_ms=outcome.latency_ms, attempts=outcome.attempts,
        upstream_request_id=outcome.request_id, created_at=outcome.started_at, finished_at=datetime.now(UTC),
        error_code=outcome.error.code if outcome.error else None, error_detail=outcome.error.detail if outcome.error else None,
    )  # fmt: skip
    run.recommendations = [
        RunRecommendation(position=position, **recommendation_dict(advice)) for position, advice in enumerate(outcome.recommendations)
    ]
    session.add(run)
    session.flush()
    after = {"status": run.status, "model": run.model_ref, "driver": run.driver, "source": run.source}
    audit.record(session, "runs:run:create", actor=actor, target=Target("run", run.id, run.public_id), change=(None, after))
    return run


def find(session: Session, public_id: str) -> Run:
    """The run of this id. Raises `NotFound`."""
    run = session.execute(select(Run).where(Run.public_id == public_id)).scalar_one_or_none()
    if run is None:
        raise NotFound("There is no such run.")
    return run


def latest(session: Session, limit: int = 10) -> list[Run]:
    """The newest runs."""
    return list(session.execute(select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)).scalars())


def document(run: Run) -> dict[str, Any]:
    """A Run as the HTTP API answers it."""
    return {
        "id": run.public_id,
        "status": run.status,
        "model": run.model_ref,
        "provider": run.provider_slug,
        "driver": run.driver,
        "source": run.source,
        "decided_by": run.decided_by,
        "answered_by": run.answered_by,
        "template": run.template,
        "incident": run.incident,
        "recommendations": [
            {
                "type": advice.type,
                "priority": advice.priority,
                "title": advice.title,
                "description": advice.description,
                "details": advice.details,
                "actions": advice.actions,
            }
            for advice in run.recommendations
        ],
        "usage": run.usage,
        "cost": run.cost,
        "latency_ms": run.latency_ms,
        "attempts": run.attempts,
        "cached": run.cached,
        "error": {"code": run.error_code, "detail": run.error_detail} if run.error_code else None,
        "request_id": run.upstream_request_id,
        "created_at": shown_moment(run.created_at),
    }
