"""The main process: starts the child processes, restarts those that end, and ends them all on a signal."""

import contextlib
import logging
import multiprocessing
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess

Beat = Callable[[], bool]
TICK_S = 1.0  # A child that ends is started again with the next tick.
MAX_SILENT_TICKS = 30  # A child that is silent for so long is blocked, for example by a loop in C code.
FINISH_S = 60.0  # How long children can take to finish what is under way.
SAME_SIGNAL_S = 1.0  # make and the terminal can deliver one signal twice.
FORK = multiprocessing.get_context("fork")  # The children share the memory of the loaded application.
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Child:
    """One child process. `run` gets a function that shows that the child is not blocked, and calls it every second once it serves.

    The function returns whether the main process still runs. If not, `run` ends.
    """

    name: str
    run: Callable[[Beat], None]
    process: BaseProcess | None = None
    is_ready: bool = False
    silent_ticks: int = 0


class Supervisor:
    """Runs child processes until SIGTERM or SIGINT. A second signal ends them at once."""

    def __init__(self, children: Sequence[Child], on_ready: Callable[[], None]) -> None:
        self._children, self._on_ready, self._announced = children, on_ready, False
        self._selector = selectors.DefaultSelector()
        self._signals: list[float] = []

    def run(self) -> None:
        self._listen_to_signals()
        while not self._signals:
            for child in self._children:
                self._look_after(child)
            tick = time.monotonic() + TICK_S
            while not self._signals and (left := tick - time.monotonic()) > 0:
                self._handle_events(left)
        self._end()

    def _listen_to_signals(self) -> None:
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.detach())
        self._selector.register(woken, selectors.EVENT_READ, partial(woken.recv, 100))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        now = time.monotonic()
        if not self._signals or now > self._signals[-1] + SAME_SIGNAL_S:
            self._signals.append(now)

    def _handle_events(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            key.data()

    def _look_after(self, child: Child) -> None:
        """Start the child if it does not run, and end it if it is blocked."""
        if child.process is None:
            self._start(child)
            return
        child.silent_ticks += child.is_ready
        if child.silent_ticks > MAX_SILENT_TICKS:
            log.error("%s was blocked for %s seconds and is ended", _describe(child), MAX_SILENT_TICKS)
            child.process.kill()
            child.silent_ticks = 0

    def _start(self, child: Child) -> None:
        pulse, sender = os.pipe()
        child.is_ready, child.silent_ticks = False, 0
        child.process = FORK.Process(target=_run_child, args=(child.run, sender, os.getpid()), name=child.name)
        child.process.start()
        os.close(sender)
        self._selector.register(pulse, selectors.EVENT_READ, partial(self._on_pulse, child, pulse))

    def _on_pulse(self, child: Child, pulse: int) -> None:
        """Note a beat, or the end of the child, which closes the pipe."""
        if not os.read(pulse, 100):
            self._selector.unregister(pulse)
            os.close(pulse)
            self._on_end(child)
            return
        child.is_ready, child.silent_ticks = True, 0
        if not self._announced and all(candidate.is_ready for candidate in self._children):
            self._announced = True
            self._on_ready()

    def _on_end(self, child: Child) -> None:
        if child.process is not None:
            child.process.join()
            if not self._signals:
                log.error("%s ended (%s) and is started again", _describe(child), _reason(child.process.exitcode))
            child.process = None

    def _end(self) -> None:
        """Let the children finish. Those that take too long are ended, and all of them at a second signal."""
        deadline = time.monotonic() + FINISH_S
        for process in self._processes():
            process.terminate()
        while self._processes() and len(self._signals) == 1 and (left := deadline - time.monotonic()) > 0:
            self._handle_events(left)
        for process in self._processes():
            log.warning("%s is ended with what was under way", process.name)
            process.kill()
            process.join()

    def _processes(self) -> list[BaseProcess]:
        return [child.process for child in self._children if child.process is not None]


def _run_child(run: Callable[[Beat], None], sender: int, main_process: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes. The supervisor decides.
    os.set_blocking(sender, False)

    def beat() -> bool:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(sender, b".")
        return os.getppid() == main_process

    run(beat)


def _describe(child: Child) -> str:
    return f"{child.name} (process {child.process.pid if child.process else None})"


def _reason(exit_code: int | None) -> str:
    return signal.Signals(-exit_code).name if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
