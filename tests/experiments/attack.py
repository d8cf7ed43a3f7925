"""What E9 attacks with: requests as bytes, one connection, and a judge who looks at each answer and at the database behind it."""

import contextlib
import hashlib
import http.client
import re
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from serving import Serving

from webapp.services.accounts import sign_ins
from webapp.services.audit import denied_requests

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
# Guesses are counted although they are refused, and processes say every second that they live. Where the trail ends goes by its lines.
NOT_OURS = ("login_attempts", "registry_processes", "sqlite_sequence", "audit_state")
# Lines about refusals themselves; all others are about changes.
OF_REFUSALS = (denied_requests.ACTION, sign_ins.ATTEMPTS_EXHAUSTED)
SEEN = ("last_seen_at", "last_login_at", "last_used_at")
PATIENCE_S = 10.0
TRACES = (b"Traceback (most recent call last)", b"sqlalchemy.", b"werkzeug.", b"site-packages", b"sqlite3.")


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.target[:200]} {dict(self.headers)!s:.200} {(self.body or b'')[:200]!r} {self.note}"

    def raw(self, host: str, more: Mapping[str, str]) -> bytes:
        headers = {"Host": host} | dict(more) | dict(self.headers)
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
    """One connection, opened again when the other side has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None

    def ask(self, data: bytes, method: str) -> Answer:
        began = time.perf_counter()
        kept = self._socket is not None
        try:
            answer = self._once(data, method)
        except (OSError, http.client.HTTPException) as error:
            if not kept or isinstance(error, TimeoutError):
                raise
            began = time.perf_counter()  # What was kept open had been closed meanwhile.
            answer = self._once(data, method)
        answer.seconds = time.perf_counter() - began
        return answer

    def _once(self, data: bytes, method: str) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        try:
            # What is refused before it was sent whole may have its answer all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._socket.sendall(data)
            found = http.client.HTTPResponse(self._socket, method=method)
            found.begin()
            answer = Answer(found.status, found.getheaders(), found.read(), 0)
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if found.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Witness:
    """Looks at the database from outside. `moved` costs microseconds: it asks whether anybody has committed anything."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        self._version = self._now()
        self._columns = self._read_columns()

    def _now(self) -> int:
        return int(self._file.execute("PRAGMA data_version").fetchone()[0])

    def moved(self) -> bool:
        before, self._version = self._version, self._now()
        return self._version != before

    def _read_columns(self) -> dict[str, str]:
        tables = [name for (name,) in self._file.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name not in NOT_OURS]
        found = {}
        for table in tables:
            names = [row[1] for row in self._file.execute(f"PRAGMA table_info({table})") if row[1] not in SEEN]
            found[table] = ", ".join(f'"{name}"' for name in names)
        return found

    def content(self) -> dict[str, str]:
        """What each table holds, but for when somebody was seen last. The trail only grows (E16), so counting it is enough."""
        lines = f"SELECT count(*) FROM audit_events WHERE action NOT IN {OF_REFUSALS}"
        found = {}
        for table, columns in self._columns.items():
            question = f"SELECT {columns} FROM {table} ORDER BY 1" if table != "audit_events" else lines
            found[table] = hashlib.sha256(repr(self._file.execute(question).fetchall()).encode()).hexdigest()
        return found

    def close(self) -> None:
        self._file.close()


class Judge:
    """Sends requests one after the other and keeps what must not be."""

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

    def send(self, request: Request, more: Mapping[str, str] | None = None) -> Answer | None:
        """The answer, or None if the other side hung up without one, which is a refusal too."""
        if self._content is None or self.witness.moved():
            self._content = self.witness.content()
            self.witness.moved()
        try:
            answer = self.wire.ask(request.raw(self.host, more or {}), request.method)
        except (OSError, http.client.HTTPException) as error:
            self.statuses[0] += 1
            if isinstance(error, TimeoutError):
                self.faults.append(f"no answer: {request}")
            answer = None
        else:
            self._judge(request, answer)
        self._unchanged(request, answer)
        return answer

    def _judge(self, request: Request, answer: Answer) -> None:
        self.statuses[answer.status] += 1
        self.seconds.append(answer.seconds)
        if answer.status >= 500 and not documented(request, answer) and "may be 501" not in request.note:
            self.faults.append(f"{answer.status}: {request}")
        if not same_site(answer.header("Location"), self.host):
            self.faults.append(f"leads to {answer.header('Location')[:60]}: {request}")
        shown = answer.body + "\n".join(f"{name}: {value}" for name, value in answer.headers if name != "Set-Cookie").encode()
        self.faults += [f"{trace!r} in the answer to {request}" for trace in TRACES if trace in answer.body]
        self.faults += [f"canary {number} in the answer to {request}" for number, canary in enumerate(self.canaries) if canary in shown]

    def _unchanged(self, request: Request, answer: Answer | None) -> None:
        refusal = answer is None or answer.status >= 400
        self.refused += refusal
        if not refusal and request.method not in SAFE:
            return
        if self.witness.moved():
            content = self.witness.content()
            self.witness.moved()
            changed = sorted(table for table in content if content[table] != self._content.get(table))
            if changed:
                self.faults.append(f"{answer.status if answer else 'a refusal'} and yet {changed} changed: {request}")
            self._content = content

    def close(self) -> None:
        self.wire.close()
        self.witness.close()

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))]

    def faults_of_log(self) -> list[str]:
        text = self.served.log.read_bytes()
        found = [f"canary {number} in the log" for number, canary in enumerate(self.canaries) if canary in text]
        return found + [
            f"in the log: {line}" for line in re.findall(r"(?m)^.*(?:Traceback|Error:|error that nobody).*$", text.decode())[:5]
        ]


def documented(request: Request, answer: Answer) -> bool:
    """503 with a time to wait: locked keys, a busy or absent database. 502 where a vendor is asked on the spot, and does not answer."""
    if answer.status == 502:
        return re.fullmatch(r"/admin/provider/\d+/discover", request.target.partition("?")[0]) is not None
    return answer.status == 503 and bool(answer.header("Retry-After"))


def same_site(location: str, host: str) -> bool:
    parts = urlsplit(location.replace("\\", "/"))
    return parts.scheme in ("", "http") and parts.netloc in ("", host)


def resident(served: Serving) -> int:
    return sum(worker.memory_info().rss for worker in served.workers())


def fields_of(html: str) -> Iterator[tuple[str, str, list[str]]]:
    """Each form of a page: its method, its address, the names of its fields."""
    for attributes, content in re.findall(r"<form([^>]*)>(.*?)</form>", html, re.DOTALL):
        method = re.search(r'method="?(\w+)', attributes)
        action = re.search(r'(?:action|hx-post)="([^"]*)"', attributes)
        names = re.findall(r'<(?:input|select|textarea|button)[^>]*\sname="([^"]+)"', content)
        yield (method[1] if method else "get").upper(), action[1] if action else "", list(dict.fromkeys(names))
