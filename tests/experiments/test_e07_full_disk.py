"""E7: the disk becomes full at random points. No acknowledged write is lost, reads continue, and writes resume without a restart."""

import random
from contextlib import closing

from environment import PASSWORD, api_for
from factories import Visitor, csrf_token, model_values
from flask import Response
from sqlalchemy import event, func, select

from webapp.config.sqlite_driver import sqlite
from webapp.extensions import db
from webapp.models import Model, UserSession


class Limit:
    """A limit on the database's pages for connections of this process, which is how SQLite simulates a full disk."""

    def __init__(self, path) -> None:
        with closing(sqlite.connect(path)) as connection:
            self.present = connection.execute("PRAGMA page_count").fetchone()[0]
        self.pages = 0
        event.listen(db.engine, "checkout", self.apply)

    def apply(self, connection, *_) -> None:
        connection.execute(f"PRAGMA max_page_count = {self.pages or 2**30}")

    def close(self) -> None:
        event.remove(db.engine, "checkout", self.apply)


def add(api, name: str):
    return api.post("/admin/models", model_values(model_id=name, description="x" * 4_000))


def filled_again_and_again(app, settings, points: int, adding=add) -> tuple[list[str], int]:
    """Fill the disk at random points. Return the acknowledged models and the number of rejected writes."""
    api = api_for(app, "registry:read", "registry:write")
    limit, rng = Limit(settings.sqlite_path), random.Random(3)
    acknowledged, refused = [], 0
    try:
        for point in range(points):
            with closing(sqlite.connect(settings.sqlite_path)) as connection:
                limit.pages = connection.execute("PRAGMA page_count").fetchone()[0] + rng.randrange(0, 12)
            for number in range(25):
                response = adding(api, f"m-{point}-{number}")
                if response.status_code == 201:
                    acknowledged.append(f"m-{point}-{number}")
                    continue
                assert (response.status_code, "Retry-After" in response.headers) == (503, True)
                refused += 1
                break
            assert api.get("/models/openai/gpt-4o").status_code == 200
            limit.pages = 0
            assert add(api, f"after-{point}").status_code == 201  # Writes resume without a restart.
            acknowledged.append(f"after-{point}")
    finally:
        limit.close()
    return acknowledged, refused


def lost(acknowledged: list[str]) -> set[str]:
    return set(acknowledged) - set(db.session.execute(select(Model.model_id)).scalars())


def test_e7_a_full_disk_refuses_writes_in_words_and_loses_nothing(app, settings, scale, report):
    points = scale(8, 200)
    acknowledged, refused = filled_again_and_again(app, settings, points)
    with closing(sqlite.connect(settings.sqlite_path)) as connection:
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    report(f"{points} points: {refused} writes refused with 503, {len(acknowledged)} acknowledged, {len(lost(acknowledged))} lost")
    assert refused
    assert (lost(acknowledged), integrity) == (set(), "ok")


def test_e7_control_a_desk_that_acknowledges_before_it_stores_loses(app, settings, report):
    def hasty(api, name: str):
        add(api, name)  # The result is ignored.
        return Response(status=201)

    acknowledged, _ = filled_again_and_again(app, settings, 2, hasty)
    report(f"{len(acknowledged)} acknowledged, {len(lost(acknowledged))} lost")
    assert lost(acknowledged)


def test_e7_signing_in_fails_closed_while_the_disk_is_full_and_works_again_after(app, settings):
    """A session that was not stored does not exist, so no cookie grants access. Open sessions can still read."""
    ann, limit = Visitor(app, "ann@example.com", PASSWORD), Limit(settings.sqlite_path)
    limit.pages = 1  # SQLite raises this to its size at that time, so the file cannot grow.
    try:
        statuses = []
        while 503 not in statuses:
            client, sessions = app.test_client(), count(UserSession)
            response = sign_in(client)
            statuses.append(response.status_code)
            assert len(statuses) < 300, "the free space inside the pages is never used up"
        assert set(statuses) <= {302, 503}
        assert (count(UserSession), "Retry-After" in response.headers) == (sessions, True)
        assert client.get("/admin/").headers["Location"].startswith("/login")
        assert ann.get("/admin/model/").status_code == 200
        limit.pages = 0
        assert sign_in(client).status_code == 302
        assert client.get("/admin/").status_code == 200
    finally:
        limit.close()


def sign_in(client):
    form = {"csrf_token": csrf_token(client.get("/login").text), "email": "ann@example.com", "password": PASSWORD}
    return client.post("/login", data=form)


def count(table) -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(table)).scalar_one()
