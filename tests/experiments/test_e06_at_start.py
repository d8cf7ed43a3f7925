"""E6: starts with an unusable database. Modeldesk names its state, responds within three seconds, and does not write to it."""

import ctypes
import os
import time
from contextlib import closing, contextmanager

import pytest
from environment import PASSWORD, api_for, postgresql_server, prepared, run_sql, running, settings_for
from factories import Visitor, model_values
from sqlalchemy import create_engine, text

from webapp.config.sqlite_driver import sqlite
from webapp.domain.shared.errors import Unavailable
from webapp.extensions.migration_guard import KNOWN_VERSIONS
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

WITHIN_S = 3.0
OVERRIDE = 1 << 1  # CAP_DAC_OVERRIDE lets root write to read-only files.
desk = contextmanager(running)


def change(path, *statements):
    with closing(sqlite.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def corrupt(path):
    path.write_bytes(b"this is no database" * 1000)


def damaged(path):
    content = bytearray(path.read_bytes())
    content[100:8192] = b"\xff" * 8092
    path.write_bytes(content)


FOUND = {
    "gone": ("unreachable", lambda path: path.unlink()),
    "an empty file": ("empty", lambda path: path.write_bytes(b"")),
    "no rows of state": ("empty", lambda path: change(path, "DELETE FROM registry_state")),
    "older": (
        "older",
        lambda path: change(
            path, f"UPDATE alembic_version SET version_num = '{KNOWN_VERSIONS[-2]}'", "ALTER TABLE models DROP COLUMN quirks"
        ),
    ),
    "newer, unreadable": (
        "newer",
        lambda path: change(path, "UPDATE alembic_version SET version_num = 'fffffffffff0'", "ALTER TABLE models DROP COLUMN quirks"),
    ),
    "no database": ("corrupt", corrupt),
    "damaged": ("corrupt", damaged),
}


def content(path):
    return path.read_bytes() if path.exists() else None


def try_to_write():
    with writing() as session:
        models.create(session, model_values(), actor="ann")


def timed(settings):
    """Start an application. Yields it, its first `/readyz` response and the seconds until then."""
    start = time.monotonic()
    with desk(settings) as app:
        ready = app.test_client().get("/readyz").json
        yield app, ready, time.monotonic() - start


started = contextmanager(timed)


@pytest.mark.parametrize("with_copy", [True, False])
@pytest.mark.parametrize("state", FOUND)
def test_e6_each_state_has_a_name_and_is_answered_for_and_stays_as_it_is(settings, state, with_copy, report):
    name, prepare = FOUND[state]
    with desk(settings) as first:
        token = api_for(first, "registry:read").token
        container.registry()
    if not with_copy:
        settings.last_good_path.unlink()
    prepare(settings.sqlite_path)
    before = content(settings.sqlite_path)
    with started(settings) as (app, ready, seconds):
        report(f"{state}{', with a copy' if with_copy else ''}: {ready['database']}, {ready['source']}, after {seconds:.2f} s")
        assert (ready["database"], ready["source"]) == (name, "last-good" if with_copy else "constants")
        assert seconds <= WITHIN_S
        assert container.registry().is_model_supported("gpt-4o")
        response = app.test_client().get("/api/v1/models/gpt-4o", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == (200 if with_copy else 401)  # The built-in constants have no tokens.
        with pytest.raises(Unavailable):
            try_to_write()
        assert app.test_client().get("/admin/").status_code in (302, 503)
        doctor = app.test_cli_runner().invoke(args=["doctor"])
        assert (doctor.exit_code, f"The database is {name}." in doctor.output) == (1, True)
        time.sleep(0.15)  # Several rounds of the refresh thread, and its report.
    assert content(settings.sqlite_path) == before


def test_e6_an_empty_registry_is_answered_for_by_constants_that_are_never_written(empty_sqlite_settings):
    with started(empty_sqlite_settings) as (_, ready, seconds):
        assert (ready["database"], ready["source"], seconds <= WITHIN_S) == ("ok", "constants", True)
        time.sleep(0.15)
    with closing(sqlite.connect(empty_sqlite_settings.sqlite_path)) as connection:
        assert connection.execute("SELECT (SELECT count(*) FROM models) + (SELECT count(*) FROM providers)").fetchone() == (0,)


@contextmanager
def like_anybody():
    """Drop root's permission to write everywhere, in this thread and the threads that it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    capabilities = sets[0]
    sets[0] = capabilities & ~OVERRIDE
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = capabilities
        assert libc.capset(header, sets) == 0


@contextmanager
def read_only(path):
    with like_anybody():
        path.chmod(0o444)
        try:
            yield
        finally:
            path.chmod(0o600)


@contextmanager
def newer(path):
    change(path, "UPDATE alembic_version SET version_num = 'fffffffffff0'")
    yield
    change(path, f"UPDATE alembic_version SET version_num = '{KNOWN_VERSIONS[-1]}'")


SEEN_BY_STAFF = {"read-only": (read_only, "database_read_only"), "newer": (newer, "database_other_version")}


@pytest.mark.parametrize("name", SEEN_BY_STAFF)
def test_e6_what_can_be_read_is_read_and_pages_and_refusals_say_why_nothing_is_written(settings, name):
    state, code = SEEN_BY_STAFF[name]
    with desk(settings) as first:
        cookie = Visitor(first, "ann@example.com", PASSWORD).client.get_cookie("modeldesk").value
        writer = api_for(first, "registry:read", "registry:write").token
    with state(settings.sqlite_path):
        before = content(settings.sqlite_path)
        with started(settings) as (app, ready, seconds):
            assert (ready["database"], ready["source"], seconds <= WITHIN_S) == (name, "database", True)
            client = app.test_client()
            client.set_cookie("modeldesk", cookie)
            page = client.get("/admin/")
            assert (page.status_code, f"The database is {name}: it can only be read." in page.text) == (200, True)
            headers = {"Authorization": f"Bearer {writer}"}
            refused = client.post("/api/v1/admin/models", json=model_values(), headers=headers)
            assert (refused.status_code, refused.json["code"]) == (503, code)
            assert client.get("/api/v1/models/gpt-4o", headers=headers).status_code == 200
            time.sleep(0.15)
        assert content(settings.sqlite_path) == before


def test_e6_control_a_desk_that_does_not_ask_for_the_version_writes_into_a_newer_one(settings, monkeypatch):
    monkeypatch.setattr("webapp.extensions.migration_guard.require_current_version", lambda _: None)
    with newer(settings.sqlite_path):
        before = content(settings.sqlite_path)
        with desk(settings):
            try_to_write()
        assert content(settings.sqlite_path) != before


def tables(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")).scalar_one()
    engine.dispose()
    return count


@pytest.mark.postgresql
def test_e6_postgresql_that_is_empty_newer_read_only_or_stopped_at_the_start(tmp_path, report):
    with postgresql_server() as server:
        base = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        empty = base.replace("/postgres?", "/nothing?")
        run_sql(base, "CREATE DATABASE nothing")
        states = {"empty": named(settings_for(empty, tmp_path / "empty"))}
        assert tables(empty) == 0
        settings = settings_for(base, tmp_path / "instance")
        prepared(settings, seeded=True)
        run_sql(base, "UPDATE alembic_version SET version_num = 'fffffffffff0'")
        states["newer"] = named(settings)
        run_sql(base, f"UPDATE alembic_version SET version_num = '{KNOWN_VERSIONS[-1]}'")
        run_sql(base, "ALTER DATABASE postgres SET default_transaction_read_only = on")
        states["read-only"] = named(settings)
        server.stop()
        states["stopped"] = named(settings)
        server.ensure_postgres_running()
    report(str(states))
    assert states == {
        "empty": ("empty", "constants"),
        "newer": ("newer", "database"),
        "read-only": ("read-only", "database"),
        "stopped": ("unreachable", "last-good"),
    }


def named(settings) -> tuple[str, str]:
    with started(settings) as (_, ready, seconds):
        assert seconds <= WITHIN_S
        with pytest.raises(Unavailable):
            try_to_write()
        return ready["database"], ready["source"]
