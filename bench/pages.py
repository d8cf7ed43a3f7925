"""Benchmarks of the admin's model list: CPU time and queries of one page."""

from collections.abc import Iterator

from flask.testing import FlaskClient
from sqlalchemy import event

from bench.harness import Pace, Row, local, medians, skipped, within
from bench.world import EMAIL, PASSWORD, Desk, on_sqlite
from webapp.extensions import db

PAGE = "/admin/model/?page_size=50"
GOAL, QUERIES, HUGE = 0.025, 6, 100_000


def rows(pace: Pace, instance: Desk, *, huge: bool) -> Iterator[Row]:
    client = _signed_in(instance)
    if client is None:
        yield skipped("model list page, 50 rows of 3,000", "the page is not there yet", "<= 25.0 ms")
        return
    seconds = medians({"page": local(lambda: client.get(PAGE))}, pace)["page"]
    yield within("model list page, 50 rows of 3,000, CPU", seconds, GOAL)
    yield within("model list page, queries", _queries(instance, client), QUERIES, unit="queries")
    if huge:
        with on_sqlite(HUGE) as huge_instance:
            huge_client = _signed_in(huge_instance)
            assert huge_client
            huge_seconds = medians({"page": local(lambda: huge_client.get(PAGE))}, Pace(max(3, pace.rounds // 4), pace.seconds))["page"]
        yield Row(
            "the same of 100,000", f"{huge_seconds * 1e3:.1f} ms", "of 3,000", huge_seconds / seconds, "<= 2x", huge_seconds <= 2 * seconds
        )


def _signed_in(instance: Desk) -> FlaskClient | None:
    """Return a signed-in client, or None if the page does not exist."""
    app = instance.app
    app.config["WTF_CSRF_ENABLED"] = False  # Only for the sign-in; reading requires no token.
    client = app.test_client()
    client.post("/login", data={"email": EMAIL, "password": PASSWORD})
    return client if client.get(PAGE).status_code == 200 else None


def _queries(instance: Desk, client: FlaskClient) -> int:
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    with instance.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    client.get(PAGE)
    event.remove(engine, "before_cursor_execute", note)
    return sum(statement.lstrip().upper().startswith("SELECT") for statement in statements)
