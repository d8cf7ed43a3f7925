"""Shared fixtures: a real database (SQLite by default, PostgreSQL on request), the application, and three users.

Ann is an admin, Bob is an editor and Eve is a viewer. Each test gets its own copy of a database template that is migrated once.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from environment import PASSWORD, api_for, postgresql_server, prepared, run_sql, running, settings_for
from factories import Api, Visitor
from flask import Flask
from flask.testing import FlaskClient
from speedups import QUICK_HASHER
from sqlalchemy.orm import Session

from webapp.config.settings import Settings
from webapp.extensions import db
from webapp.extensions.engine import create_file
from webapp.runtime import container
from webapp.security import passwords

hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")

VENDORS = ("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "XAI_", "MISTRAL_", "GITHUB_TOKEN", "OLLAMA_", "MODELDESK_")
PROXIES = ("HTTP", "http", "ALL_PROXY")


# Set by `make test-postgresql`. Every test application that does not choose an engine uses this one.
ENGINE = os.environ.get("TEST_ENGINE", "sqlite")
LONG = ("experiments", "browser", "drivers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the slowest folders first, so that no worker starts one when all the others have finished.

    On PostgreSQL, tests marked `sqlite` are skipped, and the summary counts them like all other skips.
    """
    if ENGINE == "postgresql":
        for item in items:
            if item.get_closest_marker("sqlite"):
                item.add_marker(pytest.mark.skip(reason="about SQLite itself"))
    items.sort(key=lambda item: next((rank for rank, name in enumerate(LONG) if name in item.path.parts), len(LONG)))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the provider keys and proxies of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith((*VENDORS, *PROXIES)) or name == "DATABASE_URL":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a fast password hasher, because thousands of tests sign in. Tests of the hashing cost override this fixture."""
    monkeypatch.setattr(passwords, "HASHER", QUICK_HASHER)


@pytest.fixture
def logged(caplog) -> Iterator[pytest.LogCaptureFixture]:
    """All log records from DEBUG up, of Modeldesk and of libraries. A control record at the end proves that records are captured."""
    for logger in (None, "webapp"):
        caplog.set_level(logging.DEBUG, logger=logger)
    yield caplog
    logging.getLogger("webapp.services.proof").debug("a line of ours")
    assert "a line of ours" in caplog.text, "this test has not seen what we log"


@pytest.fixture(scope="session")
def templates(tmp_path_factory) -> dict[bool, Path]:
    """Migrated SQLite files: with the seeded registry (True) and without it (False)."""
    folder = tmp_path_factory.mktemp("templates")
    paths = {}
    for seeded in (True, False):
        path = folder / f"{'seeded' if seeded else 'empty'}.sqlite3"
        create_file(path)
        prepared(settings_for(f"sqlite:///{path}", folder), seeded=seeded)
        paths[seeded] = path
    return paths


@pytest.fixture
def sqlite_settings(templates, tmp_path) -> Settings:
    """Settings with the seeded registry, on SQLite in every run."""
    database = tmp_path / "desk.sqlite3"
    shutil.copy(templates[True], database)
    return settings_for(f"sqlite:///{database}", tmp_path / "instance")


@pytest.fixture
def empty_sqlite_settings(templates, tmp_path) -> Settings:
    """Settings without providers and models, on SQLite in every run."""
    database = tmp_path / "empty.sqlite3"
    shutil.copy(templates[False], database)
    return settings_for(f"sqlite:///{database}", tmp_path / "instance")


@pytest.fixture
def settings(request) -> Settings:
    """Settings with the seeded registry, on SQLite unless the whole run is on PostgreSQL."""
    return request.getfixturevalue(f"{ENGINE}_settings")


@pytest.fixture
def empty_settings(request) -> Settings:
    """Settings without providers and models, on SQLite unless the whole run is on PostgreSQL."""
    return request.getfixturevalue(f"empty_{ENGINE}_settings")


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
    """The session of the test's thread. Changes go through `writing()`."""
    return db.session()


@pytest.fixture
def registry(app):
    return container.registry()


@pytest.fixture
def ann(app) -> Visitor:
    """A signed-in admin."""
    return Visitor(app, "ann@example.com", PASSWORD)


@pytest.fixture
def bob(app) -> Visitor:
    """A signed-in editor."""
    return Visitor(app, "bob@example.com", PASSWORD)


@pytest.fixture
def eve(app) -> Visitor:
    """A signed-in viewer."""
    return Visitor(app, "eve@example.com", PASSWORD)


@pytest.fixture
def api(app) -> Api:
    """An API client with the scopes to read, write and run."""
    return api_for(app, "registry:read", "registry:write", "runs:write")


@pytest.fixture
def reader(app) -> Api:
    """An API client with read access only."""
    return api_for(app, "registry:read")


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory) -> Iterator[str]:
    """The URL of a real PostgreSQL server with the database `template_seeded` and, if the whole run uses it, `template_empty`."""
    with postgresql_server() as server:
        base = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        for name in ("seeded", "empty") if ENGINE == "postgresql" else ("seeded",):
            run_sql(base, f"CREATE DATABASE template_{name}")
            settings = settings_for(base.replace("/postgres?", f"/template_{name}?"), tmp_path_factory.mktemp("pg-instance"))
            prepared(settings, seeded=name == "seeded")
        yield base


@pytest.fixture
def postgresql_settings(postgresql, tmp_path) -> Iterator[Settings]:
    """Settings with the seeded registry, on PostgreSQL."""
    with copied(postgresql, "seeded") as url:
        yield settings_for(url, tmp_path / "instance")


@pytest.fixture
def empty_postgresql_settings(postgresql, tmp_path) -> Iterator[Settings]:
    with copied(postgresql, "empty") as url:
        yield settings_for(url, tmp_path / "empty-instance")


@contextmanager
def copied(postgresql: str, template: str) -> Iterator[str]:
    """Yield the URL of a new database made from a template, and drop the database afterwards."""
    name = f"desk_{os.urandom(4).hex()}"
    run_sql(postgresql, f"CREATE DATABASE {name} TEMPLATE template_{template}")
    yield postgresql.replace("/postgres?", f"/{name}?")
    run_sql(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_app(postgresql_settings) -> Iterator[Flask]:
    yield from running(postgresql_settings)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def either_app(request) -> Flask:
    """The application, once on SQLite and once on PostgreSQL."""
    return request.getfixturevalue("app" if request.param == "sqlite" else "postgresql_app")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def bare(request, tmp_path):
    """An application on a database without any table."""
    if request.param == "sqlite":
        path = tmp_path / "bare.sqlite3"
        create_file(path)
        url = f"sqlite:///{path}"
    else:
        base = request.getfixturevalue("postgresql")
        run_sql(base, "CREATE DATABASE bare")
        url = base.replace("/postgres?", "/bare?")
    yield from running(settings_for(url, tmp_path / "instance"))
    if request.param == "postgresql":
        run_sql(base, "DROP DATABASE bare WITH (FORCE)")
