"""How many requests may wait for providers at once. A provider may take minutes; the other threads go on answering everybody else."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from webapp.domain.shared.errors import TooManyConcurrentCalls


class CallLimiter:
    """Half of this process's threads may wait for providers, and nobody may hold the last of these turns but one who holds no other."""

    def __init__(self, threads: int) -> None:
        self.most = max(1, threads // 2)
        self.of_one = max(1, self.most - 1)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @contextmanager
    def turn(self, who: str) -> Iterator[None]:
        """Raises `TooManyAtOnce` at once: to wait for a turn would take a thread as well."""
        with self._lock:
            if self._held[who] >= self.of_one:
                raise TooManyConcurrentCalls(
                    f"{self.of_one} calls of yours wait for providers already. Send this one again in a few seconds."
                )
            if self._held.total() >= self.most:
                raise TooManyConcurrentCalls(f"{self.most} calls wait for providers already. Send this one again in a few seconds.")
            self._held[who] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[who] -= 1
                if not self._held[who]:
                    del self._held[who]
