"""States of a job, and the rules of its lease, its retries and the size of its chunks. Times are arguments."""

from datetime import datetime, timedelta

QUEUED, RUNNING, DONE, FAILED, CANCELED = STATUSES = ("queued", "running", "done", "failed", "canceled")
ACTIVE_STATUSES = (QUEUED, RUNNING)

LEASE = timedelta(seconds=30)
MAX_CLOCK_SKEW = timedelta(seconds=30)  # Between two hosts, and between a worker's look at the clock and its claim.
MAX_RETRY_DELAY = timedelta(minutes=1)
MAX_RECONNECT_DELAY = timedelta(seconds=30)
MAX_ATTEMPTS = 10  # Claims and errors since the last progress. A chunk that always ends its process must not run forever.
WORKER_TIMEOUT = timedelta(seconds=60)
RETENTION = timedelta(days=30)

FIRST_CHUNK, MIN_CHUNK, MAX_CHUNK = 20, 10, 500
CHUNK_SECONDS = 0.3  # A chunk is one transaction, and on SQLite all other writers wait for it.


def is_lease_expired(lease_until: datetime | None, now: datetime) -> bool:
    """Return whether another worker can take the job.

    A lease that ends much later than a new one would was granted by a clock that was ahead, so it is not valid.
    """
    return lease_until is None or not now < lease_until <= now + LEASE + MAX_CLOCK_SKEW


def is_due(not_before: datetime | None, now: datetime) -> bool:
    """Return whether a queued job can start. A start that is much later than any delay was set by a clock that was ahead."""
    return not_before is None or not now < not_before <= now + MAX_RETRY_DELAY + MAX_CLOCK_SKEW


def retry_delay(attempts: int) -> timedelta:
    """Return how long a job waits after this many attempts without progress: 1, 2, 4, ... seconds."""
    return min(timedelta(seconds=2 ** min(max(attempts, 1) - 1, 10)), MAX_RETRY_DELAY)


def reconnect_delay(failures: int) -> timedelta:
    """Return how long a job worker waits after this many attempts to reach the database."""
    return min(timedelta(seconds=2 ** min(max(failures, 1) - 1, 10)), MAX_RECONNECT_DELAY)


def is_worker_silent(seen_at: datetime, now: datetime) -> bool:
    """Return whether a worker has not reported recently. A report from the future counts as silent."""
    return not now - WORKER_TIMEOUT <= seen_at <= now + WORKER_TIMEOUT


def next_chunk_size(size: int, seconds: float) -> int:
    """Return the size of the next chunk, so that it takes about `CHUNK_SECONDS`. It at most doubles."""
    ideal = size * CHUNK_SECONDS / max(seconds, 0.001)
    return int(min(max(ideal, MIN_CHUNK), 2 * size, MAX_CHUNK))


def remaining_seconds(done: int, total: int, elapsed: float) -> float | None:
    """Return the time that the rest takes at the speed so far, or None if nothing is done yet."""
    return elapsed / done * (total - done) if done and total > done else None
