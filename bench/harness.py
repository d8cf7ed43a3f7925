"""Timing and reporting: interleaved rounds, medians and CPU time, without garbage collection. Standard library only."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

# Runs an operation the given number of times and returns the CPU seconds.
Subject = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. `met` is None for rows that have no goal or were skipped."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


def skipped(what: str, reason: str, goal: str = "") -> Row:
    return Row(what, f"skipped: {reason}", goal=goal)


@dataclass(frozen=True, slots=True)
class Pace:
    """Effort of a measurement: rounds, and seconds per subject and round."""

    rounds: int
    seconds: float


QUICK, FULL = Pace(5, 0.002), Pace(41, 0.01)


def local(function: Callable[[], object]) -> Subject:
    """Return a subject that calls a function in this process."""

    def run(count: int) -> float:
        calls = range(count)
        start = time.process_time()
        for _ in calls:
            function()
        return time.process_time() - start

    return run


@contextmanager
def without_collecting() -> Iterator[None]:
    """Disable garbage collection, which would slow down an arbitrary subject."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def medians(subjects: Mapping[str, Subject], pace: Pace) -> dict[str, float]:
    """Return the median seconds per call. All subjects run in every round, so that noise of the machine affects them equally."""
    with without_collecting():
        counts = {name: _number(run, pace) for name, run in subjects.items()}
        rounds = [{name: run(counts[name]) / counts[name] for name, run in subjects.items()} for _ in range(pace.rounds)]
    return {name: statistics.median(timings[name] for timings in rounds) for name in subjects}


def _number(run: Subject, pace: Pace) -> int:
    """Return the number of calls that fill the time. The search is also the warm-up."""
    count = 1
    while (seconds := run(count)) < pace.seconds / 4:
        count *= 4
    return max(1, round(count * pace.seconds / seconds))


def at_most(what: str, ours: float, peer: float, maximum: float, *, named: str) -> Row:
    """Return a row with the goal that ours takes at most `maximum` times as long as the peer."""
    ratio = ours / peer
    return Row(what, shown(ours), f"{shown(peer)} {named}", ratio, f"<= {maximum:g}x", ratio <= maximum)


def times_faster(what: str, ours: float, peer: float, minimum: float, *, named: str) -> Row:
    """Return a row with the goal that the peer takes at least `minimum` times as long as ours."""
    ratio = peer / ours
    return Row(what, shown(ours), f"{shown(peer)} {named}", ratio, f">= {minimum:g}x faster", ratio >= minimum)


def within(what: str, ours: float, limit: float, *, unit: str = "s") -> Row:
    """Return a row with the goal that ours is at most a fixed limit."""
    formatted = shown if unit == "s" else lambda value: f"{value:.0f} {unit}"
    return Row(what, formatted(ours), "", ours / limit, f"<= {formatted(limit)}", ours <= limit)


def shown(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.2f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
