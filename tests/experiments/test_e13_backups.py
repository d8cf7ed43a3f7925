"""E13: backups under load are complete, contain every acknowledged row, and open only with the right encryption key."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from environment import names_in, running, settings_for
from factories import provider_values
from sqlalchemy import select

from webapp.config.sqlite_driver import sqlite
from webapp.domain.shared.errors import KeysLocked
from webapp.models import Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import providers
from webapp.services.credentials import credentials
from webapp.services.operations import backups

SECRET = "sk-CANARY-0123456789"
OTHER_KEY = Fernet.generate_key().decode()


@contextmanager
def writers(path: Path, acknowledged: list[str]):
    """Run two threads that write continuously and append each acknowledged name to `acknowledged`."""
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite.connect(path, timeout=30, isolation_level=None)) as connection:
            provider = connection.execute("SELECT min(id) FROM providers").fetchone()[0]
            number = 0
            while not stop.is_set():
                number += 1
                name = f"load-{threading.get_ident()}-{number}"
                connection.execute(
                    "INSERT INTO models (provider_id, model_id, display_name, type, capabilities, quirks, is_active, is_default,"
                    " sort_order, description, version, created_at, updated_at)"
                    " VALUES (?, ?, 'x', 'text', '[]', '{}', 0, 0, 0, '', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')",
                    (provider, name),
                )
                acknowledged.append(name)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def copied_slowly(source, target):
    """Copy like `cp`, in chunks and slowly enough for another process to write in the meantime."""
    with source.open("rb") as source_file, target.open("wb") as target_file:
        while chunk := source_file.read(65_536):
            target_file.write(chunk)
            time.sleep(0.001)


def revealed() -> str | None:
    with writing(refresh=False) as session:
        provider = session.execute(select(Provider).where(Provider.slug == "acme")).scalar_one()
        return credentials.reveal(session, provider, vault=container.current().vault)


def test_e13_backups_under_load_are_whole_and_hold_all_that_was_acknowledged(app, settings, tmp_path, scale, report):
    acknowledged: list[str] = []
    seconds, count = [], scale(5, 50)
    with writers(settings.sqlite_path, acknowledged):
        for number in range(count):
            target, before = tmp_path / f"{number}.backup", set(acknowledged)
            start = time.monotonic()
            contents = backups.back_up(settings, target)
            seconds.append(time.monotonic() - start)
            assert before <= names_in(target)
            assert contents.models >= len(before)
            assert backups.inspect_backup(target) == contents
            target.unlink()
    report(f"{count} of {count} whole, {len(acknowledged)} rows acknowledged meanwhile; one took at most {max(seconds):.2f} s")
    assert acknowledged


def test_e13_a_backup_comes_to_an_end_however_much_is_written(app, settings, tmp_path, monkeypatch):
    """With small steps, writes invalidate copied pages before the backup ends, as with a large database and the usual steps."""
    monkeypatch.setattr(backups, "PAGES_PER_STEP", 1)
    with closing(sqlite.connect(settings.sqlite_path)) as connection, connection:
        connection.execute("CREATE TABLE ballast AS SELECT randomblob(30000000) AS x")
    acknowledged: list[str] = []
    with ThreadPoolExecutor() as pool, writers(settings.sqlite_path, acknowledged):
        while not acknowledged:
            time.sleep(0.01)
        before = set(acknowledged)
        pool.submit(backups.back_up, settings, tmp_path / "desk.backup").result(timeout=60)
    assert before <= names_in(tmp_path / "desk.backup")


def test_e13_a_backup_that_is_put_back_elsewhere_opens_with_the_key_and_says_so_without(app, settings, tmp_path):
    with writing() as session:
        provider = providers.create(session, provider_values(), actor="tests")
        credentials.store(session, provider, SECRET, vault=container.current().vault, actor="tests")
    backups.back_up(settings, tmp_path / "desk.backup")
    assert SECRET.encode() not in (tmp_path / "desk.backup").read_bytes()
    restored = tmp_path / "elsewhere" / "desk.sqlite3"
    backups.restore_sqlite(tmp_path / "desk.backup", restored, replace=False)
    restored_settings = settings_for(f"sqlite:///{restored}", restored.parent)
    for _ in running(restored_settings):
        assert revealed() == SECRET
    for other_app in running(replace(restored_settings, encryption_keys=OTHER_KEY)):
        with pytest.raises(KeysLocked, match=r"[Kk]ey"):
            revealed()
        assert other_app.test_client().get("/readyz").status_code == 200  # Only secrets are locked. Prices are still served.


def test_e13_control_plain_copies_under_load_are_not_backups(app, settings, tmp_path):
    """Negative control: at least one of many copies made like `cp` is corrupt or lacks acknowledged rows."""
    acknowledged: list[str] = []
    broken = 0
    with writers(settings.sqlite_path, acknowledged):
        for number in range(60):
            copy = tmp_path / f"{number}.copy"
            before = set(acknowledged)
            copied_slowly(settings.sqlite_path, copy)
            try:
                backups.inspect_backup(copy)
                broken += not before <= names_in(copy)
            except backups.BackupRefused:
                broken += 1
            if broken:
                break
    assert broken
