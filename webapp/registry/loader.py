"""Reading the registry from the database: the revision in one query, the whole registry table by table at one revision.

Reading must be fast, because a change becomes visible only after the whole registry was read again. Rows are unpacked as tuples, and
repeated values are built once. No read transaction stays open while Python builds values, because it would block writers on SQLite with
a rollback journal.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, String, cast, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.catalog.entities import NO_VALUES, Catalog, ModelInfo, Override, ProviderInfo, TokenInfo
from webapp.domain.pricing.pricing import Price, timeline
from webapp.domain.pricing.serializers import price_from
from webapp.domain.shared.errors import DatabaseUnreachable, DiskFull
from webapp.extensions.engine import CONSISTENT_READ
from webapp.models import ApiToken, Credential, Model, ModelAlias, Project, ProjectOverride, Provider, RegistryState
from webapp.registry.price_loader import fetch_rows, load_prices

MAX_SHORT_READS = 3


class RevisionMark(NamedTuple):
    """The identity of a database and its number of visible changes."""

    instance: str
    revision: int


class DatabaseSource:
    """The registry's rows, read over separate connections, independent of any request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read_revision(self) -> RevisionMark:
        """Return the current mark. Raises `DatabaseUnreachable`."""
        with self._connect() as connection:
            return _read_mark(connection)

    def load(self) -> Catalog:
        """Return the whole registry at one revision. Raises `DatabaseUnreachable`.

        Each table is read in a short read of its own. If the revision moved during that, everything is read again. If it moves each time,
        one read transaction reads all tables, so that constant changes never keep a process from seeing them.
        """
        with self._connect() as connection:
            for _ in range(MAX_SHORT_READS):
                catalog = _read_catalog(connection)
                if _read_mark(connection) == (catalog.instance, catalog.revision):
                    return catalog
        with self._read_transaction() as connection:
            return _read_catalog(connection)

    def _connect(self) -> AbstractContextManager[Connection]:
        """Return a connection on which each statement is a read of its own."""
        return self._connection({"isolation_level": "AUTOCOMMIT"} if self._on_postgresql else {})

    def _read_transaction(self) -> AbstractContextManager[Connection]:
        return self._connection({"isolation_level": "REPEATABLE READ"} if self._on_postgresql else {CONSISTENT_READ: True})

    @property
    def _on_postgresql(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    @contextmanager
    def _connection(self, options: Mapping[str, Any]) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**options) as connection:
                yield connection
        except (SQLAlchemyError, OSError, DiskFull) as error:
            raise DatabaseUnreachable from error


def _read_catalog(connection: Connection) -> Catalog:
    """Return the registry. Unless the connection has a read transaction, its parts can be of different revisions."""
    mark = _read_mark(connection)
    key_check = connection.execute(select(RegistryState.key_check)).scalar_one()
    aliases, patterns = _aliases(connection)
    return Catalog(
        providers=tuple(_providers(connection)),
        models=tuple(_models(connection, aliases, load_prices(connection))),
        tokens=tuple(_tokens(connection)),
        patterns=tuple(patterns),
        overrides=tuple(_overrides(connection)),
        instance=mark.instance,
        revision=mark.revision,
        key_check=key_check,
    )


def _read_mark(connection: Connection) -> RevisionMark:
    row = connection.execute(select(RegistryState.instance, RegistryState.revision)).one_or_none()
    if row is None:
        raise DatabaseUnreachable("The database is not set up: run `.venv/bin/flask --app wsgi prepare`.")
    return RevisionMark(*row)


def _providers(connection: Connection) -> Iterator[ProviderInfo]:
    with_key = set(connection.execute(select(Credential.provider_id).where(Credential.is_active)).scalars())
    provider = Provider
    for row in connection.execute(
        select(
            provider.id,
            provider.slug,
            provider.display_name,
            provider.driver,
            provider.base_url,
            provider.is_active,
            provider.is_primary,
            provider.website,
            provider.documentation_url,
            provider.description,
            provider.required_environment,
            provider.sort_order,
            provider.version,
            provider.updated_at,
        )
    ).all():
        yield ProviderInfo(
            slug=row.slug,
            display_name=row.display_name,
            driver=row.driver,
            id=row.id,
            base_url=row.base_url,
            active=row.is_active,
            primary=row.is_primary,
            has_key=row.id in with_key,
            website=row.website,
            documentation_url=row.documentation_url,
            description=row.description,
            required_environment=tuple(row.required_environment),
            sort_order=row.sort_order,
            version=row.version,
            updated_at=row.updated_at,
        )


def _aliases(connection: Connection) -> tuple[dict[int, list[str]], list[tuple[str, str]]]:
    exact: dict[int, list[str]] = defaultdict(list)
    patterns: list[tuple[str, str]] = []
    rows = fetch_rows(
        connection,
        select(ModelAlias.alias, ModelAlias.is_pattern, ModelAlias.model_id, Provider.slug, Model.model_id.label("name"))
        .join(Model, Model.id == ModelAlias.model_id)
        .join(Provider, Provider.id == Model.provider_id)
        .order_by(ModelAlias.alias),
    )
    for alias, is_pattern, model_id, slug, name in rows:
        if is_pattern:
            patterns.append((alias, f"{slug}/{name}"))
        else:
            exact[model_id].append(alias)
    return exact, patterns


MODEL_COLUMNS = (
    Model.id,
    Provider.slug,
    Model.model_id,
    Model.display_name,
    Model.type,
    cast(Model.capabilities, String),
    Model.context_window,
    Model.max_output_tokens,
    cast(Model.quirks, String),
    Model.is_active,
    Model.is_default,
    Model.sort_order,
    Model.released_on,
    Model.deprecated_on,
    Model.retires_on,
    Model.successor,
    Model.description,
    Model.version,
    Model.updated_at,
    Model.switches_on,
)


def _models(connection: Connection, aliases: dict[int, list[str]], prices: dict[int, list[Price]]) -> Iterator[ModelInfo]:
    query = select(*MODEL_COLUMNS).join(Provider, Provider.id == Model.provider_id)
    for row_id, slug, model_id, display_name, kind, capabilities, context, output, quirks, *rest in fetch_rows(connection, query):
        active, default, sort_order, released_on, deprecated_on, retires_on, successor, description, version, updated_at, switches_on = rest
        yield ModelInfo(
            ref=f"{slug}/{model_id}",
            provider=slug,
            model_id=model_id,
            display_name=display_name,
            type=kind,
            updated_at=updated_at,
            id=row_id,
            capabilities=_capabilities(capabilities),
            context_window=context,
            max_output_tokens=output,
            active=active,
            default=default,
            aliases=tuple(aliases.get(row_id, ())),
            sort_order=sort_order,
            released_on=released_on,
            deprecated_on=deprecated_on,
            retires_on=retires_on,
            successor=successor,
            description=description,
            version=version,
            prices=timeline(prices.get(row_id, ())),
            quirks=NO_VALUES if quirks == "{}" else json.loads(quirks),
            switches_on=switches_on,
        )


@lru_cache(maxsize=1_000)
def _capabilities(text: str) -> tuple[str, ...]:
    """Return the capabilities of a JSON text. The cache shares them, because many models have the same ones."""
    return tuple(json.loads(text))


def _overrides(connection: Connection) -> Iterator[Override]:
    """Yield the rules of active projects."""
    override = ProjectOverride
    query = (
        select(
            override.id, Project.slug, override.kind, Provider.slug, Model.model_id, override.starts_at, override.ends_at, override.price
        )
        .join(Project, Project.id == override.project_id)
        .join(Model, Model.id == override.model_id)
        .join(Provider, Provider.id == Model.provider_id)
        .where(Project.is_active)
        .order_by(override.id)
    )
    for override_id, project, kind, slug, model_id, starts, ends, price in connection.execute(query).all():
        yield Override(project, kind, f"{slug}/{model_id}", starts, ends, price_from(price) if price else None, override_id)


def _tokens(connection: Connection) -> Iterator[TokenInfo]:
    token = ApiToken
    query = select(token.public_id, token.name, token.digest, token.scopes, token.expires_at, token.id, token.project).where(
        token.revoked_at.is_(None)
    )
    for public_id, name, digest, scopes, expires_at, token_id, project in connection.execute(query).all():
        yield TokenInfo(public_id, name, bytes(digest), frozenset(scopes), expires_at, token_id, project)
