"""Database outages: reads continue, writes are rejected with a message, and no other file replaces the database."""

import shutil
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from environment import PASSWORD, api_for, postgresql_server, prepared, running, settings_for
from factories import Visitor, csrf_token, model_values
from sqlalchemy import update

from webapp.config.settings import Settings
from webapp.config.sqlite_driver import COMPANIONS, companion, sqlite
from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.extensions import db
from webapp.models import UserSession
from webapp.registry import database_health
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models

BACK_WITHIN = 2.0


@pytest.fixture
def settings(sqlite_settings) -> Settings:
    """SQLite settings in every run, because these tests move the file. Tests that stop PostgreSQL name it themselves."""
    return sqlite_settings


def eventually(condition, seconds=BACK_WITHIN) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def source() -> str:
    return container.registry().snapshot.source


def add_a_model() -> None:
    with writing() as session:
        models.create(session, model_values(), actor="ann")


def sign_in(client):
    token = csrf_token(client.get("/login").text)
    return client.post("/login", data={"csrf_token": token, "email": "ann@example.com", "password": PASSWORD})


@contextmanager
def moved_away(path: Path):
    moved = path.with_suffix(".moved")
    path.rename(moved)
    try:
        yield moved
    finally:
        path.unlink(missing_ok=True)
        moved.rename(path)


@contextmanager
def moved_away_with_its_journal(path: Path):
    moved = path.with_suffix(".moved")
    move_database(path, moved)
    try:
        yield moved
    finally:
        for suffix in ("", *COMPANIONS):
            companion(path, suffix).unlink(missing_ok=True)
        move_database(moved, path)


def move_database(path: Path, target: Path) -> None:
    for suffix in ("", *COMPANIONS):
        if companion(path, suffix).exists():
            companion(path, suffix).rename(companion(target, suffix))


# An SQLite file that is moved to another path


def test_t39_reads_go_on_and_writes_are_refused_while_the_file_is_away(app, settings):
    reader, client = api_for(app, "registry:read", "registry:write"), app.test_client()
    with moved_away(settings.sqlite_path):
        assert eventually(lambda: source() == "last-good")
        response = reader.get("/models/openai/gpt-4o")
        assert (response.status_code, response.headers["Modeldesk-Source"]) == (200, "last-good")
        assert client.get("/readyz").json["database"] == "unreachable"
        with pytest.raises(DatabaseUnreachable):
            add_a_model()
        refused = reader.post("/admin/models", model_values())
        assert (refused.status_code, refused.json["code"], "Retry-After" in refused.headers) == (503, "database_unreachable", True)
        page = sign_in(client)
        assert (page.status_code, "Retry-After" in page.headers, "sqlite" in page.text.lower()) == (503, True, False)
        assert not settings.sqlite_path.exists()
    assert eventually(lambda: source() == "database")
    add_a_model()
    assert sign_in(client).status_code == 302


def test_staff_who_are_signed_in_get_a_page_that_says_what_to_do(app, settings):
    ann = Visitor(app, "ann@example.com", PASSWORD)
    with moved_away(settings.sqlite_path):
        response = ann.get("/admin/")
        assert (response.status_code, "Traceback" in response.text, "Try again in a minute" in response.text) == (503, False, True)
    assert ann.get("/admin/").status_code == 200


def test_an_empty_file_in_its_place_is_not_the_database_and_stays_empty(app, settings):
    container.registry()
    with moved_away(settings.sqlite_path):
        settings.sqlite_path.touch()
        assert eventually(lambda: source() == "last-good")
        with pytest.raises(DatabaseUnreachable):
            add_a_model()
        assert settings.sqlite_path.stat().st_size == 0
    assert eventually(lambda: source() == "database")


def test_a_file_that_is_no_database_in_its_place_is_no_reason_to_fail(app, settings):
    container.registry()
    with moved_away(settings.sqlite_path):
        settings.sqlite_path.write_bytes(b"this is no database" * 1000)
        assert eventually(lambda: source() == "last-good")
        with pytest.raises(DatabaseUnreachable):
            add_a_model()
    assert eventually(lambda: source() == "database")


def test_another_database_in_its_place_is_served_and_the_first_one_again_with_its_keys(app, settings, templates):
    container.registry()
    assert not container.vault().locked
    with moved_away_with_its_journal(settings.sqlite_path):
        shutil.copy(templates[True], settings.sqlite_path)
        with closing(sqlite.connect(settings.sqlite_path)) as connection:
            connection.execute("UPDATE registry_state SET instance = 'other', key_check = 'of another key'")
            connection.execute("UPDATE models SET display_name = 'Other' WHERE model_id = 'gpt-4o'")
            connection.commit()
        assert eventually(lambda: container.registry().get_model("gpt-4o").display_name == "Other")
        assert container.vault().locked
    assert eventually(lambda: container.registry().get_model("gpt-4o").display_name != "Other")
    assert not container.vault().locked


def test_an_older_backup_in_its_place_is_served_once_it_is_there_to_stay(app, settings, tmp_path):
    backup = shutil.copy(settings.sqlite_path, tmp_path / "backup.sqlite3")
    add_a_model()
    assert container.registry().get_model("test-model")
    move_database(settings.sqlite_path, tmp_path / "older.sqlite3")
    shutil.copy(backup, settings.sqlite_path)
    assert eventually(lambda: container.registry().get_model("test-model") is None and source() == "database", 8)


def test_a_file_that_vanishes_under_an_open_transaction_refuses_the_commit(app, settings):
    container.registry()
    moved = settings.sqlite_path.with_suffix(".moved")

    def change_while_it_vanishes():
        with writing() as session:
            models.create(session, model_values(), actor="ann")
            settings.sqlite_path.rename(moved)

    with pytest.raises(DatabaseUnreachable):
        change_while_it_vanishes()
    assert not settings.sqlite_path.exists()
    moved.rename(settings.sqlite_path)
    assert eventually(lambda: source() == "database")
    assert container.registry().get_model("test-model") is None


# An SQLite file that another process has locked


@pytest.fixture
def impatient(monkeypatch):
    """Shorten the five seconds that a writer waits for the lock."""
    monkeypatch.setattr("webapp.extensions.engine.BUSY_TIMEOUT_MS", 300)


@contextmanager
def locked(path: Path, mode="IMMEDIATE"):
    with closing(sqlite.connect(path, isolation_level=None)) as connection:
        connection.execute(f"BEGIN {mode}")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_database_is_busy_and_not_broken(impatient, app, settings):
    reader = api_for(app, "registry:read", "registry:write")
    with locked(settings.sqlite_path):
        refused = reader.post("/admin/models", model_values())
        assert (refused.status_code, refused.json["code"], refused.headers["Retry-After"]) == (503, "database_busy", "5")
        assert reader.get("/models/openai/gpt-4o").status_code == 200
        assert sign_in(app.test_client()).status_code == 503
    assert reader.post("/admin/models", model_values()).status_code == 201


def test_answers_go_on_while_not_even_reading_is_possible(impatient, app, settings):
    reader = api_for(app, "registry:read")
    with locked(settings.sqlite_path, "EXCLUSIVE"):
        assert {reader.get("/models/openai/gpt-4o").status_code for _ in range(50)} == {200}
    assert eventually(lambda: source() == "database")


def test_a_page_is_shown_although_the_session_cannot_be_marked_as_seen(impatient, app, settings, ann):
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(last_seen_at=datetime.now(UTC) - timedelta(minutes=5)))
    with locked(settings.sqlite_path):
        assert ann.get("/admin/").status_code == 200


# Starts without the database


desk = contextmanager(running)


def test_a_start_without_database_serves_the_copy_and_creates_nothing(settings):
    with desk(settings) as first:
        secret = api_for(first, "registry:read").token
        revision = container.registry().snapshot.revision
    with moved_away(settings.sqlite_path), desk(settings) as second:
        reader = second.test_client()
        response = reader.get("/api/v1/models/gpt-4o", headers={"Authorization": f"Bearer {secret}"})
        assert (response.status_code, response.headers["Modeldesk-Source"], response.headers["Modeldesk-Revision"]) == (
            200,
            "last-good",
            str(revision),
        )
        assert not settings.sqlite_path.exists()
        result = second.test_cli_runner().invoke(args=["prepare"])
        assert (result.exit_code, "Put the file back" in result.stderr, "begin anew" in result.stderr) == (0, True, True)
        assert not settings.sqlite_path.exists()


def test_a_start_without_database_and_copy_serves_the_constants(settings):
    with moved_away(settings.sqlite_path), desk(settings) as app:
        assert source() == "constants"
        assert container.registry().is_model_supported("gpt-4o")
        assert app.test_client().get("/readyz").json["database"] == "unreachable"
    with desk(settings):
        assert source() == "database"


def test_prepare_on_a_file_that_is_no_database_lets_the_start_go_on(settings):
    settings.sqlite_path.write_bytes(b"this is no database" * 1000)
    with desk(settings) as app:
        result = app.test_cli_runner().invoke(args=["prepare"])
        assert (result.exit_code, "Serving what was last known" in result.stderr) == (0, True)
        assert source() == "constants"


# A PostgreSQL server that is stopped


@pytest.mark.postgresql
def test_t39_a_postgresql_that_is_stopped_and_started_again(tmp_path):
    with postgresql_server() as server:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        settings = settings_for(url, tmp_path / "instance")
        prepared(settings, seeded=True)
        with desk(settings) as app:
            check_a_stop(app, server, settings)


def check_a_stop(app, server, settings) -> None:
    reader = api_for(app, "registry:read", "registry:write")
    revision = container.registry().snapshot.revision
    db.session.remove()
    server.stop()
    try:
        assert eventually(lambda: source() == "last-good")
        response = reader.get("/models/openai/gpt-4o")
        assert (response.status_code, response.headers["Modeldesk-Revision"]) == (200, str(revision))
        refused = reader.post("/admin/models", model_values())
        assert (refused.status_code, refused.json["code"]) == (503, "database_unreachable")
        assert sign_in(app.test_client()).status_code == 503
        with desk(settings) as second:
            assert second.test_client().get("/readyz").json["source"] == "last-good"
    finally:
        server.ensure_postgres_running()
    with app.app_context():
        assert eventually(lambda: source() == "database")
        assert reader.post("/admin/models", model_values()).status_code == 201


def test_a_file_that_goes_away_while_it_is_looked_at_is_unreachable_and_not_read_only(app, settings, monkeypatch):
    moved = settings.sqlite_path.with_suffix(".moved")
    monkeypatch.setattr(database_health, "_schema_state", lambda _: settings.sqlite_path.rename(moved) and None)
    try:
        assert container.current().database_health.check() == "unreachable"
    finally:
        moved.rename(settings.sqlite_path)
