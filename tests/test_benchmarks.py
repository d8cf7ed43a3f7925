"""Checks of the benchmarks, which are run rarely and by hand, so that they still work at the next run."""

import pytest

from bench.world import on_postgresql, on_sqlite


@pytest.mark.parametrize("engine", [on_sqlite, pytest.param(on_postgresql, marks=pytest.mark.postgresql)])
def test_the_desk_that_is_measured_answers_from_its_database(engine):
    with engine(30) as instance:
        client, headers = instance.app.test_client(), {"Authorization": f"Bearer {instance.token}"}
        body = client.get("/api/v1/models?limit=100", headers=headers).json
        assert (len(body["data"]), client.get("/readyz").json["source"]) == (30, "database")
