"""The model list of the admin: CPU time and queries of one page."""

from collections.abc import Iterator

from flask.testing import FlaskClient
from sqlalchemy import event

from bench.harness import Pace, Row, local, medians, skipped, within
from bench.world import EMAIL, PASSWORD, Desk, on_sqlite
from webapp.extensions import db

PAGE = "/admin/model/?page_size=50"
GOAL, QUERIES, HUGE = 0.025, 6, 100_000


def rows(pace: Pace, desk: Desk, *, huge: bool) -> Iterator[Row]:
    client = _signed_in(desk)
    if client is None:
        yield skipped("model list page, 50 rows of 3,000", "the page is not there yet", "<= 25.0 ms")
        return
    seconds = medians({"page": local(lambda: client.get(PAGE))}, pace)["page"]
    yield within("model list page, 50 rows of 3,000, CPU", seconds, GOAL)
    yield within("model list page, queries", _queries(desk, client), QUERIES, unit="queries")
    if huge:
        with on_sqlite(HUGE) as larger:
            visitor = _signed_in(larger)
            assert visitor
            found = medians({"page": local(lambda: visitor.get(PAGE))}, Pace(max(3, pace.rounds // 4), pace.seconds))["page"]
        yield Row("the same of 100,000", f"{found * 1e3:.1f} ms", "of 3,000", found / seconds, "<= 2x", found <= 2 * seconds)


def _signed_in(desk: Desk) -> FlaskClient | None:
    """A browser that is signed in, or None where there is no such page."""
    app = desk.app
    app.config["WTF_CSRF_ENABLED"] = False  # Only to sign in; reading asks for no token.
    client = app.test_client()
    client.post("/login", data={"email": EMAIL, "password": PASSWORD})
    return client if client.get(PAGE).status_code == 200 else None


def _queries(desk: Desk, client: FlaskClient) -> int:
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    with desk.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    client.get(PAGE)
    event.remove(engine, "before_cursor_execute", note)
    return sum(statement.lstrip().upper().startswith("SELECT") for statement in statements)
