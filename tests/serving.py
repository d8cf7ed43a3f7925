"""Real servers for tests: webapp.server in separate processes on loopback, and a client with a persistent connection."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, create_engine

from webapp.config.settings import ROOT, Settings
from webapp.extensions.engine import engine_options, guard_engine

READY_WITHIN = 120.0  # Seconds; a small machine also runs other tests.


@dataclass
class Answer:
    """One HTTP response of a server."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A client of one server with one connection, which is reopened after an error. Not thread-safe."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Return the response. Raises `OSError` or `http.client.HTTPException` if there is none, without a retry."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        request_headers = {"Authorization": f"Bearer {self.token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            request_headers["Content-Type"] = "application/json"
        try:
            self._connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, request_headers)
            response = self._connection.getresponse()
            result = Answer(response.status, response.read(), response.headers)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.will_close:
            self.close()
        return result

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Serving:
    """A running server."""

    settings: Settings
    port: int
    master: psutil.Process
    log: Path
    environment: Mapping[str, str] = field(repr=False)

    def workers(self) -> list[psutil.Process]:
        return self.master.children()

    def client(self, token: str) -> Client:
        return Client(self.port, token)

    def flask(self, *arguments: str, **environment: str) -> str:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        process = subprocess.run(command, cwd=ROOT, env={**self.environment, **environment}, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    def token(self, *scopes: str) -> str:
        """Return a new token after every worker accepts it."""
        token = self.flask("tokens", "create", "experiment", *(part for scope in scopes for part in ("--scope", scope)))
        accepted, deadline = 0, time.monotonic() + 5
        while accepted < 6 * len(self.workers()):  # Each connection reaches an arbitrary worker.
            client = self.client(token)
            accepted = accepted + 1 if client.ask("GET", "/defaults").status != 401 else 0
            client.close()
            assert time.monotonic() < deadline, "a new token is not known after five seconds"
        return token

    def engine(self) -> Engine:
        return engine_of(self.settings)


def engine_of(settings: Settings) -> Engine:
    """Return an engine on the same database, to inspect it from outside."""
    path = settings.sqlite_path
    engine = create_engine(f"sqlite:///{path}" if path else settings.database_url, **engine_options(path))
    guard_engine(engine, path)
    return engine


def environment_of(settings: Settings, **overrides: str) -> dict[str, str]:
    """Return the environment variables that a process needs to serve these settings."""
    prefixes = ("MODELDESK_", "OPENAI_", "DATABASE_URL", "WEB_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return (
        inherited
        | {
            "DATABASE_URL": settings.database_url,
            "MODELDESK_INSTANCE_PATH": str(settings.instance_path),
            "MODELDESK_SECRET_KEY": settings.secret_key,
            "MODELDESK_ENCRYPTION_KEYS": settings.encryption_keys or "",
        }
        | overrides
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(settings: Settings, folder: Path, *, workers: int = 2, application: str = "wsgi:app", **environment: str) -> Iterator[Serving]:
    """Run a server until the block ends."""
    port = free_port()
    settings.instance_path.mkdir(parents=True, exist_ok=True)
    process_environment = environment_of(
        settings, HOST="127.0.0.1", PORT=str(port), WEB_CONCURRENCY=str(workers), WEB_THREADS="4", **environment
    )
    process_environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    log = folder / f"server-{port}.log"
    command = [sys.executable, "-m", "webapp.server", application]
    with log.open("wb") as log_file:
        process = subprocess.Popen(command, cwd=ROOT, env=process_environment, stdout=log_file, stderr=log_file)
    try:
        _wait_until_ready(port, process, log)
        yield Serving(settings, port, psutil.Process(process.pid), log, process_environment)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _wait_until_ready(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
        assert process.poll() is None, log.read_text()
    raise AssertionError(f"nobody answered on port {port}: {log.read_text()}")
