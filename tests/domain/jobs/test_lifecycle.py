"""Rules of leases, retries and chunk sizes. A time that a clock ahead of time wrote counts for at most its own window."""

from datetime import UTC, datetime, timedelta

import pytest

from webapp.domain.jobs import lifecycle
from webapp.domain.jobs.lifecycle import LEASE, MAX_CLOCK_SKEW, MAX_RETRY_DELAY

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("lease_until", "expired"),
    [
        (None, True),
        (NOW - TICK, True),
        (NOW, True),
        (NOW + TICK, False),
        (NOW + LEASE, False),
        (NOW + LEASE + MAX_CLOCK_SKEW, False),  # Granted by a host whose clock is a little ahead.
        (NOW + LEASE + MAX_CLOCK_SKEW + TICK, True),  # No clock that is right grants such a lease.
        (NOW + timedelta(days=1), True),
    ],
)
def test_a_lease_is_valid_until_its_end_and_never_longer_than_a_new_one(lease_until, expired):
    assert lifecycle.is_lease_expired(lease_until, NOW) is expired


@pytest.mark.parametrize(
    ("not_before", "due"),
    [(None, True), (NOW, True), (NOW + TICK, False), (NOW + MAX_RETRY_DELAY, False), (NOW + MAX_RETRY_DELAY + MAX_CLOCK_SKEW + TICK, True)],
)
def test_a_retry_waits_for_its_time_and_never_longer_than_any_delay(not_before, due):
    assert lifecycle.is_due(not_before, NOW) is due


def test_delays_double_up_to_their_limits():
    assert [lifecycle.retry_delay(attempts).total_seconds() for attempts in (0, 1, 2, 3, 6, 7, 99)] == [1, 1, 2, 4, 32, 60, 60]
    assert [lifecycle.reconnect_delay(failures).total_seconds() for failures in (1, 2, 5, 6, 99)] == [1, 2, 16, 30, 30]


@pytest.mark.parametrize(("age", "silent"), [(0, False), (60, False), (61, True), (-60, False), (-61, True)])
def test_a_worker_is_silent_after_a_minute_also_if_its_report_is_from_the_future(age, silent):
    assert lifecycle.is_worker_silent(NOW - timedelta(seconds=age), NOW) is silent


@pytest.mark.parametrize(
    ("size", "seconds", "following"), [(50, 0.3, 50), (50, 0.1, 100), (50, 3.0, 10), (400, 0.01, 500), (100, 0.6, 50), (10, 0.0, 20)]
)
def test_chunks_grow_and_shrink_with_their_duration(size, seconds, following):
    assert lifecycle.next_chunk_size(size, seconds) == following


def test_the_remaining_time_follows_from_the_speed_so_far():
    assert lifecycle.remaining_seconds(100, 400, 10.0) == 30.0
    assert (lifecycle.remaining_seconds(0, 400, 10.0), lifecycle.remaining_seconds(400, 400, 10.0)) == (None, None)
