"""Benchmark of staleness: how long another worker uses the old snapshot after a commit."""

import statistics
import time

from bench.harness import Row
from bench.servers import ask, modeldesk, wait_for
from bench.world import REF, Desk, environment_of
from webapp.registry import revision as state
from webapp.runtime.transaction import writing

P99, MOST = 0.6, 1.0
POLL = 0.25


def row(instance: Desk, *, changes: int) -> Row:
    """Commit in this process, and poll a separate server until it responds with the new revision."""
    with modeldesk(environment_of(instance.settings), workers=1) as server:
        url = f"{server.url}/api/v1/models/{REF}"
        wait_for(url, instance.token)
        waits = sorted(_wait(instance, url, pause=0.5 + POLL * index / changes) for index in range(changes))
    p99 = waits[min(len(waits) - 1, round(0.99 * len(waits)) - 1)]
    ours = f"p99 {p99 * 1e3:.0f} ms, max {waits[-1] * 1e3:.0f} ms, median {statistics.median(waits) * 1e3:.0f} ms"
    return Row(
        "staleness of another worker after a commit", ours, "", p99 / P99, "p99 <= 600 ms, max 1 s", p99 <= P99 and waits[-1] <= MOST
    )


def _wait(instance: Desk, url: str, *, pause: float) -> float:
    """Return the seconds until the server has the new revision. Pauses differ, so that commits cover the server's whole poll interval."""
    time.sleep(pause)
    with instance.app.app_context():
        with writing(refresh=False) as session:
            revision = state.bump(session).revision
        committed = time.perf_counter()
    while int(ask(url, instance.token)[1]["Modeldesk-Revision"]) < revision:
        time.sleep(0.005)
    return time.perf_counter() - committed
