"""The desk of E9: the whole product, in a process that cannot send a packet off this machine. What tries to is refused and written down."""

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
        print(OUTSIDE, event, file=sys.stderr, flush=True)  # noqa: T201 # for the test that reads the log
        raise ConnectionRefusedError(f"{OUTSIDE}: {event}")


sys.addaudithook(confine)

from webapp.app import create_app  # noqa: E402 # nothing of the product runs before the hook
from webapp.config.loading import load  # noqa: E402 # likewise

app = create_app(load(os.environ))
