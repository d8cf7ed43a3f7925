"""The thread that keeps a process's registry fresh, and the report of the revision that the process serves."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from webapp.config.storage_errors import is_disk_full
from webapp.domain.catalog.snapshot import DATABASE
from webapp.domain.shared.errors import DiskFull, Unavailable
from webapp.extensions import migration_guard
from webapp.extensions.engine import WRITING
from webapp.models import RegistryProcess
from webapp.registry.database_health import DISK_FULL, OK, DatabaseHealth
from webapp.registry.registry import ModelRegistry

HEARTBEAT, COPY_INTERVAL = 5.0, 2.0  # seconds
STALE_AFTER = timedelta(seconds=20)
log = logging.getLogger(__name__)


class Refresher:
    """Refreshes a registry every `poll` seconds. Starts on first use and again after a fork, because threads do not survive one."""

    def __init__(
        self,
        registry: ModelRegistry,
        report: "ProcessReport",
        health: DatabaseHealth | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._report, self._health, self._clock = registry, report, health, clock
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Load the registry if this process has not done so, and start the thread if it is not running."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._registry.refresh()
                self._check_database()
                self._thread = threading.Thread(target=self._run, name="registry-refresher", daemon=True)
                self._thread.start()
                self._pid = os.getpid()

    def _run(self) -> None:
        reported: tuple[int, str] | None = None
        next_report = next_copy = 0.0
        while not self._stopped.wait(self._registry.poll if reported else 0):
            try:
                snapshot = self._registry.refresh()
                state = (snapshot.revision, snapshot.source)
                if snapshot.source != DATABASE or (self._health and self._health.state != OK):
                    self._check_database()
                if state != reported or self._clock() >= next_report:
                    self._check_database()
                    if self._health is None:
                        self._report.write(*state)
                    elif self._health.state in (OK, DISK_FULL):  # A database in any other state is left unchanged.
                        self._health.was_write_out_of_space = not self._report.write(*state)
                    reported, next_report = state, self._clock() + HEARTBEAT
                if self._clock() >= next_copy:  # Not at every change, because writing the copy must not delay the next refresh.
                    self._registry.save_copy()
                    next_copy = self._clock() + COPY_INTERVAL
            except Exception as error:  # Without this thread, the registry would never change again.
                log.error("the registry could not be refreshed: %s", type(error).__name__, exc_info=error)
                self._stopped.wait(HEARTBEAT)

    def _check_database(self) -> None:
        if self._health is not None:
            self._health.check()

    def stop(self) -> None:
        """Stop the thread in a process that continues without the application."""
        self._stopped.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(timeout=5)
            self._registry.save_copy()

    def retire(self) -> None:
        """Stop the thread of a worker that shuts down, and delete the worker's report."""
        was_running = self._thread is not None and self._pid == os.getpid()
        self.stop()
        if was_running and (self._health is None or self._health.state == OK):  # Any other state is left unchanged, as in `_run`.
            self._report.forget()
        if was_running:
            self._report.disconnect()


class ProcessReport:
    """One row for each process: the revision that it serves, and the time of its last report."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._silent = engine, False

    def silence(self) -> None:
        """Disable the report for commands, which read the registry but serve no requests."""
        self._silent = True

    def write(self, revision: int, source: str) -> bool:
        """Write the row and delete those of silent processes. Return false if there is no room for it.

        Other errors are ignored, because this is only a report.
        """
        if self._silent:
            return True
        name, now = _process_name(), datetime.now(UTC)
        values = {"revision": revision, "source": source, "seen_at": now, "updated_at": now}
        process = RegistryProcess
        try:
            with self._write_transaction() as connection:
                connection.execute(delete(process).where(process.seen_at < now - STALE_AFTER))
                if connection.execute(update(process).where(process.name == name).values(values)).rowcount == 0:
                    connection.execute(insert(process).values(name=name, created_at=now, **values))
        except (SQLAlchemyError, OSError, Unavailable) as error:
            log.debug("this process could not report its revision: %s", type(error).__name__)
            return not (isinstance(error, DiskFull) or is_disk_full(error))
        return True

    def forget(self) -> None:
        """Delete this process's row at shutdown. The row of a killed process is deleted after a while."""
        if self._silent:
            return
        try:
            with self._write_transaction() as connection:
                connection.execute(delete(RegistryProcess).where(RegistryProcess.name == _process_name()))
        except (SQLAlchemyError, OSError, Unavailable) as error:
            log.debug("this process could not take back its report: %s", type(error).__name__)

    def disconnect(self) -> None:
        """Close the idle connections of a worker that shuts down. The last one to close an SQLite database applies and removes its WAL."""
        self._engine.dispose()

    @contextmanager
    def _write_transaction(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
            migration_guard.require_current_version(connection)
            yield connection

    def count_current(self, revision: int) -> tuple[int, int]:
        """Return how many processes serve at least this revision, and how many have reported recently."""
        since = datetime.now(UTC) - STALE_AFTER
        try:
            with self._engine.connect() as connection:
                revisions = connection.execute(select(RegistryProcess.revision).where(RegistryProcess.seen_at >= since)).scalars().all()
        except (SQLAlchemyError, OSError):
            return 0, 0
        return sum(served >= revision for served in revisions), len(revisions)


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
