"""Desks that really serve: gunicorn in processes of its own, on loopback, and a client that keeps its connection."""

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

READY_WITHIN = 120.0  # Beside other work on a small machine.


@dataclass
class Answer:
    """One answer of a served desk."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one desk over one connection, and opens another one when it breaks. Not for several threads at once."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """The answer. Raises `OSError` or `http.client.HTTPException` if none came, and does not ask again."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            self._connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, sent)
            answer = self._connection.getresponse()
            found = Answer(answer.status, answer.read(), dict(answer.getheaders()))
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if answer.will_close:
            self.close()
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Serving:
    """A running gunicorn."""

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
        done = subprocess.run(command, cwd=ROOT, env={**self.environment, **environment}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self, *scopes: str) -> str:
        """A new token, once every worker knows it."""
        token = self.flask("tokens", "create", "experiment", *(part for scope in scopes for part in ("--scope", scope)))
        known, end = 0, time.monotonic() + 5
        while known < 6 * len(self.workers()):  # Each connection leads to some worker.
            client = self.client(token)
            known = known + 1 if client.ask("GET", "/defaults").status != 401 else 0
            client.close()
            assert time.monotonic() < end, "a new token is not known after five seconds"
        return token

    def engine(self) -> Engine:
        return engine_of(self.settings)


def engine_of(settings: Settings) -> Engine:
    """An engine on the same database, for looking at it from outside."""
    path = settings.sqlite_path
    engine = create_engine(f"sqlite:///{path}" if path else settings.database_url, **engine_options(path))
    guard_engine(engine, path)
    return engine


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """What a process needs to serve these settings."""
    unwanted = ("MODELDESK_", "OPENAI_", "DATABASE_URL", "WEB_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return (
        clean
        | {
            "DATABASE_URL": settings.database_url,
            "MODELDESK_INSTANCE_PATH": str(settings.instance_path),
            "MODELDESK_SECRET_KEY": settings.secret_key,
            "MODELDESK_ENCRYPTION_KEYS": settings.encryption_keys or "",
        }
        | more
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(settings: Settings, folder: Path, *, workers: int = 2, application: str = "wsgi:app", **environment: str) -> Iterator[Serving]:
    """Serves until the block ends."""
    port = free_port()
    settings.instance_path.mkdir(parents=True, exist_ok=True)
    needed = environment_of(settings, HOST="127.0.0.1", PORT=str(port), WEB_CONCURRENCY=str(workers), WEB_THREADS="4", **environment)
    needed["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    log = folder / f"server-{port}.log"
    command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", application]
    with log.open("wb") as out:
        started = subprocess.Popen(command, cwd=ROOT, env=needed, stdout=out, stderr=out)
    try:
        _wait_until_ready(port, started, log)
        yield Serving(settings, port, psutil.Process(started.pid), log, needed)
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(20)


def _wait_until_ready(port: int, started: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
        assert started.poll() is None, log.read_text()
    raise AssertionError(f"nobody answered on port {port}: {log.read_text()}")
