"""Servers of the bench: gunicorn with ours or the bare application, on a port of its own, and what its workers spend."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from bench.litellm_process import ROOT


@dataclass(frozen=True, slots=True)
class Server:
    """One running gunicorn."""

    url: str
    process: psutil.Process

    def workers(self) -> list[psutil.Process]:
        return self.process.children()

    def cpu_seconds(self) -> float:
        """What its workers have spent so far."""
        return sum(times.user + times.system for times in (worker.cpu_times() for worker in self.workers()))


@contextlib.contextmanager
def gunicorn(application: str, config: str, environment: Mapping[str, str], *, workers: int = 2) -> Iterator[Server]:
    port = _free_port()
    started = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", config, application],
        cwd=ROOT,
        env={**environment, "HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": str(workers), "WEB_THREADS": "2"},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield Server(f"http://127.0.0.1:{port}", psutil.Process(started.pid))
    finally:
        started.terminate()
        started.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ask(url: str, token: str = "", *, body: str | None = None) -> tuple[bytes, Mapping[str, str]]:
    """The body and the headers of one answer, on a connection of its own."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body.encode() if body else None, headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read(), answer.headers


def wait_for(url: str, token: str = "", *, body: str | None = None, most: float = 60) -> bytes:
    """The body of the first good answer."""
    end = time.monotonic() + most
    while True:
        try:
            return ask(url, token, body=body)[0]
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
