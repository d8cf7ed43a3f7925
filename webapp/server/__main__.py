"""`python -m webapp.server`: serves the application with the settings of the environment (docs/operations.md).

Modules that are slow to import follow only when the port is known to be free.
"""

import argparse
import errno
import os
import socket
import subprocess
import sys

from webapp.config.loading import server_setting
from webapp.config.reader import ConfigError, SettingsReader
from webapp.runtime import descriptors

BACKLOG = 2_048
UNREAD_RESPONSE_MS = 30_000  # After this time, the system closes the connection of a client that does not read its response.


def main() -> None:
    options = _parse_arguments()
    host, port = os.environ.get("HOST", "127.0.0.1").strip("[]"), _server_number("PORT")
    workers, threads = _server_number("WEB_CONCURRENCY"), _server_number("WEB_THREADS")
    descriptors.raise_limit()
    listener = _bind(host, port)
    if options.prepare:
        _prepare()

    from webapp.server.processes import ServerPlan, run

    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    run(ServerPlan(options.application, listener, url, workers, threads, with_link=options.prepare, with_job_worker=options.job_worker))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m webapp.server", description="Serves Modeldesk.")
    parser.add_argument("application", nargs="?", default="wsgi:app", help="module and name of the WSGI application")
    parser.add_argument("--prepare", action="store_true", help="prepare the database first, and print the set-up link of the first start")
    parser.add_argument("--job-worker", action="store_true", help="run a job worker next to the workers")
    return parser.parse_args()


def _server_number(name: str) -> int:
    """Return a setting of the server. An invalid value stops the start with one sentence."""
    try:
        return server_setting(SettingsReader(os.environ), name)
    except ConfigError as error:
        raise SystemExit(f"modeldesk: {error}") from None


def _bind(host: str, port: int) -> socket.socket:
    """Return the socket that all workers share. An address that cannot be used stops the start with one sentence."""
    try:
        family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_RESPONSE_MS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SystemExit(f"Port {port} is in use. Choose another: make run PORT={port + 1}") from None
        raise SystemExit(f"modeldesk: HOST and PORT cannot be used: {error.strerror}.") from None
    return listener


def _prepare() -> None:
    """Create, migrate and seed the database in a process of its own, whose modules the workers do not need."""
    try:
        prepared = subprocess.run([sys.executable, "-m", "flask", "--app", "wsgi", "prepare", "--no-link"], check=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if prepared.returncode:
        raise SystemExit(prepared.returncode)


if __name__ == "__main__":
    main()
