"""Execution of a job in chunks, each in its own transaction, with its checkpoint."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from webapp.domain.jobs.lifecycle import CANCELED, DONE, FIRST_CHUNK, MAX_ATTEMPTS, next_chunk_size, reconnect_delay
from webapp.domain.shared.errors import ModeldeskError, Unavailable
from webapp.extensions import db
from webapp.models import Job
from webapp.runtime.transaction import writing
from webapp.services.jobs import queue
from webapp.services.jobs.queue import ChunkResult, Claim, CloseJob, LeaseLost

log = logging.getLogger(__name__)
# The shortest pause between two chunks. Writers poll for SQLite's lock, so the pause is as long as the chunk: they get half of the time.
PAUSE_SECONDS = 0.1
ENDED_TOO_OFTEN = f"The job worker ended {MAX_ATTEMPTS} times at the same place. Its log has the reason."
UNEXPECTED = "An unexpected error: {}. The log of the job worker has the details."


# Does at most this many units after `job.checkpoint`, in the caller's transaction. It can change `job.totals`.
RunChunk = Callable[[Session, Job, int], ChunkResult]


class ChunkedWork(NamedTuple):
    """A kind of job that works in chunks.

    `prepare` reads what all chunks need, outside of any write transaction. `close` writes the summary in the transaction that ends the
    job; `job.status` is its result.
    """

    prepare: Callable[[Session, Job], RunChunk]
    close: CloseJob


def run_chunks(work: ChunkedWork, claimed: Claim, stopped: threading.Event) -> None:
    """Run the chunks of a job until it ends, the worker stops or another one owns the job."""
    try:
        _retry_while_unavailable(lambda: _run_until_end(work, claimed, stopped), stopped)
    except LeaseLost as error:
        log.warning("job %s: %s", claimed.job_id, error.detail)
    except ModeldeskError as error:
        detail = error.detail
        _retry_while_unavailable(lambda: _fail(work, claimed, detail), stopped)
    except Exception as error:
        log.error("job %s failed: %s", claimed.job_id, type(error).__name__, exc_info=error)
        text = UNEXPECTED.format(type(error).__name__)
        _retry_while_unavailable(lambda: retry_or_fail(work.close, claimed, text), stopped)


def _retry_while_unavailable(step: Callable[[], None], stopped: threading.Event) -> None:
    """Repeat a step while the database cannot be written. The open chunk is rolled back and starts again."""
    failures = 0
    while True:
        try:
            return step()
        except Unavailable as error:
            failures += 1
            log.warning("the database is not available to a job: %s", error.detail)
            if stopped.wait(reconnect_delay(failures).total_seconds()):
                return None
        except LeaseLost:
            raise
        finally:
            db.session.remove()


def _run_until_end(work: ChunkedWork, claimed: Claim, stopped: threading.Event) -> None:
    run_chunk = work.prepare(db.session(), queue.find(db.session(), claimed.job_id))
    db.session.rollback()
    size = FIRST_CHUNK
    while not stopped.is_set():
        start = time.monotonic()
        with writing(refresh=False) as session:
            is_open = _run_one(session, work, run_chunk, claimed, size)
        if not is_open:
            return
        seconds = time.monotonic() - start
        size = next_chunk_size(size, seconds)
        stopped.wait(max(PAUSE_SECONDS, seconds))
    with writing(refresh=False) as session:
        queue.release(session, claimed)


def _run_one(session: Session, work: ChunkedWork, run_chunk: RunChunk, claimed: Claim, size: int) -> bool:
    """Run one chunk in this transaction, and return whether the job continues."""
    job = queue.lock_owned(session, claimed, _now())
    if job.cancel_requested:
        queue.end(job, CANCELED, _now())
        work.close(session, job)
        return False
    if job.attempts > MAX_ATTEMPTS:
        queue.fail(session, job, _now(), ENDED_TOO_OFTEN, work.close)
        return False
    result = run_chunk(session, job, size)
    session.flush()
    queue.advance(job, result, _now())
    if result.is_last:
        queue.end(job, DONE, _now())
        work.close(session, job)
    return not result.is_last


def _fail(work: ChunkedWork, claimed: Claim, error: str) -> None:
    with writing(refresh=False) as session:
        queue.fail(session, queue.lock_owned(session, claimed, _now()), _now(), error, work.close)


def retry_or_fail(close: CloseJob, claimed: Claim, error: str) -> None:
    """Return the job to the queue after an unexpected error, or end it after the last attempt."""
    with writing(refresh=False) as session:
        job = queue.lock_owned(session, claimed, _now())
        if not queue.retry_later(job, _now(), error):
            queue.fail(session, job, _now(), error, close)


def _now() -> datetime:
    return datetime.now(UTC)
