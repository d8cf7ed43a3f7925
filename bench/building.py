"""Turning rows into a snapshot, from either database; and that nobody who asks has to wait for it."""

import threading
import time
from collections.abc import Callable, Iterator

from bench.harness import Pace, Row, shown, skipped, within
from bench.world import REF, Desk, on_postgresql
from webapp.domain.catalog.entities import Catalog
from webapp.domain.pricing.usage import Usage
from webapp.extensions import db
from webapp.registry.loader import DatabaseSource, RevisionMark
from webapp.registry.refresher import ProcessReport, Refresher
from webapp.registry.registry import ModelRegistry
from webapp.runtime import container

GOAL = 0.150
BUILDS = 3
TABLES = ("providers", "models", "model_aliases", "prices", "price_rates")


def rows(pace: Pace, size: int, sqlite: Desk) -> Iterator[Row]:
    what = f"snapshot build, {size:,} models with prices, from"
    yield _build_row(f"{what} SQLite", pace.rounds, sqlite)
    try:
        with on_postgresql(size) as desk:
            yield _build_row(f"{what} PostgreSQL", pace.rounds, desk)
    except (ImportError, OSError, RuntimeError) as error:
        yield skipped(f"{what} PostgreSQL", f"it cannot be started here ({type(error).__name__})", "<= 150.0 ms")
    yield _calling_thread_row(sqlite)


def _build_row(what: str, rounds: int, desk: Desk) -> Row:
    """A refresh that finds a change: wall time, because the database's own work counts, too, and of the least disturbed round.

    Beside it stands the time that only fetching the same rows takes, so that a busy machine can be told from a slow build.
    """
    with desk.app.app_context():
        container.registry()
        container.current().refresher.stop()  # It would take turns with what is measured.
        registry = ModelRegistry(Watched(DatabaseSource(db.engine)), NoCopies())
        found = [(_wall(registry.refresh), _wall(_fetch)) for _ in range(rounds)]
    ours, fetching = (min(column) for column in zip(*found, strict=True))
    row = within(what, ours, GOAL)
    return Row(what, row.ours, f"{shown(fetching)} fetching the rows", row.ratio, row.goal, row.met)


def _fetch() -> None:
    with db.engine.connect() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall()


def _wall(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Watched:
    """A source that notes which threads load, and how often."""

    def __init__(self, source: DatabaseSource) -> None:
        self._source = source
        self._revision = 0
        self.loads: list[int] = []

    def read_revision(self) -> RevisionMark:
        self._revision += 1  # Every read_revision finds a change, so that the refresher builds without a pause.
        return RevisionMark("bench", self._revision)

    def load(self) -> Catalog:
        self.loads.append(threading.get_ident())
        return self._source.load()


class NoCopies:
    def save(self, *_: object) -> None:
        pass

    def load(self) -> None:
        return None


class NoReport(ProcessReport):
    def write(self, revision: int, source: str) -> None:
        pass


def _calling_thread_row(desk: Desk) -> Row:
    """Asks without a pause while another thread builds one snapshot after the other."""
    with desk.app.app_context():
        watched = Watched(DatabaseSource(db.engine))
        registry = ModelRegistry(watched, NoCopies(), poll=0.05)
        refresher = Refresher(registry, NoReport(db.engine))
        refresher.ensure_running()
        first = len(watched.loads)
        asked = 0
        end = time.monotonic() + 20
        while len(watched.loads) < first + BUILDS and time.monotonic() < end:
            registry.get_model(REF)
            registry.calculate_cost(REF, usage=Usage(input=1_200, output=350))
            asked += 2
        refresher.stop()
    builds = watched.loads[first:]
    mine = builds.count(threading.get_ident())
    ours = f"{mine} of {len(builds)} builds meanwhile ({asked:,} questions)"
    return Row("snapshot builds on a calling thread", ours, goal="none", met=mine == 0 and len(builds) >= BUILDS)
