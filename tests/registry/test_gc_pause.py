"""Building snapshots without garbage collection, in several threads at once."""

import gc
import sys
import threading

import pytest

from webapp.registry.gc_pause import GcPause


@pytest.fixture
def quiet():
    assert gc.isenabled()
    yield GcPause()
    gc.enable()


def test_nothing_is_collected_until_the_last_is_out(quiet):
    with quiet:
        with quiet:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_inside_turns_collecting_on_again(quiet):
    with pytest.raises(ZeroDivisionError), quiet:
        raise ZeroDivisionError
    assert gc.isenabled()


def test_what_was_off_before_stays_off(quiet):
    gc.disable()
    with quiet:
        pass
    assert not gc.isenabled()


def test_threads_whose_times_overlap_never_leave_it_off(quiet):
    """If each thread restored the state that it saw, this would fail quickly.

    A thread would see the state that another one had turned off.
    """
    left_off = []

    def build() -> None:
        for _ in range(10_000):
            with quiet:
                pass

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            threads = [threading.Thread(target=build) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            left_off.append(not gc.isenabled())
            gc.enable()
    finally:
        sys.setswitchinterval(before)
    assert left_off == [False] * 20
