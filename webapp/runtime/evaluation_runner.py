"""Evaluation runner on threads of this process, with one lane per model so that a slow or failing model delays no other.

All shared state is in the database, so any process can show or cancel an evaluation. If a process ends, its lanes end too. The evaluation
then counts as interrupted and can be resumed.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from webapp.domain.incidents import evaluation
from webapp.domain.incidents.incidents import incident_from
from webapp.domain.shared.errors import ModeldeskError
from webapp.extensions import db
from webapp.runtime import container
from webapp.runtime.run_pipeline import RunOptions, execute_plan, plan_run
from webapp.runtime.transaction import writing
from webapp.services.credentials.key_access import Caller
from webapp.services.runs import evaluation_cells
from webapp.services.runs.evaluation_cells import CellTask

log = logging.getLogger(__name__)
HEARTBEAT_INTERVAL_S, RETRY_INTERVAL_S = 5.0, 0.2
MAX_CONCURRENT_LANES = 24  # Shared by all evaluations. A lane spends most of its time waiting for a provider.
AppContext = Callable[[], AbstractContextManager[object]]
_lane_slots = threading.BoundedSemaphore(MAX_CONCURRENT_LANES)


class Generation(NamedTuple):
    """One start of an evaluation. Each resume starts the next generation, while threads of an earlier one can still wait for a provider."""

    evaluation_id: int
    number: int


class EvaluationRunner:
    """Runs evaluations on threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[Generation, threading.Thread] = {}
        self._stopped = threading.Event()

    def start(self, evaluation_id: int, generation: int, models: list[str]) -> None:
        """Start the lanes of an evaluation and return immediately."""
        app_context, generation_key = container.application().app_context, Generation(evaluation_id, generation)
        supervisor = threading.Thread(
            target=self._supervise, args=(app_context, generation_key, models), name=f"bench-{evaluation_id}", daemon=True
        )
        with self._lock:
            self._threads[generation_key] = supervisor
        supervisor.start()

    def stop(self) -> None:
        """Start no further cells, and wait for calls in progress."""
        self._stopped.set()
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(timeout=30)

    def wait(self, evaluation_id: int, seconds: float) -> None:
        """Wait until all generations of an evaluation have ended in this process, for at most `seconds` per thread."""
        with self._lock:
            threads = [thread for generation, thread in self._threads.items() if generation.evaluation_id == evaluation_id]
        for thread in threads:
            thread.join(seconds)

    def _supervise(self, app_context: AppContext, generation: Generation, models: list[str]) -> None:
        lanes = [self._lane_thread(app_context, generation, model) for model in models]
        for lane in lanes:
            lane.start()
        last_heartbeat = time.monotonic()
        while any(lane.is_alive() for lane in lanes):
            for lane in lanes:
                lane.join(timeout=0.05)
            if time.monotonic() - last_heartbeat > HEARTBEAT_INTERVAL_S:
                last_heartbeat = time.monotonic()
                self._run_guarded(app_context, lambda: _in_transaction(lambda session: evaluation_cells.heartbeat(session, *generation)))
        if not self._stopped.is_set():
            self._run_guarded(app_context, lambda: _in_transaction(lambda session: evaluation_cells.finish(session, *generation)))
        with self._lock:
            self._threads.pop(generation, None)

    def _lane_thread(self, app_context: AppContext, generation: Generation, model: str) -> threading.Thread:
        return threading.Thread(
            target=self._run_guarded, args=(app_context, lambda: self._run_lane(generation, model)), name=f"lane-{model}", daemon=True
        )

    def _run_guarded(self, app_context: AppContext, work: Callable[[], None]) -> None:
        """Run a thread's work with its own application context and session. Unexpected errors are logged and end only this thread."""
        with app_context():
            try:
                work()
            except Exception as error:
                log.error("a bench could not go on: %s", type(error).__name__, exc_info=error)
            finally:
                db.session.remove()

    def _run_lane(self, generation: Generation, model: str) -> None:
        with _lane_slots:
            while not self._stopped.is_set():
                with writing(refresh=False) as session:
                    task = evaluation_cells.start_next_cell(session, *generation, model)
                if task == evaluation.WAIT:
                    self._stopped.wait(RETRY_INTERVAL_S)
                elif isinstance(task, CellTask):
                    _run_cell(task)
                else:
                    return


def _in_transaction(change: Callable[..., None]) -> None:
    with writing(refresh=False) as session:
        change(session)


def _run_cell(task: CellTask) -> None:
    """Plan, execute and record one cell. It never uses the cache, because an evaluation measures."""
    local = task.model == evaluation.LOCAL
    options = RunOptions(None if local else task.model, task.template, local=local, skip_cache=True, caller=Caller(task.actor))
    try:
        planned = plan_run(incident_from(task.incident), options)
        outcome = execute_plan(planned)
    except ModeldeskError as error:
        detail = error.detail
        _in_transaction(lambda session: evaluation_cells.fail_cell(session, task, detail))
        return
    _in_transaction(lambda session: evaluation_cells.complete_cell(session, task, planned, outcome))


def get_runner() -> EvaluationRunner:
    """Return the application's runner, created on first use."""
    runner: EvaluationRunner = container.application().extensions.setdefault("modeldesk_benches", EvaluationRunner())
    return runner
