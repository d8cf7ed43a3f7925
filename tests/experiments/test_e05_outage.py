"""E5: a day without the database. Responses are fast and name their source, the log stays readable, and data is fresh again afterwards."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from environment import postgresql_server, prepared, settings_for
from factories import model_values
from serving import serving

READERS, A_SECOND = 4, 100
PATHS = ("/models/openai/gpt-4o", "/models?type=text", "/defaults", "/models/gpt-4o-mini")
WORKERS = 2


@contextmanager
def file_away(path) -> Iterator[None]:
    moved = path.with_suffix(".moved")
    path.rename(moved)
    yield
    moved.rename(path)


@contextmanager
def stopped(server) -> Iterator[None]:
    server.stop()
    yield
    server.ensure_postgres_running()


@dataclass
class Reads:
    statuses: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    sources: set = field(default_factory=set)
    unmarked: int = 0
    broken: int = 0

    def run(self, client, end: float) -> None:
        next_turn = time.monotonic()
        for number in range(1_000_000):
            next_turn += READERS / A_SECOND
            time.sleep(max(0.0, next_turn - time.monotonic()))
            start = time.monotonic()
            if start >= end:
                return
            try:
                response = client.ask("GET", PATHS[number % len(PATHS)])
            except OSError:
                self.broken += 1
                continue
            self.times.append(time.monotonic() - start)
            self.statuses.append(response.status)
            self.sources.add(response.headers.get("Modeldesk-Source"))
            self.unmarked += not ("Modeldesk-Source" in response.headers and "Modeldesk-As-Of" in response.headers)


def read_for(served, token: str, seconds: float) -> Reads:
    """Read a hundred times per second over several connections, and attempt a write once per second."""
    reads, end = Reads(), time.monotonic() + seconds
    clients = [served.client(token) for _ in range(READERS + 1)]
    threads = [threading.Thread(target=reads.run, args=(client, end)) for client in clients[1:]]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        assert clients[0].ask("POST", "/admin/models", model_values()).status == 503
        time.sleep(1)
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    return reads


def seconds_until_fresh(served, token: str) -> float:
    """Return the seconds until 30 new connections in a row, over all workers, get data from the database."""
    start, fresh, last = time.monotonic(), 0, 0.0
    while fresh < 30:
        client = served.client(token)
        fresh = fresh + 1 if client.ask("GET", "/defaults").headers["Modeldesk-Source"] == "database" else 0
        last = last if fresh else time.monotonic() - start
        client.close()
        assert time.monotonic() - start < 30
    return last


def lines_of(served) -> list[dict]:
    return [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]


def check_a_day(settings, folder, away, scale, report) -> None:
    seconds = scale(3, 90)
    with serving(settings, folder, workers=WORKERS, application="experiments.fast_clock_app:app", HURRY=str(seconds)) as served:
        token = served.token("registry:read", "registry:write")
        before = len(lines_of(served))
        with away:
            reads = read_for(served, token, seconds + 0.5)
            warnings = [line for line in lines_of(served)[before:] if line["level"] != "info"]
        delay = seconds_until_fresh(served, token)
    reads.times.sort()
    p99 = reads.times[int(0.99 * (len(reads.times) - 1))] * 1e3
    report(
        f"24 hours in {seconds} s: {len(reads.statuses)} reads, {sum(status >= 500 for status in reads.statuses)} 5xx, "
        f"{reads.broken} broken, p99 {p99:.1f} ms, {reads.unmarked} unmarked; {len(warnings)} log lines of {WORKERS} workers; "
        f"fresh after {delay:.2f} s"
    )
    assert (set(reads.statuses), reads.unmarked, reads.broken) == ({200}, 0, 0)
    assert "last-good" in reads.sources <= {"database", "last-good"}
    assert len(warnings) <= WORKERS * (1 + seconds // 60), warnings
    assert delay <= 2
    assert p99 <= scale(200, 20)  # The short form runs in parallel with other tests.


def test_e5_a_day_without_the_file_is_answered_for(settings, tmp_path, scale, report):
    check_a_day(settings, tmp_path, file_away(settings.sqlite_path), scale, report)


@pytest.mark.postgresql
def test_e5_a_day_without_postgresql_is_answered_for(tmp_path, scale, report):
    with postgresql_server() as server:
        settings = settings_for(server.get_uri().replace("postgresql://", "postgresql+psycopg://"), tmp_path / "instance")
        prepared(settings, seeded=True)
        check_a_day(settings, tmp_path, stopped(server), scale, report)


def test_e5_control_a_desk_that_asks_the_database_each_time_fails(settings, tmp_path, report):
    with serving(settings, tmp_path, workers=WORKERS, application="experiments.mutants.asks_the_database:app", HURRY="2") as served:
        token = served.token("registry:read", "registry:write")
        with file_away(settings.sqlite_path):
            reads = read_for(served, token, 2)
    failed = sum(status >= 500 for status in reads.statuses)
    report(f"without the snapshot: {failed} of {len(reads.statuses)} reads are 5xx")
    assert failed == len(reads.statuses) > 0
