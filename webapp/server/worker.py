"""One worker process: granian's server in an event loop, with the adapter to the WSGI application."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from webapp.runtime import container, descriptors
from webapp.server.adapter import MAX_HEAD_BYTES, Adapter
from webapp.server.supervisor import Beat

BACKLOG = 2_048  # Connections that wait to be accepted.
HEAD_TIMEOUT_MS, HURRIED_HEAD_TIMEOUT_MS = 10_000, 3_000  # Also the time that an idle connection stays open.
MAX_CONNECTIONS = 4_000
LINGER_S = 2.0  # How long clients can take to read their last responses when the worker ends.
# granian's own lines go through the handlers of the application, which write JSON and remove secrets.
LOG_CONFIG = {"loggers": {"_granian": {"handlers": [], "propagate": True}}}
log = logging.getLogger(__name__)


class EmbeddedServer(Server):
    """granian's server on a socket that already listens, which all workers share."""

    def __init__(self, adapter: Adapter, listener: socket.socket) -> None:
        few = descriptors.are_few()
        super().__init__(
            adapter,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backpressure=min(MAX_CONNECTIONS, descriptors.available()),
            http1_settings=HTTP1Settings(
                header_read_timeout=HURRIED_HEAD_TIMEOUT_MS if few else HEAD_TIMEOUT_MS, keep_alive=not few, max_buffer_size=MAX_HEAD_BYTES
            ),
            log_level=LogLevels.error,
            log_dictconfig=LOG_CONFIG,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        descriptor = os.dup(self._listener.fileno())  # granian closes it at the end.
        arguments = (descriptor, False, BACKLOG) if sys.platform == "linux" else (descriptor, False)
        self._shd = SocketHolder(*arguments)  # type: ignore[assignment] # granian declares it as None


def serve(application: Any, listener: socket.socket, threads: int, beat: Beat) -> None:
    """Serve until SIGTERM, or until `beat`, which is called every second, returns that the main process is gone."""
    with application.app_context():
        container.registry()  # Load the registry before the first request.
        if reason := container.vault().reason:
            logging.getLogger("webapp.start").warning("keys are locked: %s; everything that needs no key goes on", reason)
    asyncio.run(_serve(Adapter(application, threads), listener, beat))
    with application.app_context():
        container.current().refresher.retire()


async def _serve(adapter: Adapter, listener: socket.socket, beat: Beat) -> None:
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    server = EmbeddedServer(adapter, listener)
    serving = asyncio.create_task(server.serve())
    while beat() and not ending.is_set() and not serving.done():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), 1)
    server.stop()  # type: ignore[no-untyped-call] # granian does not declare it
    await adapter.finish()
    await asyncio.wait({serving}, timeout=LINGER_S)
    if serving.done() and (error := serving.exception()):
        log.error("granian failed: %s", type(error).__name__, exc_info=error)
