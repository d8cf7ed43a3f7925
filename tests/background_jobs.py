"""A job worker on threads of the test's process, for tests that look at jobs while they run."""

import threading
import time

from flask import Flask
from sqlalchemy import func, select

from webapp.domain.jobs.lifecycle import ACTIVE_STATUSES
from webapp.extensions import db
from webapp.models import Job
from webapp.runtime import container, job_worker
from webapp.runtime.job_worker import JobWorker

KEY = "test-job-worker"
job_worker.POLL_SECONDS = 0.02


def work_in_background() -> None:
    """Start a job worker for the current application, unless it has one. It ends with the application."""
    app = container.application()
    if KEY not in app.extensions:
        worker = JobWorker(concurrency=4)
        thread = threading.Thread(target=worker.run, daemon=True)
        app.extensions[KEY] = worker, thread
        thread.start()


def wait_for_jobs(seconds: float = 20) -> None:
    """Wait until no job is queued or running, and the worker has dropped those that it lost."""
    work_in_background()
    worker, _ = container.application().extensions[KEY]
    deadline = time.monotonic() + seconds
    while _count_active() or worker._owners:
        assert time.monotonic() < deadline, "a job has not ended"
        time.sleep(0.02)


def _count_active() -> int:
    db.session.rollback()
    query = select(func.count()).select_from(Job).where(Job.status.in_(ACTIVE_STATUSES))
    count = db.session.execute(query).scalar_one()
    db.session.rollback()
    return count


def stop_background_worker(app: Flask) -> None:
    if KEY in app.extensions:
        worker, thread = app.extensions.pop(KEY)
        worker.stop()
        thread.join(30)
