"""Rate limits for repeated log messages."""

import threading
import time
from collections.abc import Callable

MAX_TRACKED = 1_000


class OncePerProcess:
    """Allows one message per key in this process, for at most `MAX_TRACKED` keys."""

    def __init__(self) -> None:
        self._logged: set[object] = set()

    def should_log(self, key: object) -> bool:
        if key in self._logged or len(self._logged) >= MAX_TRACKED:
            return False
        self._logged.add(key)
        return True


class RateLimitedLog:
    """Rate-limits a repeated log message. `interval` is in seconds."""

    def __init__(self, interval: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = interval, clock
        self._lock = threading.Lock()
        self._next: float | None = None

    def should_log(self) -> bool:
        """Return whether to log now. True also starts the next interval, so the caller must log."""
        with self._lock:
            now = self._clock()
            if self._next is not None and now < self._next:
                return False
            self._next = now + self._every
            return True
