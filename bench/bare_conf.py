"""gunicorn configuration of the bare application: the same as gunicorn.conf.py, without the hooks of Modeldesk."""

import gc
import os

bind = f"{os.environ['HOST']}:{os.environ['PORT']}"
workers = int(os.environ["WEB_CONCURRENCY"])
worker_class = "webapp.web.worker.BufferingThreadWorker"
threads = int(os.environ["WEB_THREADS"])
preload_app = True
keepalive = 5
limit_request_line = 8190
accesslog = None
loglevel = "warning"


def pre_fork(_: object, __: object) -> None:
    gc.freeze()
