"""The processes of the server, and the messages when they accept requests."""

import gc
import importlib
import logging
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any

from webapp.cli.prepare import print_setup_link
from webapp.config import server_address
from webapp.extensions import engine
from webapp.runtime import container, descriptors
from webapp.security import keyfiles
from webapp.server.jobs import run_jobs
from webapp.server.supervisor import FORK, Child, Supervisor
from webapp.server.worker import serve

log = logging.getLogger("webapp.start")


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What to serve: the application as `module:name`, and a listening socket."""

    application: str
    listener: socket.socket
    url: str
    workers: int
    threads: int
    with_link: bool  # Whether the set-up link of the first start is printed.
    with_job_worker: bool


def run(plan: ServerPlan) -> None:
    """Serve until a signal."""
    module, _, name = plan.application.partition(":")
    application = getattr(importlib.import_module(module), name or "app")
    gc.collect()
    gc.freeze()  # Otherwise the collector would write to shared pages, and each worker would get copies.
    children = [Child(f"worker {number + 1}", partial(serve, application, plan.listener, plan.threads)) for number in range(plan.workers)]
    if plan.with_job_worker:
        children.append(Child("job worker", partial(run_jobs, application)))
    Supervisor(children, partial(_announce, application, plan)).run()


def _announce(application: Any, plan: ServerPlan) -> None:
    """Say that the server accepts requests, and what an operator should know about it."""
    with application.app_context():
        settings = container.settings()
        if settings.sqlite_path is not None:
            engine.log_journal_mode(settings.sqlite_path)
        for warning in (*keyfiles.exposure_warnings(settings.secret_files), *settings.ignored_settings, *descriptors.warnings()):
            log.warning("%s", warning)
    server_address.publish(settings.instance_path, settings.base_url)
    plural = "s" if plan.workers > 1 else ""
    print(f"Modeldesk serves on {plan.url} with {plan.workers} worker{plural}. Stop it with Ctrl-C.", flush=True)  # noqa: T201 # shown in the terminal
    if plan.with_link:
        link = FORK.Process(target=_print_setup_link, args=(application,))  # Forks must not share a connection to the database.
        link.start()
        link.join()


def _print_setup_link(application: Any) -> None:
    with application.app_context():
        print_setup_link()
