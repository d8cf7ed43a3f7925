"""Health and metrics endpoints."""

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from environment import api_for, by_hand, running, settings_for
from serving import serving
from sqlalchemy import update

from webapp.config.sqlite_driver import sqlite
from webapp.models import RegistryProcess
from webapp.runtime import container


def test_the_process_is_alive(client):
    assert client.get("/healthz").json == {"status": "ok"}


def test_ready_says_where_answers_come_from(client):
    snapshot = container.registry().snapshot
    response = client.get("/readyz").json
    assert (response["database"], response["source"], response["revision"], response["keys"]) == (
        "ok",
        "database",
        snapshot.revision,
        "unlocked",
    )
    assert response["as_of"].endswith("Z")


def test_an_empty_database_answers_although_the_constants_serve(empty_app):
    response = empty_app.test_client().get("/readyz").json
    assert (response["database"], response["source"]) == ("ok", "constants")


def test_numbers_are_for_this_machine_or_for_a_token_that_may_read(app):
    far = {"REMOTE_ADDR": "203.0.113.9"}
    client = app.test_client()
    assert "modeldesk_registry_revision" in client.get("/metrics").text
    assert client.get("/metrics", environ_base=far).status_code == 403
    for scope, status in (("registry:read", 200), ("runs:write", 403)):
        token = api_for(app, scope).token
        assert client.get("/metrics", environ_base=far, headers={"Authorization": f"Bearer {token}"}).status_code == status


def test_numbers_read_like_prometheus(client):
    for line in client.get("/metrics").text.splitlines():
        assert line.startswith("# ") or float(line.split()[1]) >= 0


# Several processes.


def test_each_process_that_serves_is_counted_and_one_that_is_behind_is_seen(app, ann):
    client, revision = app.test_client(), container.registry().snapshot.revision
    assert wait_for(lambda: workers(client) == (1, 1))
    with by_hand() as session:
        now = datetime.now(UTC)
        for name, behind, age in (("another", 1, 0), ("fell silent", 0, 60)):
            seen_at = now - timedelta(seconds=age)
            session.add(RegistryProcess(name=name, revision=revision - behind, source="database", seen_at=seen_at, created_at=now))
    assert workers(client) == (1, 2)
    assert "1 of 2 workers answer with it" in ann.get("/admin/").text
    with by_hand() as session:
        session.execute(update(RegistryProcess).where(RegistryProcess.name == "another").values(revision=revision))
    assert workers(client) == (2, 2)
    page = ann.get("/admin/").text
    assert ("2 of 2 workers answer with it" in page, " · 2/2 workers<" in page, f"revision {revision}" in page) == (True, True, True)


def test_a_command_is_no_worker_and_one_that_ends_is_none_any_more(tmp_path, templates):
    database = tmp_path / "desk.sqlite3"
    database.write_bytes(templates[True].read_bytes())
    settings = settings_for(f"sqlite:///{database}", tmp_path)
    with serving(settings, tmp_path, workers=2) as served:
        assert wait_for(lambda: processes(database) == 2)
        for command in (("doctor",), ("prepare",), ("keys", "status")):
            served.flask(*command)
        assert processes(database) == 2
    assert processes(database) == 0


def processes(database) -> int:
    with closing(sqlite.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM registry_processes").fetchone()[0]


def workers(client) -> tuple[int, int]:
    """Return the number of workers at the current revision, and the number of all workers."""
    gauges = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if not line.startswith("#"))
    return int(gauges["modeldesk_workers_current"]), int(gauges["modeldesk_workers"])


def wait_for(condition) -> bool:
    end = time.monotonic() + 20
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return result


# Locked keys.


@pytest.mark.parametrize(
    "keys", [None, "", "no key", "é", Fernet.generate_key().decode()], ids=["missing", "empty", "malformed", "not ASCII", "wrong"]
)
def test_t24_a_desk_without_its_key_starts_locked_says_so_and_serves_the_rest(settings, keys):
    locked = settings_for(settings.database_url, settings.instance_path, encryption_keys=keys)
    for app in running(locked):
        reader = api_for(app, "registry:read", "registry:write")
        assert reader.client.get("/readyz").json["keys"] == "locked"
        assert reader.get("/models/openai/gpt-4o").status_code == 200
        provider_id = container.registry().snapshot.providers["openai"].id
        refused = reader.request("PUT", f"/admin/providers/{provider_id}/credential", json={"api_key": "sk-0123456789"})
        assert (refused.status_code, refused.json["code"]) == (503, "keys_locked")
        assert reader.request("PATCH", f"/admin/providers/{provider_id}", json={"description": "still editable"}).status_code == 200
        result = app.test_cli_runner().invoke(args=["doctor"])
        assert (result.exit_code, "Keys are locked" in result.stdout) == (1, True)


def test_locked_keys_are_shown_on_every_page(settings):
    locked = settings_for(settings.database_url, settings.instance_path, encryption_keys=None)
    for app in running(locked):
        login_page = app.test_client().get("/login")
        assert login_page.status_code == 200
        assert container.vault().locked
