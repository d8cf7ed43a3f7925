"""Reads the registry from the database: the revision in one look, the whole catalogue in one consistent read.

Rows are unpacked and repeated values made once, because a change shows only when the whole catalogue has been read again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select, String, cast, func, select, type_coerce
from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.catalog import NO_VALUES, Catalog, ModelInfo, Override, ProviderInfo, TokenInfo
from webapp.domain.documents import price_from
from webapp.domain.errors import DatabaseUnreachable
from webapp.domain.pricing import Price, PriceSource, Rate, Window, timeline
from webapp.extensions.engine import ONE_MOMENT
from webapp.models import (
    ApiToken,
    Credential,
    Model,
    ModelAlias,
    PriceRate,
    PriceVerification,
    Project,
    ProjectOverride,
    Provider,
    RegistryState,
)
from webapp.models import Price as PriceRow


class Mark(NamedTuple):
    """Which database, and how often it has visibly changed."""

    instance: str
    revision: int


class DatabaseSource:
    """The registry's rows, read with connections of its own so that it can work beside any request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self) -> Mark:
        """The present mark. Raises `DatabaseUnreachable`."""
        with self._reading() as connection:
            return _mark(connection)

    def load(self) -> Catalog:
        """The whole catalogue as of one moment. Raises `DatabaseUnreachable`."""
        with self._reading() as connection:
            mark = _mark(connection)
            key_check = connection.execute(select(RegistryState.key_check)).scalar_one()
            aliases, patterns = _aliases(connection)
            return Catalog(
                providers=tuple(_providers(connection)),
                models=tuple(_models(connection, aliases, _prices(connection))),
                tokens=tuple(_tokens(connection)),
                patterns=tuple(patterns),
                overrides=tuple(_overrides(connection)),
                instance=mark.instance,
                revision=mark.revision,
                key_check=key_check,
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        on_postgresql = self._engine.dialect.name == "postgresql"
        options = {"isolation_level": "REPEATABLE READ"} if on_postgresql else {ONE_MOMENT: True}
        try:
            with self._engine.connect().execution_options(**options) as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseUnreachable from error


def _rows(connection: Connection, question: Select[*tuple[Any, ...]]) -> Iterable[Sequence[Any]]:
    """All rows. Python's SQLite gives the other threads a turn at every single row: while they are busy, reading some thousands of rows
    one by one takes half a minute. So SQLite hands them over in one piece, as JSON of what it stores."""
    if connection.dialect.name != "sqlite":
        return connection.execute(question).all()
    inner = question.subquery()
    values = func.json_array(*(type_coerce(column, String) for column in inner.c))
    piece = connection.execute(select(func.json_group_array(values, type_=String))).scalar_one()
    columns = [list(column) for column in zip(*json.loads(piece), strict=True)]
    for place, column in enumerate(inner.c):
        processed = column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
        if columns and processed is not None:
            columns[place] = [processed(value) for value in columns[place]]
    return zip(*columns, strict=True)


def _mark(connection: Connection) -> Mark:
    row = connection.execute(select(RegistryState.instance, RegistryState.revision)).one_or_none()
    if row is None:
        raise DatabaseUnreachable("The database is not set up: run `.venv/bin/flask --app wsgi prepare`.")
    return Mark(*row)


def _providers(connection: Connection) -> Iterator[ProviderInfo]:
    with_key = set(connection.execute(select(Credential.provider_id).where(Credential.is_active)).scalars())
    p = Provider
    for row in connection.execute(
        select(
            p.id, p.slug, p.display_name, p.driver, p.base_url, p.is_active, p.is_primary, p.website, p.documentation_url,
            p.description, p.required_environment, p.sort_order, p.version, p.updated_at,
        )
    ):  # fmt: skip
        yield ProviderInfo(
            slug=row.slug, display_name=row.display_name, driver=row.driver, id=row.id, base_url=row.base_url,
            active=row.is_active, primary=row.is_primary, has_key=row.id in with_key, website=row.website,
            documentation_url=row.documentation_url, description=row.description,
            required_environment=tuple(row.required_environment), sort_order=row.sort_order, version=row.version, updated_at=row.updated_at,
        )  # fmt: skip


def _aliases(connection: Connection) -> tuple[dict[int, list[str]], list[tuple[str, str]]]:
    exact: dict[int, list[str]] = defaultdict(list)
    patterns: list[tuple[str, str]] = []
    rows = _rows(
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


def _prices(connection: Connection) -> dict[int, list[Price]]:
    rates, verified = _rates(connection), _verified(connection)
    prices: dict[int, list[Price]] = defaultdict(list)
    p = PriceRow
    for number, model_id, state, effective_from, currency, kind, name, url, verified_at, note, corrects in _rows(
        connection,
        select(
            p.id, p.model_id, p.state, p.effective_from, p.currency, p.source_kind, p.source_name, p.source_url, p.verified_at,
            p.note, p.corrects_id,
        ),
    ):  # fmt: skip
        prices[model_id].append(
            Price(
                state=state, effective_from=effective_from, currency=currency, rates=tuple(rates.get(number, ())),
                source=PriceSource(kind, name, url, verified.get(number, verified_at)), id=number, corrects=corrects, note=note,
            )
        )  # fmt: skip
    return prices


def _verified(connection: Connection) -> dict[int, datetime]:
    """When each price was last compared with its source by somebody."""
    v = PriceVerification
    rows = connection.execute(select(v.price_id, v.created_at).order_by(v.id))
    return {row.price_id: row.created_at for row in rows}


def _rates(connection: Connection) -> dict[int, list[Rate]]:
    rates: dict[int, list[Rate]] = defaultdict(list)
    r = PriceRate
    amount = type_coerce(r.amount, String)
    for _, price_id, *columns in sorted(
        _rows(connection, select(r.id, r.price_id, r.meter, amount, r.per, r.above, r.service_tier, r.window_key)), key=itemgetter(0)
    ):
        rates[price_id].append(_known_rate(*columns))
    return rates


@lru_cache(maxsize=20_000)
def _known_rate(*columns: Any) -> Rate:  # noqa: ANN401 # a row's columns
    """Many prices have the same rate: it is made once, and kept once."""
    meter, amount, per, above, service_tier, window_key = columns
    return rate_of(meter, Decimal(amount), per, above, (service_tier, window_key))


def rate_of(meter: str, amount: Decimal, per: int, above: int, conditions: tuple[str, str]) -> Rate:
    """A rate from its columns."""
    service_tier, window_key = conditions
    return Rate(meter, amount, per, None if above < 0 else above, service_tier, window_of(window_key) if window_key else None)


def window_key(window: Window | None) -> str:
    """A window as the text that its column holds: `0,1|16:30-00:30`."""
    if window is None:
        return ""
    return f"{','.join(map(str, window.days))}|{window.start:%H:%M}-{window.end:%H:%M}"


def window_of(key: str) -> Window:
    days, _, hours = key.partition("|")
    start, _, end = hours.partition("-")
    return Window(tuple(int(day) for day in days.split(",") if day), time.fromisoformat(start), time.fromisoformat(end))


def _models(connection: Connection, aliases: dict[int, list[str]], prices: dict[int, list[Price]]) -> Iterator[ModelInfo]:
    m = Model
    for number, slug, model_id, display_name, kind, capabilities, context, output, quirks, *rest in _rows(
        connection,
        select(
            m.id, Provider.slug, m.model_id, m.display_name, m.type, cast(m.capabilities, String), m.context_window,
            m.max_output_tokens, cast(m.quirks, String), m.is_active, m.is_default, m.sort_order, m.released_on, m.deprecated_on,
            m.retires_on, m.successor, m.description, m.version, m.updated_at, m.switches_on,
        ).join(Provider, Provider.id == m.provider_id),
    ):  # fmt: skip
        active, default, sort_order, released_on, deprecated_on, retires_on, successor, description, version, updated_at, switches_on = rest
        yield ModelInfo(
            ref=f"{slug}/{model_id}", provider=slug, model_id=model_id, display_name=display_name, type=kind,
            updated_at=updated_at, id=number, capabilities=_capabilities(capabilities), context_window=context,
            max_output_tokens=output, active=active, default=default, aliases=tuple(aliases.get(number, ())),
            sort_order=sort_order, released_on=released_on, deprecated_on=deprecated_on, retires_on=retires_on, successor=successor,
            description=description, version=version, prices=timeline(prices.get(number, ())),
            quirks=NO_VALUES if quirks == "{}" else json.loads(quirks), switches_on=switches_on,
        )  # fmt: skip


@lru_cache(maxsize=1_000)
def _capabilities(text: str) -> tuple[str, ...]:
    """Many models can do the same."""
    return tuple(json.loads(text))


def _overrides(connection: Connection) -> Iterator[Override]:
    """The rules of active projects."""
    o = ProjectOverride
    query = (
        select(o.id, Project.slug, o.kind, Provider.slug, Model.model_id, o.starts_at, o.ends_at, o.price)
        .join(Project, Project.id == o.project_id)
        .join(Model, Model.id == o.model_id)
        .join(Provider, Provider.id == Model.provider_id)
        .where(Project.is_active)
        .order_by(o.id)
    )
    for number, project, kind, slug, model_id, starts, ends, price in connection.execute(query):
        yield Override(project, kind, f"{slug}/{model_id}", starts, ends, price_from(price) if price else None, number)


def _tokens(connection: Connection) -> Iterator[TokenInfo]:
    t = ApiToken
    query = select(t.public_id, t.name, t.digest, t.scopes, t.expires_at, t.id, t.project).where(t.revoked_at.is_(None))
    for public_id, name, digest, scopes, expires_at, number, project in connection.execute(query):
        yield TokenInfo(public_id, name, bytes(digest), frozenset(scopes), expires_at, number, project)
