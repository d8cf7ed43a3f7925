"""Provider connection tests, and model lists from providers for review."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cachetools import TTLCache
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.discovery import BLOCKED, NEW, DiscoveredModel, ListedModel, RegisteredModel, compare_model_lists
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.catalog.input_schemas import validate_model, validate_new_names
from webapp.domain.credentials.key_access import Access
from webapp.domain.shared.errors import ConfirmationRequired, Conflict, Invalid, ModeldeskError
from webapp.drivers import availability
from webapp.drivers.core import clients
from webapp.drivers.core.base import CheckResult, Endpoint, UpstreamModel
from webapp.models import Model, ModelAlias, Provider, ProviderCheck
from webapp.registry import revision
from webapp.security.urlguard import OutboundPolicy
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import model_names, models
from webapp.services.credentials import key_access as access
from webapp.services.runs.execution import redact_key
from webapp.services.runs.planning import PlanningContext, endpoint_of, reveal_key

LISTING_CACHE_TTL_S, MAX_CACHED_LISTINGS = 300, 64
MAX_CHECKS_PER_PROVIDER, MAX_ADDED = 20, 1_000
LOCAL = "local"
NAMES_OF_FIELDS = {"model_id": "id", "display_name": "name"}


@dataclass(frozen=True, slots=True)
class Probe:
    """The input of a connection test: endpoint, access and model. It holds the key, but no database session."""

    provider_id: int
    slug: str
    endpoint: Endpoint = field(repr=False)
    access: Access
    model: str | None  # Gets a short prompt if the provider cannot list its models.


def prepare(session: Session, context: PlanningContext, provider: Provider) -> Probe:
    """Return the probe of a provider. Raises `KeysLocked` for a stored key that cannot be read."""
    key_access = access.decide_access(session, provider, context.caller, context.environment)
    key = reveal_key(session, context, provider, key_access)
    query = select(Model.model_id).where(Model.provider_id == provider.id, Model.is_active, Model.type == "text")
    model = session.execute(query.order_by(Model.is_default.desc(), Model.sort_order, Model.id).limit(1)).scalar_one_or_none()
    return Probe(provider.id, provider.slug, endpoint_of(context, provider, key_access, key), key_access, model)


def check(probe: Probe, policy: OutboundPolicy) -> CheckResult:
    """Return whether base URL and key work. Never raises."""
    if not probe.access.available and availability(probe.endpoint.driver)[0]:
        return CheckResult(False, probe.access.reason, "no_key")
    try:
        result = clients.shared_clients().use(probe.endpoint, policy, lambda driver: driver.check(probe.model))
        key = probe.endpoint.api_key
        return replace(result, detail=redact_key(result.detail, key) or "", request_id=redact_key(result.request_id, key))
    except ModeldeskError as error:
        return CheckResult(False, error.detail, error.code)


def record_check(session: Session, probe: Probe, result: CheckResult, *, actor: str) -> ProviderCheck:
    """Store the result of a check, and delete the oldest checks of the provider."""
    row = ProviderCheck(
        provider_id=probe.provider_id,
        ok=result.ok,
        kind=result.kind,
        detail=result.detail,
        how=result.how,
        key_source=probe.access.source,
        models=result.models,
        latency_ms=result.latency_ms,
        request_id=result.request_id,
        actor=actor,
    )
    session.add(row)
    session.flush()
    for outdated in list_checks(session, probe.provider_id)[MAX_CHECKS_PER_PROVIDER:]:
        session.delete(outdated)
    after = {"ok": result.ok, "kind": result.kind, "how": result.how, "key": probe.access.source}
    target = Target("provider", probe.provider_id, probe.slug)
    audit_log.record(session, "registry:provider:check", actor=actor, target=target, change=AuditChange(None, after))
    return row


def list_checks(session: Session, provider_id: int) -> Sequence[ProviderCheck]:
    """Return the checks of a provider, newest first."""
    query = select(ProviderCheck).where(ProviderCheck.provider_id == provider_id).order_by(ProviderCheck.id.desc())
    return session.execute(query).scalars().all()


def latest_by_provider(session: Session, provider_ids: Sequence[int]) -> Mapping[int, ProviderCheck]:
    """Return the newest check of each of these providers."""
    query = select(ProviderCheck).where(ProviderCheck.provider_id.in_(provider_ids)).order_by(ProviderCheck.id)
    return {row.provider_id: row for row in session.execute(query).scalars()}


# Lists are cached for five minutes, so that paging through a review does not call the provider for every page.
_listing_cache: TTLCache[tuple[str, str, str], tuple[ListedModel, ...]] = TTLCache(MAX_CACHED_LISTINGS, LISTING_CACHE_TTL_S)
_listing_cache_lock = threading.Lock()


def list_upstream_models(probe: Probe, policy: OutboundPolicy, *, refresh: bool = False) -> tuple[ListedModel, ...]:
    """Return the models that the provider lists. Raises `Conflict` without a key, and `DriverError` if the call fails."""
    if not probe.access.available:
        raise Conflict(probe.access.reason, code="no_key")
    cache_key = (probe.slug, probe.endpoint.base_url or "", probe.access.source)
    with _listing_cache_lock:
        cached = None if refresh else _listing_cache.get(cache_key)
    if cached is not None:
        return cached
    upstream = clients.shared_clients().use(probe.endpoint, policy, lambda driver: driver.list_models())
    listed = tuple(_redact_listed_model(model, probe.endpoint.api_key) for model in upstream)
    with _listing_cache_lock:
        _listing_cache[cache_key] = listed
    return listed


def _redact_listed_model(model: UpstreamModel, key: str | None) -> ListedModel:
    """Return a listed model with the key redacted from its texts, because they are shown and can be stored."""
    name, title, lifecycle = (redact_key(text, key) for text in (model.model_id, model.display_name, model.lifecycle))
    return ListedModel(name or "", title, model.context_window, model.max_output_tokens, lifecycle)


def review(session: Session, provider: Provider, upstream: Sequence[ListedModel]) -> list[DiscoveredModel]:
    """Compare the provider's list with the registry. New models that cannot be added are blocked, and have a problem."""
    rows = session.execute(select(Model.id, Model.model_id, Model.display_name, Model.is_active).where(Model.provider_id == provider.id))
    query = select(ModelAlias.alias).join(Model).where(Model.provider_id == provider.id)
    aliases = set(session.execute(query).scalars())
    compared = compare_model_lists(upstream, (RegisteredModel(*row) for row in rows))
    problems = {row.model_id: _addition_problem(provider, row.listed, aliases) for row in compared if row.state == NEW and row.listed}
    return [replace(row, state=BLOCKED, problem=problem) if (problem := problems.get(row.model_id)) else row for row in compared]


def _addition_problem(provider: Provider, listed: ListedModel, aliases: Collection[str]) -> str:
    """Return why this new model cannot be added, or an empty text."""
    if listed.model_id in aliases:
        return "The id is an alias of another model of this provider. Remove the alias first."
    try:
        entry = _new_model_entry(provider, listed, SelectedModel(listed.model_id, "text"))
        validate_new_names(validate_model(entry, partial=False))
    except Invalid as error:
        return " ".join(f"The {NAMES_OF_FIELDS.get(problem.field, problem.field)} {problem.message}." for problem in error.errors)
    return ""


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """A listed model that staff want to add to the registry."""

    model_id: str
    type: str
    active: bool = False


def add_models(  # noqa: PLR0913 # the usual parameters
    session: Session,
    provider: Provider,
    upstream: Sequence[ListedModel],
    chosen: Sequence[SelectedModel],
    *,
    actor: str,
    confirmed: Collection[str] = (),
) -> list[Model]:
    """Add the chosen models, all or none, and return the added ones. Existing models do not change.

    A model is inactive unless its `active` is set. Raises `Invalid` for more than `MAX_ADDED` models, a model that the provider does not
    list, or an unknown type, and `ConfirmationRequired` with the confirmations of all models.
    """
    if len(chosen) > MAX_ADDED:
        raise Invalid.field("model", f"at most {MAX_ADDED:,} models can be added at once; {len(chosen):,} are selected")
    listed = {model.model_id: model for model in upstream}
    existing_ids = set(session.execute(select(Model.model_id).where(Model.provider_id == provider.id)).scalars())
    for selected in chosen:
        if selected.model_id not in listed:
            raise Invalid.field("model", f"{selected.model_id[:80]} is not listed by {provider.display_name} any more: ask again")
        if selected.type not in MODEL_TYPES:
            raise Invalid.field("type", f"must be one of {', '.join(MODEL_TYPES)}")
    entries = [
        _new_model_entry(provider, listed[selected.model_id], selected) for selected in chosen if selected.model_id not in existing_ids
    ]
    return _create_models(session, entries, actor, confirmed)


def _create_models(session: Session, entries: Sequence[Mapping[str, Any]], actor: str, confirmed: Collection[str]) -> list[Model]:
    added: list[Model] = []
    revision.lock(session)
    with model_names.keep_meanings(session, confirmed) as confirmations:
        for entry in entries:
            try:
                added.append(models.create(session, entry, actor=actor, confirmed=confirmed))
            except ConfirmationRequired as error:
                confirmations += error.confirmations
    return added


def _new_model_entry(provider: Provider, listed: ListedModel, chosen: SelectedModel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "provider": provider.slug,
        "model_id": listed.model_id,
        "display_name": (listed.display_name or listed.model_id)[:200],
        "type": chosen.type,
        "active": chosen.active,
    }
    limits = {"context_window": listed.context_window, "max_output_tokens": listed.max_output_tokens}
    return entry | {name: value for name, value in limits.items() if value}
