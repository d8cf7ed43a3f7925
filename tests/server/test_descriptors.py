"""Few file descriptors: idle clients end no worker, requests are answered, and the operator is told."""

import json
import resource
import statistics
import subprocess
import sys
import time

import pytest
from environment import settings_for
from server import wire
from server.wire import END, HOST, ask, connect
from serving import environment_of

from webapp.config.settings import ROOT

KEEPALIVE = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSING = b"GET /healthz HTTP/1.1\r\n" + END + b"\r\n"
LIMIT_AND_RUN = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


@pytest.fixture
def few(monkeypatch):
    """Let servers start with the hard limit of a shell with `ulimit -n 256`."""
    started = subprocess.Popen

    def limited(command, **options):
        return started([sys.executable, "-c", LIMIT_AND_RUN, "256", "256", *command[1:]], **options)

    monkeypatch.setattr("serving.subprocess.Popen", limited)


@pytest.fixture(autouse=True)
def many_for_the_clients():
    """The 700 connections of the test itself need descriptors too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a1_700_idle_connections_end_no_worker_and_delay_no_one(few, templates, tmp_path):
    with wire.start(templates, tmp_path, workers=2) as server:
        workers = {worker.pid for worker in server.workers()}
        assert {worker.rlimit(resource.RLIMIT_NOFILE) for worker in server.workers()} == {(256, 256)}
        lines = [connect(server.port, KEEPALIVE) for _ in range(700)]
        waits = []
        for _ in range(20):
            start = time.monotonic()
            assert ask(server.port, CLOSING).status == 200
            waits.append(time.monotonic() - start)
        assert all(line.recv(65_536).startswith(b"HTTP/1.1 200 ") for line in lines)
        for line in lines:
            line.close()
        assert {worker.pid for worker in server.workers()} == workers
        log = [json.loads(text) for text in server.log.read_text().splitlines() if text.startswith("{")]
    assert statistics.median(waits) < 1
    assert max(waits) < 5  # Tests run in parallel.
    assert [line["message"] for line in log if line["level"] != "info"] == [
        "Only 256 files and connections can be open at once, so each connection ends after one response. Raise it: ulimit -n 4096"
    ]


def test_a1_requests_do_not_fail_while_silent_clients_take_all_connections(few, templates, tmp_path):
    """With few descriptors, a connection that sends nothing is closed after three seconds, and the next one is accepted."""
    with wire.start(templates, tmp_path, workers=2) as server:
        workers = {worker.pid for worker in server.workers()}
        lines = [connect(server.port) for _ in range(700)]
        assert ask(server.port, CLOSING).status == 200
        for line in lines:
            line.close()
        assert {worker.pid for worker in server.workers()} == workers


def test_the_soft_limit_is_raised_at_the_start(monkeypatch, templates, tmp_path):
    started = subprocess.Popen
    monkeypatch.setattr(
        "serving.subprocess.Popen",
        lambda command, **more: started([sys.executable, "-c", LIMIT_AND_RUN, "256", "4096", *command[1:]], **more),
    )
    with wire.start(templates, tmp_path) as server:
        assert server.workers()[0].rlimit(resource.RLIMIT_NOFILE) == (4_096, 4_096)
        assert "can be open at once" not in server.log.read_text()


@pytest.mark.parametrize(("soft", "hard", "told"), [(256, 256, True), (256, 4_096, False), (1_024, 1_024, False)])
def test_doctor_says_when_the_limit_is_low_and_cannot_be_raised(templates, tmp_path, soft, hard, told):
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    environment = environment_of(settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path))
    command = [sys.executable, "-c", LIMIT_AND_RUN, str(soft), str(hard), "-m", "flask", "--app", "wsgi", "doctor"]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stdout
    assert ("FAIL  Only 256 files and connections can be open at once" in output) == told
