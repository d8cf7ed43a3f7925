"""How long another worker goes on with the old state after a change was committed."""

import http.client
import statistics
import time
from urllib.parse import urlsplit

from bench.harness import Row
from bench.servers import Server, gunicorn, wait_for
from bench.world import REF, Desk, environment_of
from webapp.services import state
from webapp.web.transaction import writing

P99, MOST = 0.6, 1.0
POLL = 0.25


def row(desk: Desk, *, changes: int) -> Row:
    """This process commits; a server beside it is asked until it answers with the new revision."""
    with gunicorn("wsgi:app", "gunicorn.conf.py", environment_of(desk.settings), workers=1) as server:
        wait_for(f"{server.url}/api/v1/models/{REF}", desk.token)
        waits = sorted(_wait(desk, server, pause=0.5 + POLL * number / changes) for number in range(changes))
    p99 = waits[min(len(waits) - 1, round(0.99 * len(waits)) - 1)]
    ours = f"p99 {p99 * 1e3:.0f} ms, max {waits[-1] * 1e3:.0f} ms, median {statistics.median(waits) * 1e3:.0f} ms"
    return Row(
        "staleness of another worker after a commit", ours, "", p99 / P99, "p99 <= 600 ms, max 1 s", p99 <= P99 and waits[-1] <= MOST
    )


def _wait(desk: Desk, server: Server, *, pause: float) -> float:
    """The pauses are unequal, so that changes fall on every moment between two looks of the server."""
    time.sleep(pause)
    with desk.app.app_context():
        with writing(refresh=False) as session:
            revision = state.changing(session).revision
        committed = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    while _revision(connection, desk.token) < revision:
        time.sleep(0.005)
    waited = time.perf_counter() - committed
    connection.close()
    return waited


def _revision(connection: http.client.HTTPConnection, token: str) -> int:
    connection.request("GET", f"/api/v1/models/{REF}", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return int(answer.headers["Modeldesk-Revision"])
