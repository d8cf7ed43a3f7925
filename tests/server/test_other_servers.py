"""`wsgi:app` is plain WSGI: other servers can serve it, without the protection from slow clients."""

import http.client
import subprocess
import sys
import time
from contextlib import closing

import pytest
from environment import settings_for
from serving import environment_of, free_port

from webapp.config.settings import ROOT


@pytest.mark.parametrize(
    "command",
    [("gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}", "wsgi:app"), ("waitress", "--listen", "127.0.0.1:{port}", "wsgi:app")],
    ids=lambda command: command[0],
)
def test_another_server_serves_pages_the_api_and_forms(templates, tmp_path, command):
    (tmp_path / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    port, settings = free_port(), settings_for(f"sqlite:///{tmp_path / 'desk.sqlite3'}", tmp_path)
    arguments = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    with subprocess.Popen(arguments, cwd=ROOT, env=environment_of(settings, PORT=str(port)), stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            assert status(port, "GET", "/login") == 200
            assert status(port, "GET", "/api/v1/models/openai%2Fgpt-4o") == 401
            assert status(port, "POST", "/login", b"email=x") == 400
            assert status(port, "POST", "/login", b"x" * 2_000_000) == 413
        finally:
            process.terminate()


def status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"} if body else {})
        return client.getresponse().status


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert status(port, "GET", "/healthz") == 200
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return
