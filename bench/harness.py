"""How things are timed and told: interleaved rounds, medians, CPU time, no garbage collection meanwhile. Standard library only."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

# Runs something that often and says how many CPU seconds that took.
Subject = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None for what is told without a goal, or was skipped."""

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
    """How thoroughly to measure: rounds, and seconds that each subject gets in a round."""

    rounds: int
    seconds: float


QUICK, FULL = Pace(5, 0.002), Pace(41, 0.01)


def local(function: Callable[[], object]) -> Subject:
    """A function of this process."""

    def run(number: int) -> float:
        repeat = range(number)
        start = time.process_time()
        for _ in repeat:
            function()
        return time.process_time() - start

    return run


@contextmanager
def without_collecting() -> Iterator[None]:
    """Collecting garbage would hit whoever's turn it is."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def medians(subjects: Mapping[str, Subject], pace: Pace) -> dict[str, float]:
    """Seconds a call. All subjects take their turns in every round, so that a noisy moment of the machine hits them alike."""
    with without_collecting():
        numbers = {name: _number(run, pace) for name, run in subjects.items()}
        rounds = [{name: run(numbers[name]) / numbers[name] for name, run in subjects.items()} for _ in range(pace.rounds)]
    return {name: statistics.median(found[name] for found in rounds) for name in subjects}


def _number(run: Subject, pace: Pace) -> int:
    """How many calls fill the time; finding out warms up."""
    number = 1
    while (taken := run(number)) < pace.seconds / 4:
        number *= 4
    return max(1, round(number * pace.seconds / taken))


def at_most(what: str, ours: float, peer: float, most: float, *, named: str) -> Row:
    """Ours must not take longer than so many times the peer."""
    ratio = ours / peer
    return Row(what, shown(ours), f"{shown(peer)} {named}", ratio, f"<= {most:g}x", ratio <= most)


def times_faster(what: str, ours: float, peer: float, least: float, *, named: str) -> Row:
    """The peer must take at least so many times as long as ours."""
    ratio = peer / ours
    return Row(what, shown(ours), f"{shown(peer)} {named}", ratio, f">= {least:g}x faster", ratio >= least)


def within(what: str, ours: float, limit: float, *, unit: str = "s") -> Row:
    """Ours must not be more than a fixed limit."""
    say = shown if unit == "s" else lambda value: f"{value:.0f} {unit}"
    return Row(what, say(ours), "", ours / limit, f"<= {say(limit)}", ours <= limit)


def shown(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.2f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
