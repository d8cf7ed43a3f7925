"""E7: there is no space left at a random point. Nothing acknowledged is lost, reading goes on, and writing comes back by itself."""

import random
import sqlite3
from contextlib import closing

from factories import model_values, provider_values
from sqlalchemy import event, select
from world import api_for

from webapp.extensions import db
from webapp.models import Model
from webapp.web import current


class Limit:
    """How many pages a connection of this process may use: SQLite's own way of a disk that is full."""

    def __init__(self, path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            self.present = connection.execute("PRAGMA page_count").fetchone()[0]
        self.pages = 0
        event.listen(db.engine, "checkout", self.apply)

    def apply(self, connection, *_) -> None:
        connection.execute(f"PRAGMA max_page_count = {self.pages or 2**30}")

    def close(self) -> None:
        event.remove(db.engine, "checkout", self.apply)


def add(api, name: str):
    return api.post("/admin/models", model_values(model_id=name, description="x" * 4_000))


def test_e7_a_full_disk_refuses_writes_in_words_and_loses_nothing(app, settings, scale, report):
    api = api_for(app, "registry:read", "registry:write")
    limit, chance = Limit(settings.sqlite_path), random.Random(3)
    acknowledged, refused, points = [], 0, scale(8, 200)
    try:
        for point in range(points):
            with closing(sqlite3.connect(settings.sqlite_path)) as connection:
                limit.pages = connection.execute("PRAGMA page_count").fetchone()[0] + chance.randrange(0, 12)
            for number in range(25):
                answer = add(api, f"m-{point}-{number}")
                if answer.status_code == 201:
                    acknowledged.append(f"m-{point}-{number}")
                    continue
                assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
                refused += 1
                break
            assert api.get("/models/openai/gpt-4o").status_code == 200
            limit.pages = 0
            assert add(api, f"after-{point}").status_code == 201  # No restart is needed.
            acknowledged.append(f"after-{point}")
    finally:
        limit.close()
    stored = set(db.session.execute(select(Model.model_id)).scalars())
    with closing(sqlite3.connect(settings.sqlite_path)) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    report(f"{points} points: {refused} writes refused with 503, {len(acknowledged)} acknowledged, {len(set(acknowledged) - stored)} lost")
    assert refused
    assert (set(acknowledged) - stored, whole) == (set(), "ok")


def test_e7_signing_in_fails_closed_while_the_disk_is_full(app, settings):
    client = app.test_client()
    limit = Limit(settings.sqlite_path)
    page = client.get("/login")
    limit.pages = 1  # Not even the present content fits.
    try:
        from_page = page.text.split('name="csrf_token" value="')[1].split('"')[0]
        answer = client.post("/login", data={"csrf_token": from_page, "email": "ann@example.com", "password": "Quiet-Harbour-of-tests"})
        assert answer.status_code in (503, 302)
        assert current.registry().snapshot.models
    finally:
        limit.close()
    assert provider_values()
