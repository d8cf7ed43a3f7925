"""E1: workers are killed while they write. Every acknowledged change is stored, and no change is stored in part."""

import http.client
import random
import signal
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any

import psutil
from environment import PASSWORD
from factories import csrf_token
from serving import Client, Serving, serving
from sqlalchemy import text
from sqlalchemy.orm import Session

from webapp.services.audit import audit_log

MODELS = ("openai/gpt-4o", "openai/gpt-4o-mini")


@dataclass
class Acknowledged:
    """The changes that the server acknowledged, and the number of requests without a response."""

    usage: list[str] = field(default_factory=list)
    edits: dict[int, list[tuple[int, bool]]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    unanswered: int = 0


def _ask(client: Client, acks: Acknowledged, *request, **headers) -> int | None:
    try:
        return client.ask(*request, **headers).status
    except (OSError, http.client.HTTPException):
        acks.unanswered += 1
        return None


def report_usage(client: Client, acks: Acknowledged, stop: threading.Event, name: str) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        key = f"{name}-{number}"
        body = {"model": random.choice(MODELS), "usage": {"input": number, "output": 1}}
        if _ask(client, acks, "POST", "/usage", body, Idempotency_Key=key) in (200, 201):
            acks.usage.append(key)


def edit(client: Client, acks: Acknowledged, stop: threading.Event, model_id: int) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        status = _ask(client, acks, "PATCH", f"/admin/models/{model_id}", {"description": f"edit {number}"})
        acks.edits.setdefault(model_id, []).append((number, status == 200))


def switch_default(client: Client, acks: Acknowledged, stop: threading.Event, ids: list[int]) -> None:
    while not stop.is_set():
        for model_id in ids:
            _ask(client, acks, "POST", f"/admin/models/{model_id}/set-default")


class Staff:
    """An admin's browser with a session that outlives the workers."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def sign_in(self) -> None:
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.sent("/login", email="ann@example.com", password=PASSWORD)

    def sent(self, path: str, **fields: str) -> str:
        """Submit a form and return the resulting page."""
        token = csrf_token(self.opener.open(self.root + path, timeout=30).read().decode())
        data = urllib.parse.urlencode({"csrf_token": token, **fields}).encode()
        return self.opener.open(self.root + path, data, timeout=30).read().decode()


def make_tokens(staff: Staff, acks: Acknowledged, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        try:
            page = staff.sent("/admin/token/new/", name=f"e1 {number}", scopes="registry:read", expires_days="30")
            if "mdk_" in page:
                acks.tokens.append(f"e1 {number}")
            else:  # The last authentication was ten minutes ago.
                staff.sign_in()
        except (OSError, http.client.HTTPException):
            acks.unanswered += 1


def sample_defaults(served: Serving, violations: list[int], stop: threading.Event) -> None:
    engine = served.engine()
    while not stop.is_set():
        with engine.connect() as connection:
            count = connection.execute(text("SELECT count(*) FROM models WHERE is_default AND type = 'text'")).scalar_one()
        if count != 1:
            violations.append(count)
        time.sleep(0.01)
    engine.dispose()


def closing(client: Client, job, *arguments) -> threading.Thread:
    """Return a thread that runs `job` with a client and closes the client afterwards."""

    def run() -> None:
        try:
            job(client, *arguments)
        finally:
            client.close()

    return threading.Thread(target=run)


@contextmanager
def writers(served: Serving, token: str, ids: list[int], acks: Acknowledged, violations: list[int]) -> Iterator[None]:
    stop, staff = threading.Event(), Staff(served.port)
    staff.sign_in()
    jobs = [(report_usage, "a"), (report_usage, "b"), (edit, ids[0]), (edit, ids[1]), (switch_default, ids)]
    threads = [closing(served.client(token), job, acks, stop, argument) for job, argument in jobs]
    threads.append(threading.Thread(target=make_tokens, args=(staff, acks, stop)))
    threads.append(threading.Thread(target=sample_defaults, args=(served, violations, stop)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kill_workers(served: Serving, kills: int, seed: int = 1) -> int:
    """Kill random workers at random times. Gunicorn replaces them."""
    rng = random.Random(seed)
    killed = 0
    while killed < kills:
        time.sleep(rng.uniform(0.02, 0.35))
        workers = served.workers()
        if not workers:
            continue
        if killed % 100 == 99:
            assert is_whole(served)  # Also check in the middle of the run.
        try:
            rng.choice(workers).send_signal(signal.SIGKILL)
            killed += 1
        except psutil.NoSuchProcess:
            continue
    return killed


def stored(served: Serving, query: str) -> set[Any]:
    """Return the values of a column, read on a separate connection."""
    engine = served.engine()
    with engine.connect() as connection:
        values = set(connection.execute(text(query)).scalars())
    engine.dispose()
    return values


def stored_keys(served: Serving) -> set[str]:
    return stored(served, "SELECT idempotency_key FROM usage_records")


def lost_edits(served: Serving, acks: Acknowledged) -> list[int]:
    """Return the models whose stored description is older than the last acknowledged one."""
    engine = served.engine()
    lost = []
    with engine.connect() as connection:
        for model_id, edits in acks.edits.items():
            description = connection.execute(text("SELECT description FROM models WHERE id = :id"), {"id": model_id}).scalar_one()
            last = max((number for number, acknowledged in edits if acknowledged), default=0)
            if last and int(description.removeprefix("edit ") or 0) < last:
                lost.append(model_id)
    engine.dispose()
    return lost


def is_whole(served: Serving) -> bool:
    engine = served.engine()
    with Session(engine) as session:
        intact = audit_log.get_first_break_or_none(session) is None
        if engine.dialect.name == "sqlite":
            intact = intact and session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    engine.dispose()
    return intact


def without_a_pair(served: Serving, before: tuple[int, int]) -> int:
    """Return the difference between changes and audit events.

    Each change of the writers increments the revision by one and writes one event.
    """
    revisions, events = (now - then for now, then in zip(changes(served), before, strict=True))
    return abs(revisions - events)


def changes(served: Serving) -> tuple[int, int]:
    """Return the revision, and the number of audit events for changes that increment it."""
    (revision,) = stored(served, "SELECT revision FROM registry_state")
    query = "SELECT count(*) FROM audit_events WHERE action LIKE 'registry:model:%' OR action LIKE 'accounts:token:%'"
    (count,) = stored(served, query)
    return revision, count


def test_e1_nothing_acknowledged_is_lost_when_workers_are_killed(served, scale, report):
    token = served.token("registry:read", "registry:write", "usage:write")
    client = served.client(token)
    ids = [client.ask("GET", f"/models/{ref}").json["id"] for ref in MODELS]
    client.close()
    acks, violations, before = Acknowledged(), [], changes(served)
    with writers(served, token, ids, acks, violations):
        kills = kill_workers(served, scale(12, 1_000))
    missing = set(acks.usage) - stored_keys(served) | set(acks.tokens) - stored(served, "SELECT name FROM api_tokens")
    report(
        f"{kills} kills, {len(acks.usage)} acknowledged reports, {sum(map(len, acks.edits.values()))} edits, {len(acks.tokens)} tokens, "
        f"{acks.unanswered} without an answer; {len(missing)} lost, {len(violations)} moments without exactly one default"
    )
    assert acks.usage
    assert acks.tokens or scale(True, False)  # Creating a token takes two requests, and the short form might end before that.
    assert acks.unanswered
    assert (missing, lost_edits(served, acks), violations, without_a_pair(served, before), is_whole(served)) == (set(), [], [], 0, True)


def test_e1_control_a_desk_that_acknowledges_before_it_stores_loses_reports(settings, tmp_path, scale, report):
    with serving(settings, tmp_path, workers=4, application="experiments.mutants.acknowledges_early:app") as served:
        token = served.token("usage:write")
        acks, stop = Acknowledged(), threading.Event()
        threads = [closing(served.client(token), report_usage, acks, stop, name) for name in "ab"]
        for thread in threads:
            thread.start()
        kill_workers(served, scale(6, 30))
        stop.set()
        for thread in threads:
            thread.join()
        time.sleep(1)
        lost = set(acks.usage) - stored_keys(served)
    report(f"{len(lost)} of {len(acks.usage)} lost, as it must be")
    assert lost
