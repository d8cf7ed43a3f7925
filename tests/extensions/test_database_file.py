"""The file of the embedded database in WAL mode: journal modes, crashes, replaced files and read-only files."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from environment import names_in, running
from factories import model_values
from serving import serving
from sqlalchemy import text

from webapp.config.settings import ROOT, Settings
from webapp.config.sqlite_driver import COMPANIONS, LIBRARY, ROLLBACK, WAL, companion, has_pending_changes, is_wal_safe, sqlite
from webapp.domain.shared.errors import DatabaseUnreachable, Unavailable
from webapp.extensions import database_file, db
from webapp.extensions.database_file import OWNER_FILE, use_journal_mode
from webapp.extensions.engine import connection_factory
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.operations import backups

pytestmark = pytest.mark.skipif(not is_wal_safe(), reason="this SQLite has no safe WAL mode")
desk = contextmanager(running)


@pytest.fixture
def settings(sqlite_settings) -> Settings:
    return sqlite_settings


def add_a_model(name: str) -> None:
    with writing() as session:
        models.create(session, model_values(model_id=name), actor="ann")


def mode_of(path: Path) -> str:
    with closing(sqlite.connect(path)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0].upper()


CRASHING_WRITER = """
import os, sys
from webapp.config.sqlite_driver import sqlite
connection = sqlite.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE models SET display_name = 'before the crash' WHERE model_id = 'gpt-4o'")
os.kill(os.getpid(), 9)
"""


def crash_after_a_write(path: Path) -> None:
    """Let another process commit a change and be killed, so that the change is only in the WAL."""
    subprocess.run([sys.executable, "-c", CRASHING_WRITER, str(path)], cwd=ROOT, check=False)
    assert has_pending_changes(path)


# Settings of every connection.


@pytest.mark.parametrize("mode", [WAL, ROLLBACK])
def test_each_connection_has_the_same_settings_in_either_journal_mode(settings, mode):
    assert use_journal_mode(settings.sqlite_path, mode) == mode
    with closing(connection_factory(settings.sqlite_path)()) as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "trusted_schema")
        values = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
    expected = {
        "journal_mode": mode.lower(),
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "mmap_size": 0,
        "trusted_schema": 0,
    }
    assert values == expected


def test_the_files_next_to_the_database_have_its_permissions(app, settings):
    add_a_model("written")
    modes = {suffix: stat.S_IMODE(companion(settings.sqlite_path, suffix).stat().st_mode) for suffix in ("-wal", "-shm", OWNER_FILE)}
    assert stat.S_IMODE(settings.sqlite_path.stat().st_mode) == 0o600
    assert modes == {"-wal": 0o600, "-shm": 0o600, OWNER_FILE: 0o600}


# Readers and writers.


@contextmanager
def open_reader(path: Path):
    with closing(sqlite.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM models").fetchone()
        yield reader


def test_an_open_reader_does_not_delay_a_writer_and_keeps_its_state(app, settings):
    with open_reader(settings.sqlite_path) as reader:
        add_a_model("written-meanwhile")
        names = {name for (name,) in reader.execute("SELECT model_id FROM models")}
    assert "written-meanwhile" not in names
    assert "written-meanwhile" in names_in(settings.sqlite_path)


def test_control_in_a_rollback_journal_an_open_reader_refuses_the_writer(settings, monkeypatch):
    monkeypatch.setattr("webapp.extensions.engine.BUSY_TIMEOUT_MS", 200)
    use_journal_mode(settings.sqlite_path, ROLLBACK)
    with desk(settings), open_reader(settings.sqlite_path), pytest.raises(Unavailable) as refusal:
        add_a_model("written-meanwhile")
    assert refusal.value.code == "database_busy"


# Switching the journal mode.


def test_prepare_switches_an_earlier_database_to_wal_and_the_setting_switches_it_back(settings):
    use_journal_mode(settings.sqlite_path, ROLLBACK)
    for wal, mode in ((True, WAL), (False, "DELETE"), (True, WAL)):  # A rollback mode is a property of the connection, not of the file.
        for app in running(replace(settings, sqlite_wal=wal)):
            result = app.test_cli_runner().invoke(args=["prepare"])
            assert (result.exit_code, result.stderr) == (0, "")
        assert (mode_of(settings.sqlite_path), "gpt-4o" in names_in(settings.sqlite_path)) == (mode, True)


def test_prepare_leaves_the_mode_and_says_so_while_another_process_uses_the_database(settings, monkeypatch):
    monkeypatch.setattr(database_file, "BUSY_TIMEOUT_MS", 200)
    with open_reader(settings.sqlite_path), desk(replace(settings, sqlite_wal=False)) as app:
        result = app.test_cli_runner().invoke(args=["prepare"])
    assert (result.exit_code, "cannot be switched to journal mode TRUNCATE" in result.stderr) == (0, True)
    assert mode_of(settings.sqlite_path) == WAL


def test_a_server_never_changes_the_mode_that_it_finds(settings):
    use_journal_mode(settings.sqlite_path, ROLLBACK)
    with desk(settings):
        add_a_model("written")
    assert mode_of(settings.sqlite_path) == "DELETE"


def test_two_processes_that_switch_at_the_same_time_both_succeed(settings):
    use_journal_mode(settings.sqlite_path, ROLLBACK)
    code = "import sys, pathlib; from webapp.extensions.database_file import *; print(use_journal_mode(pathlib.Path(sys.argv[1]), 'WAL'))"
    command = [sys.executable, "-c", code, str(settings.sqlite_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in processes] == ["WAL"] * 2


def test_threads_that_switch_at_the_same_time_all_succeed(settings):
    use_journal_mode(settings.sqlite_path, ROLLBACK)
    modes: list[str] = []
    threads = [threading.Thread(target=lambda: modes.append(use_journal_mode(settings.sqlite_path, WAL))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert modes == [WAL] * 8


def test_a_library_without_safe_wal_refuses_a_wal_database_until_it_is_switched_back(settings, monkeypatch):
    monkeypatch.setattr("webapp.extensions.engine.is_wal_safe", lambda: False)
    monkeypatch.setattr("webapp.extensions.database_file.is_wal_safe", lambda: False)
    with desk(settings) as app:
        assert app.test_client().get("/readyz").json["database"] == "unreachable"
        with pytest.raises(DatabaseUnreachable, match="run `prepare`"):
            add_a_model("refused")
        assert app.test_cli_runner().invoke(args=["prepare"]).exit_code == 0
        add_a_model("accepted")
    assert mode_of(settings.sqlite_path) == "DELETE"


# Crashes.


def test_the_next_start_has_what_a_killed_process_committed(settings):
    crash_after_a_write(settings.sqlite_path)
    with desk(settings):
        assert container.registry().get_model("gpt-4o").display_name == "before the crash"
        assert db.session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert not has_pending_changes(settings.sqlite_path)


def test_the_folder_of_a_killed_process_can_be_moved_as_a_whole(settings, tmp_path):
    crash_after_a_write(settings.sqlite_path)
    (tmp_path / "elsewhere").mkdir()
    for suffix in ("", *COMPANIONS, OWNER_FILE):
        if companion(settings.sqlite_path, suffix).exists():
            shutil.copy(companion(settings.sqlite_path, suffix), tmp_path / "elsewhere")
    moved = replace(settings, database_url=f"sqlite:///{tmp_path / 'elsewhere' / 'desk.sqlite3'}")
    with desk(moved):
        assert container.registry().get_model("gpt-4o").display_name == "before the crash"


def test_a_server_and_a_command_that_end_leave_a_single_file_with_all_changes(settings, tmp_path):
    with serving(settings, tmp_path, workers=2) as served:
        served.flask("users", "create", "while-it-serves@example.com", "--role", "viewer")
        assert has_pending_changes(settings.sqlite_path)
    assert [suffix for suffix in COMPANIONS if companion(settings.sqlite_path, suffix).exists()] == []
    served.flask("users", "create", "after-it-ended@example.com", "--role", "viewer")
    assert [suffix for suffix in COMPANIONS if companion(settings.sqlite_path, suffix).exists()] == []
    shutil.copy(settings.sqlite_path, tmp_path / "copy")
    with closing(sqlite.connect(tmp_path / "copy")) as connection:
        addresses = {email for (email,) in connection.execute("SELECT email FROM users")}
    assert {"while-it-serves@example.com", "after-it-ended@example.com"} <= addresses


# Replaced files.


def put_in_place(copy: Path, path: Path, how: str) -> None:
    if how == "copied while no connection is open":  # File systems then give the inode of the deleted file to the new one.
        container.current().refresher.stop()
        db.session.remove()
        path.unlink()
        db.engine.dispose()
        shutil.copy(copy, path)
    elif how == "copied over it":
        path.write_bytes(copy.read_bytes())
    elif how == "copied after its removal":
        path.unlink()
        shutil.copy(copy, path)
    else:
        copy.rename(path)


REPLACEMENTS = ("copied over it", "copied after its removal", "moved")


@pytest.mark.parametrize("how", REPLACEMENTS)
def test_a_backup_put_next_to_the_wal_of_a_killed_process_is_refused_and_stays_as_it_is(settings, tmp_path, how, monkeypatch):
    backups.back_up(settings, tmp_path / "backup")
    with desk(settings):
        container.registry()
    crash_after_a_write(settings.sqlite_path)
    put_in_place(tmp_path / "backup", settings.sqlite_path, how)
    monkeypatch.setattr(database_file, "_opened", {})  # As in a new process.
    before = settings.sqlite_path.read_bytes()
    with desk(settings) as app:
        ready = app.test_client().get("/readyz").json
        assert (ready["database"], ready["source"], "-wal" in ready["detail"]) == ("unreachable", "last-good", True)
        with pytest.raises(DatabaseUnreachable, match="belongs to the earlier one"):
            add_a_model("refused")
        result = app.test_cli_runner().invoke(args=["backup", str(tmp_path / "mixture")])
        assert (result.exit_code, "belongs to the earlier one" in result.stderr) == (1, True)
        assert settings.sqlite_path.read_bytes() == before
        for suffix in COMPANIONS:
            companion(settings.sqlite_path, suffix).unlink(missing_ok=True)
        add_a_model("accepted")
    assert "accepted" in names_in(settings.sqlite_path)


def test_control_without_the_check_sqlite_applies_the_foreign_wal(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("webapp.extensions.engine.require_own_journal", lambda _: None)
    backups.back_up(settings, tmp_path / "backup")
    crash_after_a_write(settings.sqlite_path)
    put_in_place(tmp_path / "backup", settings.sqlite_path, "copied over it")
    with desk(settings):
        assert container.registry().get_model("gpt-4o").display_name == "before the crash"


@pytest.mark.parametrize("how", ["copied after its removal", "copied while no connection is open", "moved"])
def test_a_file_replaced_under_a_running_server_is_refused_even_if_it_is_a_plain_copy(app, settings, tmp_path, how):
    """A plain copy has the token of the original, but a running process has seen that the inode changed."""
    container.registry()
    shutil.copy(settings.sqlite_path, tmp_path / "copy")
    add_a_model("only-in-the-wal")
    put_in_place(tmp_path / "copy", settings.sqlite_path, how)
    before = settings.sqlite_path.read_bytes()
    with pytest.raises(DatabaseUnreachable, match="belongs to the earlier one"):
        add_a_model("refused")
    assert container.current().database_health.check() == "unreachable"
    assert settings.sqlite_path.read_bytes() == before


def test_a_file_that_is_moved_away_and_back_is_used_with_its_wal(app, settings, tmp_path):
    container.registry()
    add_a_model("only-in-the-wal")
    settings.sqlite_path.rename(tmp_path / "away")
    with pytest.raises(DatabaseUnreachable):
        add_a_model("refused")
    (tmp_path / "away").rename(settings.sqlite_path)
    add_a_model("accepted")
    assert {"only-in-the-wal", "accepted"} <= names_in(settings.sqlite_path)


# Read-only files.


@pytest.fixture
def file_system(settings):
    """A file system that holds the database, and that can be made read-only."""
    folder = settings.sqlite_path.parent / "mounted"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root can mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", folder], check=True, capture_output=True)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_wal_database_on_a_read_only_file_system_is_read_and_is_writable_again_without_a_restart(settings, file_system, crashed):
    path = shutil.copy(settings.sqlite_path, file_system / "desk.sqlite3")
    if crashed:
        crash_after_a_write(path)
    remount(file_system, "ro")
    with desk(replace(settings, database_url=f"sqlite:///{path}")) as app:
        name = container.registry().get_model("gpt-4o").display_name
        ready = app.test_client().get("/readyz").json
        assert (ready["database"], ready["source"], name == "before the crash") == ("read-only", "database", crashed)
        with pytest.raises(Unavailable) as refusal:
            add_a_model("refused")
        assert refusal.value.code == "database_read_only"
        remount(file_system, "rw")
        with suppress(Unavailable):  # At most one change is refused, until the connections are opened again.
            add_a_model("first")
        add_a_model("accepted")
        assert container.current().database_health.check() == "ok"


def test_a_reader_without_write_access_sees_what_another_process_changes(settings, file_system):
    """Without locks SQLite does not notice changes, so the connection is opened again when the file or its WAL changes."""
    path = shutil.copy(settings.sqlite_path, file_system / "desk.sqlite3")
    view = file_system.parent / "view"
    view.mkdir()
    subprocess.run(["mount", "--bind", file_system, view], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True)
        with desk(replace(settings, database_url=f"sqlite:///{view / 'desk.sqlite3'}")):
            assert container.registry().get_model("gpt-4o").display_name != "before the crash"
            crash_after_a_write(path)
            names = db.session.execute(text("SELECT display_name FROM models WHERE model_id = 'gpt-4o'"))
            assert names.scalar_one() == "before the crash"
    finally:
        subprocess.run(["umount", "--lazy", view], check=True)


# The library of the standard library.


def flask_without_wheel(settings: Settings, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that does not find `pysqlite3`."""
    (tmp_path / "pysqlite3.py").write_text("raise ImportError('no wheel')\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MODELDESK_")},
        "PYTHONPATH": str(tmp_path),
        "DATABASE_URL": settings.database_url,
        "MODELDESK_INSTANCE_PATH": str(settings.instance_path),
        "MODELDESK_SECRET_KEY": settings.secret_key,
        "MODELDESK_ENCRYPTION_KEYS": settings.encryption_keys or "",
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_without_the_wheel_the_standard_library_prepares_and_doctor_says_what_is_not_guaranteed(settings, tmp_path):
    prepared = flask_without_wheel(settings, tmp_path, "prepare")
    assert prepared.returncode == 0, prepared.stderr
    doctor = flask_without_wheel(settings, tmp_path, "doctor").stdout
    mode = WAL if is_wal_safe(sqlite3.sqlite_version_info) else ROLLBACK
    assert f"SQLite {sqlite3.sqlite_version} (sqlite3) runs in journal mode {mode}" in doctor
    assert ("Readers and writers wait for each other" in doctor) is (mode == ROLLBACK)


def test_doctor_names_the_library_that_runs_and_the_mode(app):
    assert f"{LIBRARY} runs in journal mode WAL: " in app.test_cli_runner().invoke(args=["doctor"]).stdout
