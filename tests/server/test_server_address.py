"""Links that commands print: they carry the address of the running server, and say when it is a guess."""

import subprocess
import sys

import pytest
from environment import settings_for
from server import wire
from serving import environment_of

from webapp.config import server_address
from webapp.config.settings import ROOT

GUESS = "No server runs on this instance folder"


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in environment.items() if name not in ("HOST", "PORT")}
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_c3_a_link_carries_the_address_of_the_running_server_without_any_setting(templates, tmp_path):
    with wire.start(templates, tmp_path, workers=2) as server:
        for arguments in (("users", "create", "new@example.com", "--role", "admin"), ("users", "reset-password", "new@example.com")):
            printed = command(server.environment, *arguments)
            assert f"http://127.0.0.1:{server.port}/setup/" in printed.stdout
            assert printed.stderr == ""
        port, master, workers = server.port, server.master, server.workers()
        master.terminate()
        master.wait(10)
        printed = command(server.environment, "users", "reset-password", "new@example.com")
    assert f":{port}/" not in printed.stdout
    assert "http://127.0.0.1:8000/setup/" in printed.stdout
    assert GUESS in printed.stderr
    assert not any(worker.is_running() for worker in workers)


def test_c3_the_file_of_a_killed_server_is_ignored(templates, tmp_path):
    with wire.start(templates, tmp_path) as server:
        workers = server.workers()
        server.master.kill()
        for worker in workers:
            worker.wait(10)
        assert (server.settings.instance_path / server_address.FILE_NAME).exists()
        assert server_address.read(server.settings.instance_path) is None


def test_c3_a_configured_address_is_used_as_it_is(templates, tmp_path):
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    environment = environment_of(
        settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path), MODELDESK_BASE_URL="https://desk.example"
    )
    printed = command(environment, "users", "create", "new@example.com", "--role", "admin")
    assert "https://desk.example/setup/" in printed.stdout
    assert printed.stderr == ""


def test_a_running_server_keeps_its_entry(tmp_path):
    """Another process cannot take the file over while the first one lives."""
    script = "\n".join(
        (
            "from pathlib import Path",
            "from webapp.config import server_address",
            f"server_address.publish(Path({str(tmp_path)!r}), 'http://first')",
            "print(flush=True)",
            "input()",
        )
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        first.stdout.readline()
        server_address.publish(tmp_path, "http://second")
        assert server_address.read(tmp_path) == "http://first"
        first.communicate("\n")
    assert server_address.read(tmp_path) is None


@pytest.mark.parametrize("path", ["missing", "folder"])
def test_a_folder_without_the_file_names_no_address(tmp_path, path):
    (tmp_path / "folder").mkdir()
    assert server_address.read(tmp_path / path) is None
    server_address.publish(tmp_path / "missing", "http://x")  # The server continues without the file.
