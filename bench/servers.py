"""Servers for the benchmarks, each on its own port, and the CPU time of their workers."""

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
    """A running server."""

    url: str
    process: psutil.Process

    def workers(self) -> list[psutil.Process]:
        return self.process.children()

    def cpu_seconds(self) -> float:
        """Return the total CPU seconds of the workers."""
        return sum(times.user + times.system for times in (worker.cpu_times() for worker in self.workers()))


def modeldesk(environment: Mapping[str, str], *, workers: int = 2) -> contextlib.AbstractContextManager[Server]:
    """Return the context of a server as `make run` starts it, with two threads per worker."""
    port = _free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": str(workers), "WEB_THREADS": "2"}
    return _running(["-m", "webapp.server"], {**environment, **settings}, port)


def gunicorn(application: str, environment: Mapping[str, str]) -> contextlib.AbstractContextManager[Server]:
    """Return the context of gunicorn's threaded server with two workers of two threads."""
    port = _free_port()
    options = ["--worker-class", "gthread", "--workers", "2", "--threads", "2", "--preload", "--bind", f"127.0.0.1:{port}"]
    return _running(["-m", "gunicorn", *options, application], environment, port)


@contextlib.contextmanager
def _running(arguments: list[str], environment: Mapping[str, str], port: int) -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=dict(environment), stdout=subprocess.DEVNULL)
    try:
        yield Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, token: str = "", *, body: str | None = None) -> tuple[bytes, Mapping[str, str]]:
    """Send one request on a new connection, and return the body and headers of the response."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body.encode() if body else None, headers=headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return response.read(), response.headers


def wait_for(url: str, token: str = "", *, body: str | None = None, timeout: float = 60) -> bytes:
    """Retry until the first successful response, and return its body. Raises after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return ask(url, token, body=body)[0]
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
