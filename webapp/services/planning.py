"""What a run is to do, decided before anything is asked: which model, which key, which words. No provider is asked here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain import prompts
from webapp.domain.choice import ENVIRONMENT_KEY, Choice, choose
from webapp.domain.choice import LOCAL as LOCAL_RULES
from webapp.domain.errors import NotFound
from webapp.domain.incidents import Incident
from webapp.domain.snapshot import Snapshot
from webapp.drivers import DRIVERS, needs_key
from webapp.drivers.base import ChatRequest, Endpoint
from webapp.models import Provider
from webapp.security.vault import Vault
from webapp.services import credentials

DATABASE, ENVIRONMENT, LOCAL = "database", "environment", "local"
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
