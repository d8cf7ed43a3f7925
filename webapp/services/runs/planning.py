"""Planning of a run before any call: model, key, prompt and parameters. No provider is called here."""

from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.resolution import NameIndex, trace_resolution
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
    """Everything that a run needs, so that no database session is held during the provider call."""

    incident: Incident
    choice: Choice
    endpoint: Endpoint | None = field(repr=False)
    request: ChatRequest | None
    source: str
    template: Template = BUILT_IN
    access: Access | None = None
    caller: Caller = OPERATOR
    names: NameIndex | None = field(default=None, repr=False)

    def priced_model(self, served: str | None) -> ModelInfo | None:
        """Return the model whose price applies: the one that responded if the registry has it at this provider, else the requested one."""
        requested = self.choice.model
        if served is None or requested is None or self.names is None:
            return requested
        models, _ = trace_resolution(self.names, f"{requested.provider}/{served}")
        return models[0] if len(models) == 1 and models[0].provider == requested.provider else requested

    @property
    def refusal_reason(self) -> str | None:
        """Return why no key can be used to call the provider, or None."""
        return None if self.access is None or self.access.available else self.access.reason

    @property
    def key(self) -> StoredKey | None:
        """Return the stored key on which the call counts."""
        return self.access.key if self.access else None


@dataclass(frozen=True, slots=True)
class PlanningContext:
    """The inputs of planning: the snapshot, the vault, the server's environment, and the caller."""

    snapshot: Snapshot
    vault: Vault
    environment: EnvironmentKeys = field(repr=False)
    caller: Caller = OPERATOR


def plan(
    session: Session, context: PlanningContext, incident: Incident, *, model: str | None = None, template: str | None = None
) -> RunPlan:
    """Return the plan of a run. Raises `UnknownModel`, `AmbiguousModel`, `Conflict`, or `NotFound` for an unknown template."""
    prompt = prompt_templates.find_current(session, template)
    choice = choose(context.snapshot, model, context.environment, prompt.preferred_model)
    if choice.driver == "local":
        return RunPlan(incident, choice, None, None, LOCAL, prompt, caller=context.caller)
    provider = _provider_of_choice(session, choice)
    key_access = access.decide_access(session, provider, context.caller, context.environment) if provider else _environment_access(context)
    endpoint = _resolve_endpoint(context, choice, provider, key_access, reveal_key(session, context, provider, key_access))
    base_url_variable = endpoints.base_url_variable(provider, context.environment) if provider else None
    source = ENVIRONMENT if key_access.variable or base_url_variable else DATABASE
    request = _build_request(context, incident, choice, provider, prompt)
    return RunPlan(incident, choice, endpoint, request, source, prompt, key_access, context.caller, context.snapshot.names)


def plan_local(incident: Incident, caller: Caller | None = None) -> RunPlan:
    """Return a plan for the built-in rules, as an explicit choice."""
    choice = replace(LOCAL_RULES, decided_by="explicit choice", explicit=True)
    return RunPlan(incident, choice, None, None, LOCAL, caller=caller or OPERATOR)


def _provider_of_choice(session: Session, choice: Choice) -> Provider | None:
    if choice.provider is None:
        return None
    return session.execute(select(Provider).where(Provider.slug == choice.provider)).scalar_one_or_none()


def _environment_access(context: PlanningContext) -> Access:
    """Return access with the environment's key. A model named by the environment is chosen only if the environment has its key."""
    return Access(
        AccessState.AVAILABLE_ENVIRONMENT, f"It is asked with {ENVIRONMENT_KEY} of the server's environment.", variable=ENVIRONMENT_KEY
    )


def reveal_key(session: Session, context: PlanningContext, provider: Provider | None, key_access: Access) -> str | None:
    """Return the decrypted key, or None without access. Raises `KeysLocked` for a stored key that cannot be read."""
    if key_access.available and key_access.variable:
        return context.environment.value_of(key_access.variable)
    if not key_access.available or key_access.key is None or provider is None:
        return None
    return credentials.reveal(session, provider, vault=context.vault, holder=Holder(key_access.key.scope, key_access.key.owner))


def endpoint_of(context: PlanningContext, provider: Provider, key_access: Access, key: str | None) -> Endpoint:
    """Return the endpoint of a provider with this key."""
    return Endpoint(
        provider.slug,
        provider.driver,
        endpoints.base_url_of(provider, context.environment),
        key,
        provider.config,
        _timeout(provider),
        key_access.source,
    )


def _resolve_endpoint(context: PlanningContext, choice: Choice, provider: Provider | None, key_access: Access, key: str | None) -> Endpoint:
    if provider is not None:
        return endpoint_of(context, provider, key_access, key)
    return Endpoint(choice.driver, choice.driver, DRIVERS[choice.driver].base_url, key, {}, DEFAULT_TIMEOUT_S, key_access.source)


def _timeout(provider: Provider | None) -> float:
    return float(provider.timeout_seconds) if provider and provider.timeout_seconds else DEFAULT_TIMEOUT_S


def _build_request(
    context: PlanningContext, incident: Incident, choice: Choice, provider: Provider | None, template: Template
) -> ChatRequest:
    quirks = choice.model.quirks if choice.model else {}
    requested = template.temperature if template.temperature is not None else provider.default_temperature if provider else None
    temperature = requested if quirks.get("temperature", True) else None
    token_parameter = quirks.get("token_parameter")
    prompt = render_prompt(template, incident)
    return ChatRequest(
        model=choice.upstream_model or "",
        system=prompt.system,
        user=prompt.user,
        max_output_tokens=_max_tokens(context, choice, provider, template),
        temperature=None if temperature is None else float(temperature),
        json_schema=answer_schema.RESPONSE_SCHEMA,
        schema_name=answer_schema.SCHEMA_NAME,
        token_parameter=str(token_parameter) if token_parameter else None,
        context_window=choice.model.context_window if choice.model else None,
        deadline_s=_timeout(provider),
    )


def _max_tokens(context: PlanningContext, choice: Choice, provider: Provider | None, template: Template) -> int:
    requested = template.max_tokens or (provider.default_max_tokens if provider else None)
    setting = context.environment.value_of("OPENAI_MAX_TOKENS")
    if requested is None and provider is None and setting.isascii() and setting.isdigit() and 0 < len(setting) < 8:
        requested = int(setting)
    limit = choice.model.max_output_tokens if choice.model else None
    return min(requested or DEFAULT_MAX_TOKENS, limit or requested or DEFAULT_MAX_TOKENS)
