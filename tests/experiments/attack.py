"""Tools of E9: requests as bytes, one connection, and a judge that checks each response and the database."""

import contextlib
import hashlib
import http.client
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from serving import Serving

from webapp.config.sqlite_driver import sqlite
from webapp.services.accounts import sign_ins
from webapp.services.audit import denied_requests

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
# Rejected guesses are counted, and processes report a heartbeat every second. The end of the audit log follows from its rows.
NOT_OURS = ("login_attempts", "registry_processes", "sqlite_sequence", "audit_state")
# Audit actions for denied requests. All other actions describe changes.
OF_REFUSALS = (denied_requests.ACTION, sign_ins.ATTEMPTS_EXHAUSTED)
SEEN = ("last_seen_at", "last_login_at", "last_used_at")
PATIENCE_S = 10.0
TRACES = (b"Traceback (most recent call last)", b"sqlalchemy.", b"werkzeug.", b"site-packages", b"sqlite3.")


@dataclass(frozen=True)
class Request:
    """One request as sent over the wire."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.target[:200]} {dict(self.headers)!s:.200} {(self.body or b'')[:200]!r} {self.note}"

    def raw(self, host: str, extra_headers: Mapping[str, str]) -> bytes:
        headers = {"Host": host} | dict(extra_headers) | dict(self.headers)
        if self.body is not None and not {"Content-Length", "Transfer-Encoding"} & headers.keys():
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + (self.body or b"")


def form(method: str, target: str, fields: Iterable[tuple[str, str]], **headers: str) -> Request:
    data = urlencode(list(fields), errors="surrogatepass").encode()
    return Request(method, target, {"Content-Type": "application/x-www-form-urlencoded"} | headers, data)


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Wire:
    """One connection, which is reopened after the server closes it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None

    def ask(self, data: bytes, method: str) -> Answer:
        start = time.perf_counter()
        reused = self._socket is not None
        try:
            response = self._once(data, method)
        except (OSError, http.client.HTTPException) as error:
            if not reused or isinstance(error, TimeoutError):
                raise
            start = time.perf_counter()  # The server had closed the reused connection.
            response = self._once(data, method)
        response.seconds = time.perf_counter() - start
        return response

    def _once(self, data: bytes, method: str) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        try:
            # The server can reject a request before it is sent completely, and its response still arrives.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._socket.sendall(data)
            http_response = http.client.HTTPResponse(self._socket, method=method)
            http_response.begin()
            response = Answer(http_response.status, http_response.getheaders(), http_response.read(), 0)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if http_response.will_close:
            self.close()
        return response

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Witness:
    """Observes the database from outside. `moved` reports whether any process has committed, and takes microseconds."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        self._version = self._now()
        self._columns = self._read_columns()

    def _now(self) -> int:
        return int(self._file.execute("PRAGMA data_version").fetchone()[0])

    def moved(self) -> bool:
        previous, self._version = self._version, self._now()
        return self._version != previous

    def _read_columns(self) -> dict[str, str]:
        tables = [name for (name,) in self._file.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name not in NOT_OURS]
        columns = {}
        for table in tables:
            names = [row[1] for row in self._file.execute(f"PRAGMA table_info({table})") if row[1] not in SEEN]
            columns[table] = ", ".join(f'"{name}"' for name in names)
        return columns

    def content(self) -> dict[str, str]:
        """Return a digest per table, without the last-seen columns. The audit log is append-only (E16), so its row count is enough."""
        events_query = f"SELECT count(*) FROM audit_events WHERE action NOT IN {OF_REFUSALS}"
        digests = {}
        for table, columns in self._columns.items():
            query = f"SELECT {columns} FROM {table} ORDER BY 1" if table != "audit_events" else events_query
            digests[table] = hashlib.sha256(repr(self._file.execute(query).fetchall()).encode()).hexdigest()
        return digests

    def close(self) -> None:
        self._file.close()


class Judge:
    """Sends requests in sequence and collects faults."""

    def __init__(self, served: Serving, canaries: Iterable[bytes]) -> None:
        assert served.settings.sqlite_path is not None
        self.served, self.canaries = served, list(canaries)
        self.wire, self.witness = Wire(served.port), Witness(served.settings.sqlite_path)
        self.host = f"127.0.0.1:{served.port}"
        self.faults: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.refused = 0
        self._content: dict[str, str] | None = None

    def send(self, request: Request, extra_headers: Mapping[str, str] | None = None) -> Answer | None:
        """Return the response, or None if the server closed the connection without one, which also counts as a refusal."""
        if self._content is None or self.witness.moved():
            self._content = self.witness.content()
            self.witness.moved()
        try:
            response = self.wire.ask(request.raw(self.host, extra_headers or {}), request.method)
        except (OSError, http.client.HTTPException) as error:
            self.statuses[0] += 1
            if isinstance(error, TimeoutError):
                self.faults.append(f"no answer: {request}")
            response = None
        else:
            self._judge(request, response)
        self._unchanged(request, response)
        return response

    def _judge(self, request: Request, response: Answer) -> None:
        self.statuses[response.status] += 1
        self.seconds.append(response.seconds)
        if response.status >= 500 and not documented(request, response) and "may be 501" not in request.note:
            self.faults.append(f"{response.status}: {request}")
        if not same_site(response.header("Location"), self.host):
            self.faults.append(f"leads to {response.header('Location')[:60]}: {request}")
        visible = response.body + "\n".join(f"{name}: {value}" for name, value in response.headers if name.lower() != "set-cookie").encode()
        self.faults += [f"{trace!r} in the answer to {request}" for trace in TRACES if trace in response.body]
        self.faults += [f"canary {index} in the answer to {request}" for index, canary in enumerate(self.canaries) if canary in visible]

    def _unchanged(self, request: Request, response: Answer | None) -> None:
        refusal = response is None or response.status >= 400
        self.refused += refusal
        if not refusal and request.method not in SAFE:
            return
        if self.witness.moved():
            content = self.witness.content()
            self.witness.moved()
            changed = sorted(table for table in content if content[table] != self._content.get(table))
            if changed:
                self.faults.append(f"{response.status if response else 'a refusal'} and yet {changed} changed: {request}")
            self._content = content

    def close(self) -> None:
        self.wire.close()
        self.witness.close()

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))]

    def faults_of_log(self) -> list[str]:
        text = self.served.log.read_bytes()
        faults = [f"canary {index} in the log" for index, canary in enumerate(self.canaries) if canary in text]
        return faults + [
            f"in the log: {line}" for line in re.findall(r"(?m)^.*(?:Traceback|Error:|error that nobody).*$", text.decode())[:5]
        ]


def documented(request: Request, response: Answer) -> bool:
    """Whether a server error is documented.

    503 with `Retry-After` means locked keys, or a busy or unreachable database. 502 means that a vendor did not respond to a direct call.
    """
    if response.status == 502:
        return re.fullmatch(r"/admin/provider/\d+/discover", request.target.partition("?")[0]) is not None
    return response.status == 503 and bool(response.header("Retry-After"))


def same_site(location: str, host: str) -> bool:
    parts = urlsplit(location.replace("\\", "/"))
    return parts.scheme in ("", "http") and parts.netloc in ("", host)


def resident(served: Serving) -> int:
    return sum(worker.memory_info().rss for worker in served.workers())


def fields_of(html: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each form of a page: its method, its URL and the names of its fields."""
    for attributes, content in re.findall(r"<form([^>]*)>(.*?)</form>", html, re.DOTALL):
        method = re.search(r'method="?(\w+)', attributes)
        action = re.search(r'(?:action|hx-post)="([^"]*)"', attributes)
        names = re.findall(r'<(?:input|select|textarea|button)[^>]*\sname="([^"]+)"', content)
        yield (method[1] if method else "get").upper(), action[1] if action else "", list(dict.fromkeys(names))
