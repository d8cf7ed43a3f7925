"""Limit on concurrent calls to providers. A call can take minutes, and the other threads must stay free for other requests."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from webapp.domain.shared.errors import TooManyConcurrentCalls


class CallLimiter:
    """Allows half of the process's threads to wait for providers.

    One caller can use all slots but one, so a single caller cannot starve the others.
    """

    def __init__(self, threads: int) -> None:
        self.max_calls = max(1, threads // 2)
        self.max_calls_per_caller = max(1, self.max_calls - 1)
        self._lock = threading.Lock()
        self._active_calls: Counter[str] = Counter()

    @contextmanager
    def acquire(self, caller: str) -> Iterator[None]:
        """Hold a slot for the block. Raises `TooManyConcurrentCalls` immediately, because waiting for a slot would also occupy a thread."""
        with self._lock:
            if self._active_calls[caller] >= self.max_calls_per_caller:
                raise TooManyConcurrentCalls(
                    f"{self.max_calls_per_caller} calls of yours wait for providers already. Send this one again in a few seconds."
                )
            if self._active_calls.total() >= self.max_calls:
                raise TooManyConcurrentCalls(f"{self.max_calls} calls wait for providers already. Send this one again in a few seconds.")
            self._active_calls[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._active_calls[caller] -= 1
                if not self._active_calls[caller]:
                    del self._active_calls[caller]
