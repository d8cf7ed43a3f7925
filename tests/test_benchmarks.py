"""The bench is run by hand and seldom: what it measures must not rot between two runs."""

import pytest

from bench.world import on_postgresql, on_sqlite


@pytest.mark.parametrize("engine", [on_sqlite, pytest.param(on_postgresql, marks=pytest.mark.postgresql)])
def test_the_desk_that_is_measured_answers_from_its_database(engine):
    with engine(30) as desk:
        client, headers = desk.app.test_client(), {"Authorization": f"Bearer {desk.token}"}
        answer = client.get("/api/v1/models?limit=100", headers=headers).json
        assert (len(answer["data"]), client.get("/readyz").json["source"]) == (30, "database")
