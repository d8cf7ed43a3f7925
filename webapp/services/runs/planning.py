"""What a run is to do, decided before anything is asked: which model, which key, which words. No provider is asked here."""

from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.credentials.environment_keys import EnvironmentKeys
from webapp.domain.credentials.key_access import Access, AccessState, StoredKey
from webapp.domain.incidents import answer_schema
from webapp.domain.incidents.incidents import Incident
from webapp.domain.incidents.model_selection import ENVIRONMENT_KEY, Choice, choose
from webapp.domain.incidents.model_selection import LOCAL as LOCAL_RULES
from webapp.domain.incidents.prompt_templates import BUILT_IN, Template, render_prompt
from webapp.drivers import DRIVERS
from webapp.drivers.core.base import ChatRequest, Endpoint
from webapp.models import Provider
from webapp.security.vault import Vault
from webapp.services.credentials import credentials, endpoints
from webapp.services.credentials import key_access as access
from webapp.services.credentials.credentials import Holder
from webapp.services.credentials.key_access import OPERATOR, Caller
from webapp.services.runs import prompt_templates

DATABASE, ENVIRONMENT, LOCAL = "database", "environment", "local"
DEFAULT_MAX_TOKENS, DEFAULT_TIMEOUT_S = 2_000, 60.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything a run needs, so that no database is held while a provider is asked."""

    incident: Incident
    choice: Choice
    endpoint: Endpoint | None = field(repr=False)
    request: ChatRequest | None
    source: str
    template: Template = BUILT_IN
    access: Access | None = None
    caller: Caller = OPERATOR

    @property
    def refusal_reason(self) -> str | None:
        """Why the provider cannot be asked with any key, or None."""
        return None if self.access is None or self.access.available else self.access.reason

    @property
    def key(self) -> StoredKey | None:
        """The stored key that a call would be counted on."""
        return self.access.key if self.access else None


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """What planning may use: the registry's state, the keys, the operator's environment, and who asks."""

    snapshot: Snapshot
    vault: Vault
    environment: EnvironmentKeys = field(repr=False)
    caller: Caller = OPERATOR


def plan(session: Session, means: PlanningContext, incident: Incident, *, model: str | None = None, template: str | None = None) -> RunPlan:
    """Decides what is to run. Raises `NotFound` for an unknown template, `UnknownModel`, `AmbiguousModel`, or `Conflict`."""
    prompt = prompt_templates.find_current(session, template)
    choice = choose(means.snapshot, model, means.environment, prompt.preferred_model)
    if choice.driver == "local":
        return RunPlan(incident, choice, None, None, LOCAL, prompt, caller=means.caller)
    provider = _provider_of_choice(session, choice)
    found = access.decide_access(session, provider, means.caller, means.environment) if provider else _environment_access(means)
    endpoint = _resolve_endpoint(means, choice, provider, found, reveal_key(session, means, provider, found))
    placed = endpoints.base_url_variable(provider, means.environment) if provider else None
    source = ENVIRONMENT if found.variable or placed else DATABASE
    return RunPlan(
        incident, choice, endpoint, _build_request(means, incident, choice, provider, prompt), source, prompt, found, means.caller
    )


def plan_local(incident: Incident, caller: Caller | None = None) -> RunPlan:
    """The local rules because somebody asked for just them."""
    choice = replace(LOCAL_RULES, decided_by="explicit choice", explicit=True)
    return RunPlan(incident, choice, None, None, LOCAL, caller=caller or OPERATOR)


def _provider_of_choice(session: Session, choice: Choice) -> Provider | None:
    if choice.provider is None:
        return None
    return session.execute(select(Provider).where(Provider.slug == choice.provider)).scalar_one_or_none()


def _environment_access(means: PlanningContext) -> Access:
    """Where the environment names the model, it has the key as well: that is how the model was chosen."""
    return Access(
        AccessState.AVAILABLE_ENVIRONMENT, f"It is asked with {ENVIRONMENT_KEY} of the server's environment.", variable=ENVIRONMENT_KEY
    )


def reveal_key(session: Session, means: PlanningContext, provider: Provider | None, found: Access) -> str | None:
    """The key in clear. Raises `KeysLocked` for a stored one that cannot be read."""
    if found.available and found.variable:
        return means.environment.value_of(found.variable)
    if not found.available or found.key is None or provider is None:
        return None
    return credentials.reveal(session, provider, vault=means.vault, holder=Holder(found.key.scope, found.key.owner))


def endpoint_of(means: PlanningContext, provider: Provider, found: Access, key: str | None) -> Endpoint:
    """Where a provider is asked, with this key."""
    return Endpoint(
        provider.slug,
        provider.driver,
        endpoints.base_url_of(provider, means.environment),
        key,
        provider.config,
        _timeout(provider),
        found.source,
    )


def _resolve_endpoint(means: PlanningContext, choice: Choice, provider: Provider | None, found: Access, key: str | None) -> Endpoint:
    if provider is not None:
        return endpoint_of(means, provider, found, key)
    return Endpoint(choice.driver, choice.driver, DRIVERS[choice.driver].base_url, key, {}, DEFAULT_TIMEOUT_S, found.source)


def _timeout(provider: Provider | None) -> float:
    return float(provider.timeout_seconds) if provider and provider.timeout_seconds else DEFAULT_TIMEOUT_S


def _build_request(
    means: PlanningContext, incident: Incident, choice: Choice, provider: Provider | None, template: Template
) -> ChatRequest:
    quirks = choice.model.quirks if choice.model else {}
    wanted = template.temperature if template.temperature is not None else provider.default_temperature if provider else None
    temperature = wanted if quirks.get("temperature", True) else None
    token_parameter = quirks.get("token_parameter")
    words = render_prompt(template, incident)
    return ChatRequest(
        model=choice.upstream_model or "",
        system=words.system,
        user=words.user,
        max_output_tokens=_max_tokens(means, choice, provider, template),
        temperature=None if temperature is None else float(temperature),
        json_schema=answer_schema.ANSWER_SCHEMA,
        schema_name=answer_schema.SCHEMA_NAME,
        token_parameter=str(token_parameter) if token_parameter else None,
        context_window=choice.model.context_window if choice.model else None,
        deadline_s=_timeout(provider),
    )


def _max_tokens(means: PlanningContext, choice: Choice, provider: Provider | None, template: Template) -> int:
    wanted = template.max_tokens or (provider.default_max_tokens if provider else None)
    given = means.environment.value_of("OPENAI_MAX_TOKENS")
    if wanted is None and provider is None and given.isascii() and given.isdigit() and 0 < len(given) < 8:
        wanted = int(given)
    most = choice.model.max_output_tokens if choice.model else None
    return min(wanted or DEFAULT_MAX_TOKENS, most or wanted or DEFAULT_MAX_TOKENS)
