"""A pause of Python's garbage collector while a snapshot is built."""

import gc
import threading


class GcPause:
    """Disables garbage collection while any thread is in the context. The last thread that leaves enables it again.

    A snapshot creates a hundred thousand objects that all stay. Searching them for garbage again and again doubles the time. Threads must
    not each restore the state that they saw. Two overlapping threads could then leave collection off for good, and a worker would grow
    until it is killed.
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
