"""The job worker as a child process of the server. `flask --app wsgi worker` runs the same in a process of its own."""

import signal
import threading
from typing import Any

from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.job_worker import CONCURRENCY, JobWorker
from webapp.server.supervisor import Beat

BEAT_S = 1.0


def run_jobs(application: Any, beat: Beat) -> None:
    """Run jobs until SIGTERM, or until `beat`, which is called every second, returns that the main process is gone."""
    with application.app_context():
        container.current().process_report.silence()  # It serves no requests.
        job_worker = JobWorker(concurrency=CONCURRENCY)
        signal.signal(signal.SIGTERM, lambda *_: job_worker.stop())
        threading.Thread(target=_beat_until_stopped, args=(job_worker, beat), daemon=True).start()
        job_worker.run()
        db.engine.dispose()  # The last process to close an SQLite database applies and removes its WAL.


def _beat_until_stopped(job_worker: JobWorker, beat: Beat) -> None:
    while beat() and not job_worker.stopped.is_set():
        job_worker.stopped.wait(BEAT_S)
    job_worker.stop()
