"""Execution of an evaluation in a job worker, with one lane per model so that a slow or failing model delays no other.

All shared state is in the database, so any process can show or cancel an evaluation.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from webapp.domain.incidents import evaluation
from webapp.domain.incidents.incidents import incident_from
from webapp.domain.jobs.lifecycle import reconnect_delay
from webapp.domain.shared.errors import ModeldeskError, Unavailable
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.run_pipeline import RunOptions, execute_plan, plan_run
from webapp.runtime.transaction import writing
from webapp.services.credentials.key_access import Caller
from webapp.services.jobs import queue
from webapp.services.jobs.queue import Claim, LeaseLost
from webapp.services.runs import evaluation_cells, evaluation_jobs
from webapp.services.runs.evaluation_cells import CellTask
from webapp.services.runs.evaluation_jobs import EvaluationRun

log = logging.getLogger(__name__)
HEARTBEAT_INTERVAL_S, RETRY_INTERVAL_S = 5.0, 0.2
MAX_CONCURRENT_LANES = 24  # Shared by all evaluations. A lane spends most of its time waiting for a provider.
AppContext = Callable[[], AbstractContextManager[object]]
Result = TypeVar("Result")
_lane_slots = threading.BoundedSemaphore(MAX_CONCURRENT_LANES)


def run(claimed: Claim, stopped: threading.Event) -> None:
    """Run an evaluation until its end, or until the worker stops and calls in progress have ended."""
    try:
        _Evaluation(claimed, stopped).run()
    except LeaseLost as error:
        log.warning("job %s: %s", claimed.job_id, error.detail)


class _Evaluation:
    """One claim of the job of an evaluation."""

    def __init__(self, claimed: Claim, stopped: threading.Event) -> None:
        self._claimed, self._stopped = claimed, stopped
        self._app_context: AppContext = container.application().app_context

    def run(self) -> None:
        work = self._store(self._begin)
        if work is None:
            return
        lanes = [threading.Thread(target=self._run_guarded, args=(work, model), name=f"lane-{model}", daemon=True) for model in work.models]
        for lane in lanes:
            lane.start()
        self._wait(lanes, work)
        self._store(lambda session: self._end(session, work))

    def _begin(self, session: Session) -> EvaluationRun | None:
        job = queue.lock_owned(session, self._claimed, _now())
        work = evaluation_jobs.begin(session, job)
        if work is None:
            queue.end(job, "failed", _now(), "The evaluation was deleted.")
        return work

    def _wait(self, lanes: list[threading.Thread], work: EvaluationRun) -> None:
        """Wait for the lanes, also after a cancellation, and report that they run."""
        last_report = time.monotonic()
        while any(lane.is_alive() for lane in lanes):
            for lane in lanes:
                lane.join(timeout=0.05)
            if time.monotonic() - last_report > HEARTBEAT_INTERVAL_S:
                last_report = time.monotonic()
                self._report(work)

    def _report(self, work: EvaluationRun) -> None:
        """Report progress if the database is available and the job is still owned. Lanes of a lost job end by themselves."""
        try:
            with writing(refresh=False) as session:
                evaluation_jobs.report_progress(session, queue.lock_owned(session, self._claimed, _now()), work, _now())
        except (Unavailable, LeaseLost) as error:
            log.warning("job %s cannot report its progress: %s", self._claimed.job_id, error.detail)
        finally:
            db.session.remove()

    def _end(self, session: Session, work: EvaluationRun) -> None:
        if self._stopped.is_set():
            queue.release(session, self._claimed)
        else:
            evaluation_jobs.finish(session, queue.lock_owned(session, self._claimed, _now()), work, _now())

    def _run_guarded(self, work: EvaluationRun, model: str) -> None:
        """Run a lane with its own application context and session. Unexpected errors are logged and end only this lane."""
        with self._app_context():
            try:
                self._run_lane(work, model)
            except Exception as error:
                log.error("a lane of an evaluation ended: %s", type(error).__name__, exc_info=error)
            finally:
                db.session.remove()

    def _run_lane(self, work: EvaluationRun, model: str) -> None:
        with _lane_slots:
            while not self._stopped.is_set():
                task = self._store(lambda session: evaluation_cells.start_next_cell(session, work.evaluation_id, work.generation, model))
                if task == evaluation.WAIT:
                    self._stopped.wait(RETRY_INTERVAL_S)
                elif isinstance(task, CellTask):
                    self._run_cell(task)
                else:
                    return

    def _run_cell(self, task: CellTask) -> None:
        """Plan, execute and record one cell. It never uses the cache, because an evaluation measures."""
        local = task.model == evaluation.LOCAL
        options = RunOptions(None if local else task.model, task.template, local=local, skip_cache=True, caller=Caller(task.actor))
        try:
            planned = plan_run(incident_from(task.incident), options)
            outcome = execute_plan(planned)
        except ModeldeskError as error:
            detail = error.detail
            self._store(lambda session: evaluation_cells.fail_cell(session, task, detail))
            return
        self._store(lambda session: evaluation_cells.complete_cell(session, task, planned, outcome))

    def _store(self, change: Callable[[Session], Result]) -> Result:
        """Run a change in a transaction, again and again while the database is unavailable: a response that was paid for is recorded."""
        failures = 0
        while True:
            try:
                with writing(refresh=False) as session:
                    return change(session)
            except Unavailable as error:
                failures += 1
                log.warning("an evaluation waits for the database: %s", error.detail)
                time.sleep(reconnect_delay(failures).total_seconds())
            finally:
                db.session.rollback()


def _now() -> datetime:
    return datetime.now(UTC)
