"""A log line that is worth reading once a minute and not more often."""

import threading
import time
from collections.abc import Callable

MAX_TRACKED = 1_000


class OncePerProcess:
    """Says when to tell of something for the first time in this process."""

    def __init__(self) -> None:
        self._told: set[object] = set()

    def should_log(self, what: object) -> bool:
        if what in self._told or len(self._told) >= MAX_TRACKED:
            return False
        self._told.add(what)
        return True


class RateLimitedLog:
    """Says when to tell of a trouble that goes on: at once, then not again for a minute."""

    def __init__(self, interval: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = interval, clock
        self._lock = threading.Lock()
        self._next: float | None = None

    def should_log(self) -> bool:
        """Whether to tell now; whoever asks then tells."""
        with self._lock:
            now = self._clock()
            if self._next is not None and now < self._next:
                return False
            self._next = now + self._every
            return True
