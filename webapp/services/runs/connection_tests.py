"""Looking at a provider from here: testing the connection, and listing its models for review."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cachetools import TTLCache
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog.discovery import DiscoveredModel, ListedModel, RegisteredModel, compare_models
from webapp.domain.catalog.entities import MODEL_TYPES
from webapp.domain.credentials.key_access import Access
from webapp.domain.shared.errors import Conflict, Invalid, ModeldeskError
from webapp.drivers import availability
from webapp.drivers.core import clients
from webapp.drivers.core.base import CheckResult, Endpoint, UpstreamModel
from webapp.models import Model, Provider, ProviderCheck
from webapp.security.urlguard import OutboundPolicy
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import AuditChange, Target
from webapp.services.catalog import models
from webapp.services.credentials import key_access as access
from webapp.services.runs.execution import redact_key
from webapp.services.runs.planning import PlanningContext, endpoint_of, reveal_key

LISTING_CACHE_TTL_S, MAX_CACHED_LISTINGS = 300, 64
MAX_CHECKS_PER_PROVIDER = 20
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Probe:
    """How a provider is to be looked at; holds the key, and no database."""

    provider_id: int
    slug: str
    endpoint: Endpoint = field(repr=False)
    access: Access
    model: str | None  # Asked a short question where the provider cannot list its models.


def prepare(session: Session, means: PlanningContext, provider: Provider) -> Probe:
    """Raises `KeysLocked` for a stored key that cannot be read."""
    found = access.decide_access(session, provider, means.caller, means.environment)
    key = reveal_key(session, means, provider, found)
    query = select(Model.model_id).where(Model.provider_id == provider.id, Model.is_active, Model.type == "text")
    model = session.execute(query.order_by(Model.is_default.desc(), Model.sort_order, Model.id).limit(1)).scalar_one_or_none()
    return Probe(provider.id, provider.slug, endpoint_of(means, provider, found, key), found, model)


def check(probe: Probe, policy: OutboundPolicy) -> CheckResult:
    """Whether address and key work. Never raises."""
    if not probe.access.available and availability(probe.endpoint.driver)[0]:
        return CheckResult(False, probe.access.reason, "no_key")
    try:
        result = clients.shared_clients().use(probe.endpoint, policy, lambda driver: driver.check(probe.model))
        key = probe.endpoint.api_key
        return replace(result, detail=redact_key(result.detail, key) or "", request_id=redact_key(result.request_id, key))
    except ModeldeskError as error:
        return CheckResult(False, error.detail, error.code)


def record_check(session: Session, probe: Probe, result: CheckResult, *, actor: str) -> ProviderCheck:
    """Keeps what came of a check, and lets go of the oldest ones."""
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
    for old in list_checks(session, probe.provider_id)[MAX_CHECKS_PER_PROVIDER:]:
        session.delete(old)
    after = {"ok": result.ok, "kind": result.kind, "how": result.how, "key": probe.access.source}
    what = Target("provider", probe.provider_id, probe.slug)
    audit_log.record(session, "registry:provider:check", actor=actor, target=what, change=AuditChange(None, after))
    return row


def list_checks(session: Session, provider_id: int) -> Sequence[ProviderCheck]:
    """The checks of a provider, the newest first."""
    query = select(ProviderCheck).where(ProviderCheck.provider_id == provider_id).order_by(ProviderCheck.id.desc())
    return session.execute(query).scalars().all()


def latest_by_provider(session: Session, provider_ids: Sequence[int]) -> Mapping[int, ProviderCheck]:
    """The newest check of each of these providers."""
    query = select(ProviderCheck).where(ProviderCheck.provider_id.in_(provider_ids)).order_by(ProviderCheck.id)
    return {row.provider_id: row for row in session.execute(query).scalars()}


# Lists are kept for five minutes, so that paging through a review does not ask the provider again and again.
_listing_cache: TTLCache[tuple[str, str, str], tuple[ListedModel, ...]] = TTLCache(MAX_CACHED_LISTINGS, LISTING_CACHE_TTL_S)
_listing_cache_lock = threading.Lock()


def list_upstream_models(probe: Probe, policy: OutboundPolicy, *, refresh: bool = False) -> tuple[ListedModel, ...]:
    """What the provider lists. Raises `Conflict` without a key, `DriverError` if it cannot be asked."""
    if not probe.access.available:
        raise Conflict(probe.access.reason, code="no_key")
    slot = (probe.slug, probe.endpoint.base_url or "", probe.access.source)
    with _listing_cache_lock:
        kept = None if refresh else _listing_cache.get(slot)
    if kept is not None:
        return kept
    upstream = clients.shared_clients().use(probe.endpoint, policy, lambda driver: driver.list_models())
    found = tuple(_redact_listed_model(one, probe.endpoint.api_key) for one in upstream)
    with _listing_cache_lock:
        _listing_cache[slot] = found
    return found


def _redact_listed_model(found: UpstreamModel, key: str | None) -> ListedModel:
    """What is listed is about to be shown, and what is chosen of it to be stored: no provider puts the key into either."""
    name, title, lifecycle = (redact_key(text, key) for text in (found.model_id, found.display_name, found.lifecycle))
    return ListedModel(name or "", title, found.context_window, found.max_output_tokens, lifecycle)


def review(session: Session, provider: Provider, upstream: Sequence[ListedModel]) -> list[DiscoveredModel]:
    """What is new, gone and known."""
    rows = session.execute(select(Model.id, Model.model_id, Model.display_name, Model.is_active).where(Model.provider_id == provider.id))
    return compare_models(upstream, (RegisteredModel(*row) for row in rows))


@dataclass(frozen=True, slots=True)
class SelectedModel:
    """A listed model that staff want in the registry."""

    model_id: str
    type: str
    active: bool = False


def add_models(
    session: Session, provider: Provider, upstream: Sequence[ListedModel], chosen: Sequence[SelectedModel], *, actor: str
) -> list[Model]:
    """Adds the chosen models, all or none; inactive unless they were ticked to be active. Those that are there already are left alone.

    Raises `Invalid` for what the provider does not list, or a type that does not exist.
    """
    there = {model.model_id: model for model in upstream}
    here = set(session.execute(select(Model.model_id).where(Model.provider_id == provider.id)).scalars())
    added = []
    for one in chosen:
        if one.model_id not in there:
            raise Invalid.field("model", f"{one.model_id[:80]} is not listed by {provider.display_name} any more: ask again")
        if one.type not in MODEL_TYPES:
            raise Invalid.field("type", f"must be one of {', '.join(MODEL_TYPES)}")
        if one.model_id not in here:
            added.append(models.create(session, _new_model_entry(provider, there[one.model_id], one), actor=actor))
    return added


def _new_model_entry(provider: Provider, listed: ListedModel, chosen: SelectedModel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "provider": provider.slug,
        "model_id": listed.model_id,
        "display_name": (listed.display_name or listed.model_id)[:200],
        "type": chosen.type,
        "active": chosen.active,
    }
    known = {"context_window": listed.context_window, "max_output_tokens": listed.max_output_tokens}
    return entry | {name: value for name, value in known.items() if value}
