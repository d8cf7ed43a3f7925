"""gunicorn configuration: two processes with threads, on loopback by default (docs/adr/0006)."""

import errno
import gc
import logging
import os
import socket

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from webapp.config.loading import server_setting
from webapp.config.reader import ConfigError, SettingsReader
from webapp.extensions import engine
from webapp.observability import logs
from webapp.runtime import container
from webapp.security import keyfiles, redaction


def server_number(name: str) -> int:
    """Return a setting of the server. An invalid value stops the start with one sentence."""
    try:
        return server_setting(SettingsReader(os.environ), name)
    except ConfigError as error:
        raise SystemExit(f"modeldesk: {error}") from None


host, port = os.environ.get("HOST", "127.0.0.1"), server_number("PORT")
bind = f"{host}:{port}"
workers = server_number("WEB_CONCURRENCY")
worker_class = "webapp.web.worker.BufferingThreadWorker"  # Slow clients do not occupy threads (docs/adr/0021).
sendfile = False  # It would wait for the client in a thread.
threads = server_number("WEB_THREADS")  # More threads than cores, because runs wait for providers.
preload_app = True  # Workers share the memory of modules that are loaded before the fork.
graceful_timeout = 10
keepalive = 5
limit_request_line = 8190
accesslog = None  # Modeldesk has its own access log, without URLs and queries (MODELDESK_ACCESS_LOG).
loglevel = "warning"
logconfig_dict = logs.gunicorn_log_config(redaction.log_redactor(), loglevel)


def on_starting(_: Arbiter) -> None:
    """Report a port in use in one sentence, instead of gunicorn's ten lines. Inherited sockets are open already and are not checked."""
    if {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SystemExit(f"Port {port} is in use. Choose another: make run PORT={port + 1}") from None


def when_ready(server: Arbiter) -> None:
    with server.app.callable.app_context():
        settings = container.settings()
        if settings.sqlite_path is not None:
            engine.log_journal_mode(settings.sqlite_path)
        for warning in (*keyfiles.exposure_warnings(settings.secret_files), *settings.ignored_settings):
            logging.getLogger("webapp.start").warning("%s", warning)
    print(f"Modeldesk serves on http://{bind} with {workers} worker{'s' if workers > 1 else ''}. Stop it with Ctrl-C.", flush=True)  # noqa: T201 # shown in the terminal


def pre_fork(_: Arbiter, __: Worker) -> None:
    gc.freeze()  # Otherwise the collector would write to shared pages, and each worker would get copies.


def worker_exit(_: Arbiter, worker: Worker) -> None:
    with worker.app.callable.app_context():
        container.current().refresher.retire()


def post_worker_init(worker: Worker) -> None:
    with worker.app.callable.app_context():
        container.registry()  # Load the registry before the first request.
        if reason := container.vault().reason:
            logging.getLogger("webapp.start").warning("keys are locked: %s; everything that needs no key goes on", reason)
