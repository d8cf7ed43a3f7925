"""Benchmarks of snapshot builds from both databases, and a check that no calling thread builds a snapshot."""

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
        with on_postgresql(size) as instance:
            yield _build_row(f"{what} PostgreSQL", pace.rounds, instance)
    except (ImportError, OSError, RuntimeError) as error:
        yield skipped(f"{what} PostgreSQL", f"it cannot be started here ({type(error).__name__})", "<= 150.0 ms")
    yield _calling_thread_row(sqlite)


def _build_row(what: str, rounds: int, instance: Desk) -> Row:
    """Measure a refresh after a change: the minimum wall time of all rounds, because the database's work counts too.

    The row also shows the time for fetching the same rows, which tells a busy machine from a slow build.
    """
    with instance.app.app_context():
        container.registry()
        container.current().refresher.stop()  # It would disturb the measurement.
        registry = ModelRegistry(Watched(DatabaseSource(db.engine)), NoCopies())
        timings = [(_wall(registry.refresh), _wall(_fetch)) for _ in range(rounds)]
    ours, fetching = (min(column) for column in zip(*timings, strict=True))
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
    """A source that records the thread of each load."""

    def __init__(self, source: DatabaseSource) -> None:
        self._source = source
        self._revision = 0
        self.loads: list[int] = []

    def read_revision(self) -> RevisionMark:
        self._revision += 1  # Each call reports a change, so that the refresher builds continuously.
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


def _calling_thread_row(instance: Desk) -> Row:
    """Call the registry continuously while another thread builds snapshots."""
    with instance.app.app_context():
        watched = Watched(DatabaseSource(db.engine))
        registry = ModelRegistry(watched, NoCopies(), poll=0.05)
        refresher = Refresher(registry, NoReport(db.engine))
        refresher.ensure_running()
        earlier_loads = len(watched.loads)
        calls = 0
        deadline = time.monotonic() + 20
        while len(watched.loads) < earlier_loads + BUILDS and time.monotonic() < deadline:
            registry.get_model(REF)
            registry.calculate_cost(REF, usage=Usage(input=1_200, output=350))
            calls += 2
        refresher.stop()
    builds = watched.loads[earlier_loads:]
    own_builds = builds.count(threading.get_ident())
    ours = f"{own_builds} of {len(builds)} builds meanwhile ({calls:,} questions)"
    return Row("snapshot builds on a calling thread", ours, goal="none", met=own_builds == 0 and len(builds) >= BUILDS)
