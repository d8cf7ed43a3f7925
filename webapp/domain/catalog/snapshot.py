"""The snapshot: the whole registry as one immutable value, with all indexes built at construction."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from operator import attrgetter

from webapp.domain.catalog.entities import Catalog, ModelInfo, ProviderInfo, TokenInfo
from webapp.domain.catalog.project_overrides import apply_overrides, change_times, overrides_of
from webapp.domain.catalog.resolution import NameIndex, index_names
from webapp.domain.catalog.succession import apply_successions
from webapp.domain.shared.timestamps import format_timestamp, start_of_day

DATABASE, LAST_GOOD, CONSTANTS = "database", "last-good", "constants"
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable registry.

    `source` is its origin, and `as_of` the time at which the database last confirmed it. `supported` and `price` of its models apply from
    `valid_from` to `valid_until`: the last and the next time at which a price starts or a model retires.
    """

    catalog: Catalog
    source: str
    as_of: datetime
    valid_from: datetime
    valid_until: datetime
    models: tuple[ModelInfo, ...]
    providers: Mapping[str, ProviderInfo]
    names: NameIndex
    by_name: Mapping[str, ModelInfo]
    by_type: Mapping[str, tuple[ModelInfo, ...]]
    by_provider: Mapping[str, tuple[ModelInfo, ...]]
    defaults: Mapping[str, ModelInfo]
    supported: frozenset[str]
    tokens: Mapping[str, TokenInfo]
    headers: dict[str, str]

    @property
    def revision(self) -> int:
        return self.catalog.revision

    @property
    def tag(self) -> str:
        """Identifier of the content, usable as an ETag. It is equal in all processes with the same registry at the same time."""
        return f"{self.catalog.instance[:8]}.{self.revision}.{int(self.valid_from.timestamp())}"

    @property
    def primary(self) -> ProviderInfo | None:
        return next((provider for provider in self.providers.values() if provider.primary), None)


def build(
    catalog: Catalog, *, now: datetime, source: str, as_of: datetime | None = None, active_refs: Collection[str] | None = None
) -> Snapshot:
    """Build a snapshot of this catalog as of `now`. `active_refs` compete for names, by default the active models."""
    providers = {provider.slug: provider for provider in sorted(catalog.providers, key=_provider_order)}
    models = apply_successions(
        tuple(sorted((_with_current_state(model, providers, now) for model in catalog.models), key=_model_order)), now
    )
    counts = _group_by(models, "provider")
    providers = {slug: _with_model_count(provider, len(counts.get(slug, ()))) for slug, provider in providers.items()}
    active = [model for model in models if model.active and model.provider in providers and providers[model.provider].active]
    names = index_names(models, catalog.patterns, active_refs)
    by_name = names.exact_matches()
    valid_from, valid_until = _validity_period(catalog, now)
    return Snapshot(
        catalog=catalog,
        source=source,
        as_of=as_of or now,
        valid_from=valid_from,
        valid_until=valid_until,
        models=models,
        providers=providers,
        names=names,
        by_name=by_name,
        by_type=_group_by(active, "type"),
        by_provider=_group_by(active, "provider"),
        defaults={model.type: model for model in models if model.default and model.active},
        supported=frozenset(name for name, model in by_name.items() if model.supported),
        tokens={token.public_id: token for token in catalog.tokens},
        headers=_response_headers(catalog.revision, source, as_of or now),
    )


def project_snapshot(snapshot: Snapshot, project: str | None, now: datetime) -> Snapshot:
    """Return the registry as this project sees it, or the same snapshot if the project has no overrides. Responses name the project.

    A name identifies the same model for every project, whether the project can use it or not.
    """
    if project is None or not overrides_of(snapshot.catalog.overrides, project):
        return snapshot
    active = {model.ref for model in snapshot.models if model.active}
    catalog = apply_overrides(snapshot.catalog, project, now)
    view = build(catalog, now=now, source=snapshot.source, as_of=snapshot.as_of, active_refs=active)
    return replace(view, valid_from=snapshot.valid_from, headers=view.headers | {"Modeldesk-Project": project})


def relabel(snapshot: Snapshot, source: str, as_of: datetime | None = None) -> Snapshot:
    """Return the same registry with a different source."""
    confirmed_at = as_of or snapshot.as_of
    return replace(snapshot, source=source, as_of=confirmed_at, headers=_response_headers(snapshot.revision, source, confirmed_at))


def _response_headers(revision: int, source: str, as_of: datetime) -> dict[str, str]:
    """Return the headers that state the origin of every response. They are built once per snapshot, not per response."""
    return {"Modeldesk-Revision": str(revision), "Modeldesk-Source": source, "Modeldesk-As-Of": format_timestamp(as_of)}


def _provider_order(provider: ProviderInfo) -> tuple[int, str]:
    return provider.sort_order, provider.slug


def _model_order(model: ModelInfo) -> tuple[int, str, str]:
    return model.sort_order, model.display_name.casefold(), model.ref


def _with_model_count(provider: ProviderInfo, models: int) -> ProviderInfo:
    return provider if provider.models == models else replace(provider, models=models)


def _with_current_state(model: ModelInfo, providers: Mapping[str, ProviderInfo], now: datetime) -> ModelInfo:
    """Return the model with its time-dependent fields set."""
    reason = _unsupported_reason(model, providers.get(model.provider), now)
    price = model.price_at(now)
    if model.price is price and model.unsupported_because == reason and model.supported == (reason is None):
        return model
    values = (*_time_independent_values(model), reason is None, reason, price)
    return ModelInfo(*values)


# The time-independent fields: all but the last three. `replace` would take three times as long.
_time_independent_values = attrgetter(*(field.name for field in fields(ModelInfo)[:-3]))


def _unsupported_reason(model: ModelInfo, provider: ProviderInfo | None, now: datetime) -> str | None:
    if not model.active:
        return "inactive"
    if provider is None or not provider.active:
        return "provider_inactive"
    retired = model.retired_at()
    return "retired" if retired is not None and retired <= now else None


def _group_by(models: Iterable[ModelInfo], attribute: str) -> dict[str, tuple[ModelInfo, ...]]:
    groups: dict[str, list[ModelInfo]] = {}
    for model in models:
        groups.setdefault(getattr(model, attribute), []).append(model)
    return {key: tuple(group) for key, group in groups.items()}


def _validity_period(catalog: Catalog, now: datetime) -> tuple[datetime, datetime]:
    since, until = datetime.min.replace(tzinfo=UTC).replace(year=1970), END_OF_TIME
    for change_time in (*_model_change_times(catalog.models), *change_times(catalog.overrides)):
        if since < change_time <= now:
            since = change_time
        elif now < change_time < until:
            until = change_time
    return since, until


def _model_change_times(models: Iterable[ModelInfo]) -> Iterator[datetime]:
    for model in models:
        for price in model.prices:
            yield price.effective_from
        if model.retires_on:
            yield model.retired_at() or END_OF_TIME
        if model.switches_on:
            yield start_of_day(model.switches_on)
