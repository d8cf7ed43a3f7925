"""The job worker: a process that claims jobs and runs a few of them at the same time.

It stays up while the database is unreachable. When it is stopped, current chunks finish and their jobs return to the queue.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from webapp.domain.jobs.lifecycle import reconnect_delay
from webapp.domain.shared.errors import ModeldeskError
from webapp.extensions import db
from webapp.observability.request_id import request_id
from webapp.runtime import container, job_kinds, job_process
from webapp.runtime.transaction import translate_database_error, writing
from webapp.services.jobs import queue, queue_status
from webapp.services.jobs.queue import Claim

log = logging.getLogger(__name__)
CONCURRENCY = 4  # Jobs that one worker runs at the same time, unless it is told otherwise.
POLL_SECONDS, REPORT_SECONDS, CLEANUP_SECONDS = 0.5, 10.0, 3600.0
Result = TypeVar("Result")


def job_request_id(job_id: int) -> str:
    """Return the request id under which the audit log has the changes of a job."""
    return f"job-{job_id}"


class JobWorker:
    """Claims and runs jobs on `concurrency` threads of this process. `name` is unique among job workers."""

    def __init__(self, *, concurrency: int = 1) -> None:
        self._app_context = container.application().app_context
        self._concurrency, self._process = concurrency, job_process.process_name()
        self.name = f"{self._process}|{secrets.token_hex(4)}"
        self.stopped, self._lock = threading.Event(), threading.Lock()
        self._owners: set[str] = set()

    def run(self) -> None:
        """Run jobs until `stop` is called. A caller in the main thread can be interrupted by signal handlers."""
        threads = [threading.Thread(target=self._serve, name=f"jobs-{number}", daemon=True) for number in range(self._concurrency)]
        threads.append(threading.Thread(target=self._report, name="jobs-report", daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.5)

    def stop(self) -> None:
        """Finish current chunks, start nothing more, and return open jobs to the queue."""
        self.stopped.set()

    def run_pending(self) -> int:
        """Run jobs in the calling thread until none can be claimed, and return their number. The caller has an application context."""
        count = 0
        while not self.stopped.is_set() and (claimed := self._claim()):
            self._run(claimed)
            count += 1
        return count

    def _serve(self) -> None:
        with self._app_context():
            while not self.stopped.is_set():
                claimed = self._until_available(self._claim)
                if claimed is None:
                    self.stopped.wait(POLL_SECONDS)
                else:
                    self._run(claimed)

    def _claim(self) -> Claim | None:
        """Claim a job. An idle worker only reads."""
        now, session = datetime.now(UTC), db.session()
        try:
            orphans = queue.list_orphans(session, job_process.has_ended)
            if not queue.is_waiting(session, now, orphans):
                return None
            with writing(refresh=False) as transaction:
                return queue.claim(transaction, secrets.token_hex(16), self._process, datetime.now(UTC), orphans)
        finally:
            db.session.remove()

    def _run(self, claimed: Claim) -> None:
        log.info("job %s (%s) starts", claimed.job_id, claimed.kind)
        token = request_id.set(job_request_id(claimed.job_id))
        with self._lock:
            self._owners.add(claimed.owner)
        try:
            job_kinds.find(claimed.kind).run(claimed, self.stopped)
        except Exception as error:  # The job's lease expires, and a worker claims it again.
            log.error("job %s ended its thread: %s", claimed.job_id, type(error).__name__, exc_info=error)
        finally:
            with self._lock:
                self._owners.discard(claimed.owner)
            request_id.reset(token)
            db.session.remove()

    def _report(self) -> None:
        """Report that this worker runs and renew its leases, every few seconds. Delete old jobs once an hour."""
        next_cleanup = 0.0
        with self._app_context():
            while not self.stopped.is_set():
                self._until_available(self._write_report)
                if time.monotonic() >= next_cleanup:
                    self._until_available(_delete_old)
                    next_cleanup = time.monotonic() + CLEANUP_SECONDS
                self.stopped.wait(REPORT_SECONDS)
            self._forget()

    def _write_report(self) -> None:
        with writing(refresh=False) as session:
            queue_status.report_worker(session, self.name, datetime.now(UTC))
        with self._lock:
            owners = list(self._owners)
        if owners:
            with writing(refresh=False) as session:
                queue.renew(session, owners, datetime.now(UTC))

    def _forget(self) -> None:
        try:
            with writing(refresh=False) as session:
                queue_status.forget_worker(session, self.name)
        except ModeldeskError as error:
            log.debug("this job worker could not delete its report: %s", error.detail)
        finally:
            db.session.remove()

    def _until_available(self, step: Callable[[], Result]) -> Result | None:
        """Repeat a step until the database can be used or the worker stops."""
        failures = 0
        while not self.stopped.is_set():
            try:
                return step()
            except (ModeldeskError, SQLAlchemyError, OSError) as error:
                failures += 1
                detail = translate_database_error(error).detail if isinstance(error, SQLAlchemyError) else str(error)
                log.warning("the job worker cannot use the database: %s", detail)
                self.stopped.wait(reconnect_delay(failures).total_seconds())
            finally:
                db.session.remove()
        return None


def _delete_old() -> None:
    with writing(refresh=False) as session:
        queue.delete_old(session, datetime.now(UTC))
