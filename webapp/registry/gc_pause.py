"""Python's search for garbage, and when it would only be in the way."""

import gc
import threading


class GcPause:
    """A snapshot is a hundred thousand new objects that all stay. Looking for garbage among them again and again doubles the time.

    Several threads may be in it at once: the last one out turns collecting on again. If each put back what it had found, two whose times
    overlap could leave it off for good, and a worker would grow until it is killed.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._was_on = threading.Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._was_on:
                gc.enable()


gc_pause = GcPause()
