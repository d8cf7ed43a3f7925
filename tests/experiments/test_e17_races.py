"""E17: many clients make the same change at once. The result is one default, one price or one alias. Revoked tokens are rejected."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from factories import model_values, price_values
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

ONE_DEFAULT = "uq_models_one_default_per_type"


def at_once(served, token, jobs) -> list:
    """Run all jobs at the same time, each with its own client. Return their results."""
    results, gate = [], threading.Barrier(len(jobs))

    def run(job) -> None:
        client = served.client(token)
        try:
            gate.wait(10)
            results.append(job(client))
        finally:
            client.close()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(jobs)
    return results


def ids(served, token) -> list[int]:
    client = served.client(token)
    model_ids = [model["id"] for model in client.ask("GET", "/models?type=text&limit=8").json["data"]]
    client.close()
    return model_ids


def test_e17_t37_exactly_one_default_whatever_eight_at_once_ask_for(served, scale, report):
    token = served.token("registry:read", "registry:write")
    model_ids, violations, stop = ids(served, token), [], threading.Event()

    def sample() -> None:
        engine = served.engine()
        while not stop.is_set():
            with engine.connect() as connection:
                count = connection.execute(text("SELECT count(*) FROM models WHERE is_default AND type = 'text'")).scalar_one()
            if count != 1:
                violations.append(count)
            time.sleep(0.005)
        engine.dispose()

    sampler = threading.Thread(target=sample)
    sampler.start()
    rounds, statuses = scale(3, 1_250), []
    try:
        for _ in range(rounds):
            jobs = [
                lambda client, model_id=model_id: client.ask("POST", f"/admin/models/{model_id}/set-default").status
                for model_id in model_ids
            ]
            statuses += at_once(served, token, jobs)
    finally:
        stop.set()
        sampler.join()
    report(
        f"{len(statuses)} times set-default by 8 at once: {statuses.count(200)} done, {len(violations)} moments without exactly one default"
    )
    assert violations == []
    assert set(statuses) <= {200, 503}
    assert 200 in statuses


def careless(connection, model_id: int) -> None:
    """Move the default without the product's rules: clear the current default, then set another one."""
    connection.execute(text("UPDATE models SET is_default = false WHERE is_default AND type = 'text'"))
    connection.execute(text("UPDATE models SET is_default = true WHERE id = :id"), {"id": model_id})


def raced(engine) -> tuple[int, int]:
    """Race two careless writers for the row of the current default. Return the number of defaults and the number of rejected writers."""
    with engine.connect() as reading:
        first_id, second_id = reading.execute(
            text("SELECT id FROM models WHERE type = 'text' AND NOT is_default ORDER BY id LIMIT 2")
        ).scalars()
    refused: list[IntegrityError] = []

    def second() -> None:
        try:
            with engine.begin() as connection:
                careless(connection, second_id)
        except IntegrityError as error:
            refused.append(error)

    with engine.begin() as connection:
        careless(connection, first_id)
        thread = threading.Thread(target=second)
        thread.start()
        until_somebody_waits(engine)
    thread.join(10)
    with engine.connect() as reading:
        return reading.execute(text("SELECT count(*) FROM models WHERE is_default AND type = 'text'")).scalar_one(), len(refused)


def until_somebody_waits(engine) -> None:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(500):
        with engine.connect() as connection:
            if connection.execute(query).scalar_one():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waited")


@pytest.mark.postgresql
def test_e17_control_two_careless_writers_leave_two_defaults_but_for_the_index(postgresql_settings, report):
    """PostgreSQL only, because SQLite serializes writers."""
    engine = create_engine(postgresql_settings.database_url)
    with_index = raced(engine)
    with engine.begin() as connection:
        connection.execute(text(f"DROP INDEX {ONE_DEFAULT}"))
    without_index = raced(engine)
    engine.dispose()
    report(f"with the index {with_index[0]} default and {with_index[1]} of 2 refused; without it {without_index[0]} defaults")
    assert (with_index, without_index) == ((1, 1), (2, 0))


def test_e17_of_the_same_price_sent_by_eight_at_once_one_is_kept(served, scale, report):
    token = served.token("registry:read", "registry:write")
    model_id = ids(served, token)[0]
    created = []
    for attempt in range(scale(3, 200)):
        start = (datetime.now(UTC) + timedelta(days=1 + attempt)).replace(microsecond=0).isoformat()
        body = price_values(effective_from=start)
        statuses = at_once(
            served, token, [lambda client, body=body: client.ask("POST", f"/admin/models/{model_id}/prices", body).status] * 8
        )
        created.append(statuses.count(201))
        assert set(statuses) <= {201, 409, 503}
    report(f"{len(created)} prices sent by 8 at once, kept {set(created)} each")
    assert set(created) == {1}


def test_e17_of_the_same_model_sent_by_eight_at_once_one_is_made(served):
    token = served.token("registry:read", "registry:write")
    body = model_values(model_id="the-same", aliases=["the-same-alias"])
    statuses = at_once(served, token, [lambda client: client.ask("POST", "/admin/models", body).status] * 8)
    assert (statuses.count(201), set(statuses) <= {201, 409, 503}) == (1, True)


def test_e17_a_revoked_token_is_refused_by_every_worker_within_a_second(served, report):
    token = served.token("registry:read")
    token_id = served.flask("tokens", "list").splitlines()[-1].split()[0]
    stop, accepted = threading.Event(), []

    def use() -> None:
        while not stop.is_set():
            client = served.client(token)
            if client.ask("GET", "/defaults").status == 200:
                accepted.append(time.monotonic())
            client.close()

    users = [threading.Thread(target=use) for _ in range(3)]
    for thread in users:
        thread.start()
    served.flask("tokens", "revoke", token_id)
    revoked = time.monotonic()
    time.sleep(1.5)
    stop.set()
    for thread in users:
        thread.join()
    delay = max(accepted) - revoked
    report(f"last accepted {delay * 1e3:.0f} ms after the command that revoked it had ended")
    assert accepted
    assert delay <= 1.0
