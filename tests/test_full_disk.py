"""A full disk: every response, page and command calls it `disk_full`, nothing is stored by half, and writing resumes without a restart."""

import errno
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from environment import PASSWORD, api_for, names_in, running, settings_for
from factories import Visitor, csrf_token, model_values
from sqlalchemy.exc import OperationalError

from webapp.config.reader import ConfigError
from webapp.config.settings import Settings
from webapp.config.sqlite_driver import COMPANIONS, companion, sqlite
from webapp.config.storage_errors import StorageError, classify, has_room
from webapp.domain.shared.errors import DiskFull
from webapp.extensions import db
from webapp.registry import database_health
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.security import keyfiles
from webapp.services.audit import audit_log
from webapp.services.catalog import models
from webapp.services.operations import backups

desk = contextmanager(running)


@pytest.fixture
def settings(sqlite_settings) -> Settings:
    return sqlite_settings


def add_a_model(name: str, size: int = 0) -> None:
    with writing() as session:
        models.create(session, model_values(model_id=name, description="x" * size), actor="ann")


# The classification.


def wrapped(error: Exception) -> OperationalError:
    return OperationalError("INSERT", {}, error)


def sqlite_error(code: int) -> sqlite.Error:
    error = sqlite.OperationalError("words that nobody reads")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite_error(13), StorageError.DISK_FULL),
        (sqlite_error(5), StorageError.BUSY),
        (sqlite_error(5 | 2 << 8), StorageError.BUSY),  # SQLITE_BUSY_SNAPSHOT, an extended code.
        (sqlite_error(6), StorageError.BUSY),
        (sqlite_error(8 | 4 << 8), StorageError.READ_ONLY),  # SQLITE_READONLY_DBMOVED.
        (sqlite_error(10), None),
        (psycopg.errors.DiskFull(), StorageError.DISK_FULL),
        (psycopg.errors.ReadOnlySqlTransaction(), StorageError.READ_ONLY),
        (psycopg.errors.LockNotAvailable(), StorageError.BUSY),
        (psycopg.errors.DeadlockDetected(), StorageError.BUSY),
        (psycopg.OperationalError("the server is away"), None),
        (OSError(errno.ENOSPC, "full"), StorageError.DISK_FULL),
        (OSError(errno.EDQUOT, "over the quota"), StorageError.DISK_FULL),
        (OSError(errno.EACCES, "not allowed"), None),
        (sqlite.OperationalError("database or disk is full"), StorageError.DISK_FULL),  # The bundled library: no code in a backup.
        (Exception("database or disk is full"), None),  # Words of anything else do not count.
    ],
)
def test_an_error_is_classified_by_its_code_with_or_without_sqlalchemy(error, kind):
    assert (classify(error), classify(wrapped(error))) == (kind, kind)


def test_a_disk_without_room_is_known_by_its_free_space_and_an_unknown_one_has_room(tmp_path, monkeypatch):
    assert has_room(tmp_path)
    assert has_room(tmp_path / "gone")
    free = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*free[:4], 0, *free[5:])))
    assert not has_room(tmp_path)


# Pages, responses and commands.


def test_a_postgresql_without_room_is_disk_full_for_the_api_pages_and_commands(app, monkeypatch):
    """PostgreSQL shows its disk in no other way than by refusing a change."""
    api = api_for(app, "registry:read", "registry:write")
    full = raiser(wrapped(psycopg.errors.DiskFull("could not extend file")))
    monkeypatch.setattr("webapp.extensions.migration_guard.require_current_version", full)
    refused = api.post("/admin/models", model_values())
    assert (refused.status_code, refused.json["code"], refused.headers["Retry-After"]) == (503, "disk_full", "60")
    page = sign_in(app.test_client())
    assert (page.status_code, "Free some space" in page.text, "reached" in page.text) == (503, True, False)
    result = app.test_cli_runner().invoke(args=["users", "create", "new@example.com", "--role", "viewer"])
    assert (result.exit_code, result.stderr.startswith("modeldesk: disk_full: ")) == (1, True)


def test_the_state_of_a_postgresql_without_room_is_that_of_the_last_report(app):
    health = container.current().database_health
    container.current().refresher.stop()
    health.was_write_out_of_space = True
    assert health.check() == database_health.DISK_FULL
    health.was_write_out_of_space = False
    assert health.check() == database_health.OK


def test_a_report_without_room_says_so_and_any_other_failure_does_not(app, monkeypatch):
    container.current().refresher.stop()
    report = container.current().process_report
    assert report.write(1, "database") is True
    for error, has_been_stored in ((psycopg.errors.DiskFull("full"), False), (psycopg.errors.LockNotAvailable("busy"), True)):
        monkeypatch.setattr("webapp.extensions.migration_guard.require_current_version", raiser(wrapped(error)))
        assert report.write(1, "database") is has_been_stored


def raiser(error: Exception):
    def raise_it(*_: object, **__: object) -> None:
        raise error

    return raise_it


def test_a_full_folder_for_temporary_files_is_disk_full_too(app, monkeypatch):
    api = api_for(app, "registry:read", "registry:write")
    monkeypatch.setattr("webapp.services.catalog.models.create", raiser(OSError(errno.ENOSPC, "No space left on device")))
    refused = api.post("/admin/models", model_values())
    assert (refused.status_code, refused.json["code"], "Retry-After" in refused.headers) == (503, "disk_full", True)


# A real disk that fills up.


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root can mount a small file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leave: int) -> None:
    """Write a file that leaves this many bytes."""
    (disk / "ballast").unlink(missing_ok=True)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(max(0, free - leave)))


def on_the_disk(settings: Settings, disk: Path) -> Settings:
    shutil.copy(settings.sqlite_path, disk / "desk.sqlite3")
    return replace(settings, database_url=f"sqlite:///{disk / 'desk.sqlite3'}", instance_path=disk / "instance")


def test_a_disk_that_fills_in_steps_is_named_everywhere_and_loses_nothing(settings, disk):
    small = on_the_disk(settings, disk)
    with desk(small) as app:
        api, ann = api_for(app, "registry:read", "registry:write"), Visitor(app, "ann@example.com", PASSWORD)
        stored, refused = [], []
        for step, leave in enumerate((900_000, 300_000, 100_000, 30_000, 8_000, 0)):
            fill(disk, leave)
            for number in range(40):
                name = f"step-{step}-{number}"
                response = api.post("/admin/models", model_values(model_id=name, description="x" * 4_000))
                if response.status_code == 201:
                    stored.append(name)
                    continue
                assert (response.status_code, response.json["code"]) == (503, "disk_full")
                assert ("reached" in response.json["detail"], "Free some space" in response.json["detail"]) == (False, True)
                refused.append(name)
                break
            assert api.get("/models/openai/gpt-4o").status_code == 200
        assert refused
        assert_called_disk_full(app, ann, disk)
        (disk / "ballast").unlink()
        assert api.post("/admin/models", model_values(model_id="after")).status_code == 201
        assert container.current().database_health.check() == "ok"
        assert sign_in(app.test_client()).status_code == 302
        assert audit_log.get_first_break_or_none(db.session()) is None
        assert db.session.connection().exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    names = names_in(small.sqlite_path)
    assert ({*stored, "after"} <= names, names & set(refused)) == (True, set())


def assert_called_disk_full(app, ann, disk: Path) -> None:
    container.current().database_health.check()
    ready = app.test_client().get("/readyz")
    assert (ready.status_code, ready.json["database"], "Free some space" in ready.json["detail"]) == (200, "disk_full", True)
    page = ann.get("/admin/model/")
    assert (page.status_code, "The disk of the database is full" in page.text) == (200, True)
    refused = sign_in(app.test_client())
    assert (refused.status_code, "Free some space" in refused.text, "reached" in refused.text) == (503, True, False)
    doctor = app.test_cli_runner().invoke(args=["doctor"])
    assert (doctor.exit_code, "The database is disk_full." in doctor.stdout) == (1, True)
    backup = app.test_cli_runner().invoke(args=["backup", str(disk / "backup")])
    assert (backup.exit_code, backup.stderr.startswith("modeldesk: disk_full: ")) == (1, True)
    users = app.test_cli_runner().invoke(args=["users", "create", "new@example.com", "--role", "viewer"])
    assert (users.exit_code, users.stderr.startswith("modeldesk: disk_full: ")) == (1, True)
    assert [path.name for path in disk.iterdir() if "backup" in path.name] == []


def sign_in(client):
    token = csrf_token(client.get("/login").text)
    return client.post("/login", data={"csrf_token": token, "email": "ann@example.com", "password": PASSWORD})


def test_a_start_on_a_full_disk_reads_says_so_and_writes_when_there_is_room(settings, disk):
    """After a clean stop there is no shared memory file, and SQLite reports that it cannot make one as an I/O error."""
    small = on_the_disk(settings, disk)
    with desk(small):
        container.registry()
    fill(disk, 0)
    with desk(small) as app:
        assert app.test_cli_runner().invoke(args=["prepare"]).exit_code == 0
        ready = app.test_client().get("/readyz").json
        assert (ready["database"], ready["source"]) == ("disk_full", "last-good")
        with pytest.raises(DiskFull):
            add_a_model("refused")
        (disk / "ballast").unlink()
        add_a_model("accepted")
        assert container.current().database_health.check() == "ok"


def test_a_restore_without_room_changes_nothing_and_leaves_nothing(settings, disk, tmp_path):
    small = on_the_disk(settings, disk)
    backups.back_up(small, tmp_path / "backup")
    fill(disk, 100_000)
    before, content = {path.name for path in disk.iterdir()}, small.sqlite_path.read_bytes()
    with pytest.raises(DiskFull, match="nothing was restored"):
        backups.restore_sqlite(tmp_path / "backup", small.sqlite_path, replace=True)
    assert ({path.name for path in disk.iterdir()}, small.sqlite_path.read_bytes()) == (before, content)
    (disk / "ballast").unlink()
    backups.restore_sqlite(tmp_path / "backup", small.sqlite_path, replace=True)
    assert not any(companion(small.sqlite_path, suffix).exists() for suffix in COMPANIONS)


def test_pg_dump_without_room_is_disk_full(monkeypatch, tmp_path):
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump: error: could not write: No space left on device' >&2\nexit 1\n")
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(DiskFull, match="pg_dump found no room"):
        backups._dump_postgresql("postgresql+psycopg://ann@db.example/desk", tmp_path / "x")


def test_an_export_without_room_leaves_no_half_file(app, disk):
    fill(disk, 4_096)
    result = app.test_cli_runner().invoke(args=["registry", "export", str(disk / "registry.yaml")])
    assert (result.exit_code, result.stderr.startswith("modeldesk: disk_full: "), (disk / "registry.yaml").exists()) == (1, True, False)


def test_a_first_start_on_a_full_disk_leaves_no_empty_secret_and_works_when_there_is_room(disk):
    home = {"MODELDESK_INSTANCE_PATH": str(disk / "instance"), "DATABASE_URL": f"sqlite:///{disk / 'desk.sqlite3'}"}
    (disk / "instance").mkdir()
    fill(disk, 0)
    with pytest.raises(ConfigError, match="disk_full: MODELDESK_INSTANCE_PATH is on a full disk"):
        keyfiles.ensure(home)
    assert list((disk / "instance").iterdir()) == []
    (disk / "ballast").unlink()
    keyfiles.ensure(home)
    assert sorted(path.name for path in (disk / "instance").iterdir()) == ["encryption-keys", "secret-key"]


def test_a_database_whose_first_migration_found_no_room_is_completed_by_the_next_start(disk):
    small = settings_for(f"sqlite:///{disk / 'desk.sqlite3'}", disk / "instance")
    fill(disk, 50_000)
    with desk(small) as app:
        result = app.test_cli_runner().invoke(args=["prepare"])
        assert (result.exit_code, "disk_full: " in result.stderr, "Serving what was last known" in result.stderr) == (0, True, True)
    (disk / "ballast").unlink()
    with desk(small) as app:
        assert app.test_cli_runner().invoke(args=["prepare"]).exit_code == 0
        assert app.test_client().get("/readyz").json["database"] == "ok"
        assert db.session.connection().exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_a_move_to_a_full_disk_is_disk_full(app, disk):
    fill(disk, 50_000)
    result = app.test_cli_runner().invoke(args=["database", "move", f"sqlite:///{disk / 'moved.sqlite3'}"])
    assert (result.exit_code, result.stderr.startswith("modeldesk: disk_full: ")) == (1, True)
    assert [path.name for path in disk.iterdir()] == ["ballast"]
    (disk / "ballast").unlink()
    assert app.test_cli_runner().invoke(args=["database", "move", f"sqlite:///{disk / 'moved.sqlite3'}"]).exit_code == 0


def test_an_export_to_a_device_without_room_leaves_the_device(app):
    result = app.test_cli_runner().invoke(args=["registry", "export", "/dev/full"])
    assert (result.exit_code, Path("/dev/full").exists()) == (1, True)
