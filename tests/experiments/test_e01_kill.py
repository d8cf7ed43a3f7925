"""E1: workers are killed in the middle of writing. What was acknowledged is there, and nothing is ever half done."""

import http.client
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
from serving import Client, Serving, serving
from sqlalchemy import text
from sqlalchemy.orm import Session

from webapp.services import audit

MODELS = ("openai/gpt-4o", "openai/gpt-4o-mini")


@dataclass
class Acknowledged:
    """What the desk said was stored, and what it was asked to store without an answer."""

    usage: list[str] = field(default_factory=list)
    edits: dict[int, list[tuple[int, bool]]] = field(default_factory=dict)
    unanswered: int = 0


def _ask(client: Client, done: Acknowledged, *question, **headers) -> int | None:
    try:
        return client.ask(*question, **headers).status
    except (OSError, http.client.HTTPException):
        done.unanswered += 1
        return None


def report_usage(client: Client, done: Acknowledged, stop: threading.Event, name: str) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        key = f"{name}-{number}"
        body = {"model": random.choice(MODELS), "usage": {"input": number, "output": 1}}
        if _ask(client, done, "POST", "/usage", body, Idempotency_Key=key) in (200, 201):
            done.usage.append(key)


def edit(client: Client, done: Acknowledged, stop: threading.Event, model_id: int) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        status = _ask(client, done, "PATCH", f"/admin/models/{model_id}", {"description": f"edit {number}"})
        done.edits.setdefault(model_id, []).append((number, status == 200))


def switch_default(client: Client, done: Acknowledged, stop: threading.Event, ids: list[int]) -> None:
    while not stop.is_set():
        for number in ids:
            _ask(client, done, "POST", f"/admin/models/{number}/set-default")


def sample_defaults(served: Serving, odd: list[int], stop: threading.Event) -> None:
    engine = served.engine()
    while not stop.is_set():
        with engine.connect() as connection:
            found = connection.execute(text("SELECT count(*) FROM models WHERE is_default AND type = 'text'")).scalar_one()
        if found != 1:
            odd.append(found)
        time.sleep(0.01)
    engine.dispose()


def closing(client: Client, job, *arguments) -> threading.Thread:
    """A thread that asks with a client of its own, and closes it."""

    def run() -> None:
        try:
            job(client, *arguments)
        finally:
            client.close()

    return threading.Thread(target=run)


@contextmanager
def writers(served: Serving, token: str, ids: list[int], done: Acknowledged, odd: list[int]) -> Iterator[None]:
    stop = threading.Event()
    work = [(report_usage, "a"), (report_usage, "b"), (edit, ids[0]), (edit, ids[1]), (switch_default, ids)]
    threads = [closing(served.client(token), job, done, stop, what) for job, what in work]
    threads.append(threading.Thread(target=sample_defaults, args=(served, odd, stop)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kill_workers(served: Serving, kills: int, seed: int = 1) -> int:
    """Kills random workers at random moments; gunicorn starts others in their place."""
    chance = random.Random(seed)
    done = 0
    while done < kills:
        time.sleep(chance.uniform(0.02, 0.35))
        workers = served.workers()
        if not workers:
            continue
        try:
            chance.choice(workers).send_signal(signal.SIGKILL)
            done += 1
        except psutil.NoSuchProcess:
            continue
    return done


def stored_keys(served: Serving) -> set[str]:
    engine = served.engine()
    with engine.connect() as connection:
        found = set(connection.execute(text("SELECT idempotency_key FROM usage_records")).scalars())
    engine.dispose()
    return found


def lost_edits(served: Serving, done: Acknowledged) -> list[int]:
    """Models whose stored description is older than the last acknowledged one."""
    engine = served.engine()
    lost = []
    with engine.connect() as connection:
        for model_id, edits in done.edits.items():
            stored = connection.execute(text("SELECT description FROM models WHERE id = :id"), {"id": model_id}).scalar_one()
            last = max((number for number, acknowledged in edits if acknowledged), default=0)
            if last and int(stored.removeprefix("edit ") or 0) < last:
                lost.append(model_id)
    engine.dispose()
    return lost


def is_whole(served: Serving) -> bool:
    engine = served.engine()
    with Session(engine) as session:
        whole = audit.first_break(session) is None
        if engine.dialect.name == "sqlite":
            whole = whole and session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
        orphans = "SELECT count(*) FROM audit_events WHERE target_kind = 'model' AND target_id NOT IN (SELECT id FROM models)"
        whole = whole and session.execute(text(orphans)).scalar_one() == 0
    engine.dispose()
    return whole


def test_e1_nothing_acknowledged_is_lost_when_workers_are_killed(served, scale, report):
    token = served.token("registry:read", "registry:write", "usage:write")
    client = served.client(token)
    ids = [client.ask("GET", f"/models/{ref}").json["id"] for ref in MODELS]
    client.close()
    done, odd = Acknowledged(), []
    with writers(served, token, ids, done, odd):
        kills = kill_workers(served, scale(12, 1_000))
    missing = set(done.usage) - stored_keys(served)
    report(
        f"{kills} kills, {len(done.usage)} acknowledged reports, {sum(map(len, done.edits.values()))} edits, {done.unanswered} without an "
        f"answer; {len(missing)} lost, {len(odd)} moments without exactly one default"
    )
    assert done.usage
    assert done.unanswered
    assert (missing, lost_edits(served, done), odd, is_whole(served)) == (set(), [], [], True)


def test_e1_control_a_desk_that_acknowledges_before_it_stores_loses_reports(settings, tmp_path, scale, report):
    with serving(settings, tmp_path, workers=4, application="experiments.early:app") as served:
        token = served.token("usage:write")
        done, stop = Acknowledged(), threading.Event()
        threads = [closing(served.client(token), report_usage, done, stop, name) for name in "ab"]
        for thread in threads:
            thread.start()
        kill_workers(served, scale(6, 30))
        stop.set()
        for thread in threads:
            thread.join()
        time.sleep(1)
        lost = set(done.usage) - stored_keys(served)
    report(f"{len(lost)} of {len(done.usage)} lost, as it must be")
    assert lost
