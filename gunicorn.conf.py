"""How Modeldesk is served: two processes with threads, on loopback unless told otherwise (docs/adr/0006)."""

import gc
import os

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from webapp.web import current

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS", "8"))  # Runs wait for providers, so there are more threads than cores.
preload_app = True  # Workers share the memory of what is loaded once.
graceful_timeout = 10
keepalive = 5
limit_request_line = 8190
accesslog = None
loglevel = "warning"


def when_ready(_: Arbiter) -> None:
    print(f"Modeldesk serves on http://{bind} with {workers} workers. Stop it with Ctrl-C.", flush=True)  # noqa: T201 # for whoever started it


def pre_fork(_: Arbiter, __: Worker) -> None:
    gc.freeze()  # What is loaded by now stays shared: the collector would write to it otherwise.


def post_worker_init(worker: Worker) -> None:
    with worker.app.callable.app_context():
        current.registry()  # Loaded before the first request instead of by it.
