"""The application for E9: the whole product, in a process that cannot send a packet off this machine. It refuses and logs attempts."""

import os
import sys
from typing import Any

ALLOWED = ("127.0.0.1", "::1", "localhost", "", None)
OUTSIDE = "PACKET REFUSED"


def confine(event: str, arguments: tuple[Any, ...]) -> None:
    host: object = ""
    if event == "socket.getaddrinfo":
        host = arguments[0].decode("idna", "replace") if isinstance(arguments[0], bytes) else arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if host not in ALLOWED:
        print(OUTSIDE, event, file=sys.stderr, flush=True)  # noqa: T201 # a test reads the log
        raise ConnectionRefusedError(f"{OUTSIDE}: {event}")


sys.addaudithook(confine)

from webapp.app import create_app  # noqa: E402 # the product must not run before the hook
from webapp.config.loading import load  # noqa: E402 # the product must not run before the hook

app = create_app(load(os.environ))
