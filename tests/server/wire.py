"""Raw requests to a real server whose application is `echo_app`, in front of Modeldesk."""

import json
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import settings_for
from serving import Serving, serving

HOST = b"Host: 127.0.0.1\r\n"
END = HOST + b"Connection: close\r\n"


@dataclass
class RawResponse:
    """One response. The names of headers are in lower case, and of several headers with one name the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def environ(self) -> dict[str, str]:
        """The WSGI environment that `echo_app` saw."""
        return self.json["environ"]


def start(templates: Mapping[bool, Path], folder: Path, **options: Any) -> AbstractContextManager[Serving]:
    """Return the context of a server with a database of its own."""
    (folder / "desk.sqlite3").write_bytes(templates[True].read_bytes())
    settings = settings_for(f"sqlite:///{folder / 'desk.sqlite3'}", folder / "instance")
    return serving(settings, folder, **{"workers": 1, "application": "server.echo_app:app", **options})


def connect(port: int, sent: bytes = b"", timeout: float = 30) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    line.sendall(sent)
    return line


def received(line: socket.socket) -> bytes:
    """Return everything until the server closes the connection."""
    with line:
        return b"".join(iter(lambda: line.recv(65_536), b""))


def exchange(port: int, sent: bytes) -> bytes:
    """Return all bytes that the server sends for these. The request must ask it to close the connection."""
    return received(connect(port, sent))


def ask(port: int, sent: bytes) -> RawResponse:
    """Return the only response to a request that asks to close the connection."""
    return parse(exchange(port, sent))


def parse(data: bytes) -> RawResponse:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return RawResponse(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


def statuses(line: socket.socket) -> tuple[int, ...]:
    """Return the statuses of all responses until the server closes the connection."""
    return tuple(int(part[:3]) for part in received(line).split(b"HTTP/1.1 ")[1:])
