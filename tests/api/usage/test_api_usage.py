"""Reported usage: counted once, priced at the time of the call, summed exactly (T38, E10)."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from environment import api_for
from factories import Api, model_values, price_values
from sqlalchemy import func, select

from webapp.domain.usage import usage_summary
from webapp.extensions import db
from webapp.models import UsageRecord
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import api_tokens
from webapp.services.catalog import models
from webapp.services.pricing import prices
from webapp.services.projects import projects

CALL = {"model": "openai/gpt-4o-mini", "usage": {"input": 1000, "output": 500, "cache_read": 200}}


@pytest.fixture
def reporter(either_app):
    return api_for(either_app, "usage:write", "usage:read")


def report(reporter, key, **more):
    return reporter.post("/usage", CALL | more, headers={"Idempotency-Key": key})


def count() -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(UsageRecord)).scalar_one()


def test_a_report_is_priced_and_answered_whole(reporter):
    made = report(reporter, "one")
    assert made.status_code == 201
    model = container.registry().get_model(CALL["model"])
    assert (made.json["model"], made.json["usage"], made.json["cost"]["price_id"]) == (model.ref, CALL["usage"], model.price.id)
    assert Decimal(made.json["cost"]["total"]) == container.registry().calculate_cost(model.ref, 1000, 500).total - Decimal("0.000015")


def test_t38_the_same_report_sent_again_is_counted_once_and_answered_alike(reporter):
    first = report(reporter, "one")
    again = [report(reporter, "one") for _ in range(3)]
    reordered = reporter.post(
        "/usage", {"usage": dict(reversed(CALL["usage"].items())), "model": CALL["model"]}, headers={"Idempotency-Key": "one"}
    )
    assert {answer.status_code for answer in (*again, reordered)} == {200}
    assert {answer.text for answer in (*again, reordered)} == {first.text}
    assert count() == 1


def test_a_report_with_its_attributes_in_another_order_is_the_same_report(reporter):
    attributes = {"region": "us", "speed": "fast"}
    first = report(reporter, "one", attributes=attributes)
    again = report(reporter, "one", attributes=dict(reversed(attributes.items())))
    assert (first.status_code, again.status_code, again.json["id"]) == (201, 200, first.json["id"])
    assert report(reporter, "one", attributes=attributes | {"speed": "slow"}).status_code == 409


def test_t38_another_report_under_the_same_key_is_refused_and_nothing_is_recorded(reporter):
    report(reporter, "one")
    refused = report(reporter, "one", usage={"input": 1})
    assert (refused.status_code, refused.json["code"], count()) == (409, "idempotency_key_reused", 1)


def test_two_tokens_may_use_the_same_key(either_app, reporter):
    second_reporter = api_for(either_app, "usage:write")
    assert (report(reporter, "one").status_code, report(second_reporter, "one").status_code, count()) == (201, 201, 2)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 201], ids=repr)
def test_a_report_without_a_good_key_is_refused(reporter, key):
    answer = reporter.post("/usage", CALL, headers={"Idempotency-Key": key.encode().decode("latin-1")})
    assert (answer.status_code, answer.json["errors"][0]["field"], count()) == (400, "Idempotency-Key", 0)


BAD = [
    ({"model": "no-such-model"}, 404),
    ({"usage": {"input": -1}}, 422),
    ({"usage": {"input": 1.5}}, 400),
    ({"usage": {"input": 1, "cache_read": 2}}, 422),
    ({"usage": {"inputs": 1}}, 422),
    ({"surprise": 1}, 400),
    ({"at": "2026-11-26T00:00:00"}, 422),
]


@pytest.mark.parametrize(("bad", "status"), BAD, ids=[str(bad)[:60] for bad, _ in BAD])
def test_a_report_that_makes_no_sense_is_refused_and_not_recorded(reporter, bad, status):
    answer = report(reporter, "one", **bad)
    assert (answer.status_code, count()) == (status, 0)


@pytest.mark.parametrize("away", [timedelta(days=-8), timedelta(minutes=10)], ids=["long ago", "in the future"])
def test_t40_usage_of_another_time_is_refused(reporter, away):
    answer = report(reporter, "one", at=(datetime.now(UTC) + away).isoformat())
    assert (answer.status_code, answer.json["errors"][0]["field"], count()) == (422, "at", 0)


def test_a_call_is_priced_at_its_own_moment_and_stays_so(reporter):
    yesterday = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)
    before = report(reporter, "one", at=yesterday.isoformat()).json
    with writing() as session:
        model = container.registry().get_model(CALL["model"])
        prices.add(session, model.id, price_values(effective_from=(yesterday + timedelta(hours=1)).isoformat()), actor="ann")
    assert report(reporter, "one", at=yesterday.isoformat()).json == before
    assert report(reporter, "two", at=yesterday.isoformat()).json["cost"] == before["cost"]
    assert report(reporter, "three").json["cost"]["total"] != before["cost"]["total"]


def test_what_is_unknown_is_recorded_and_never_counted_as_zero(reporter):
    with writing() as session:
        model = container.registry().get_model(CALL["model"])
        unknown = price_values(state="unknown", rates=[], effective_from=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
        prices.add(session, model.id, unknown, actor="ann")
    assert report(reporter, "one").json["cost"]["total"] is None
    total = reporter.get("/usage/summary").json["total"]
    assert (total["records"], total["unpriced"], total["complete"], total["totals"]) == (1, 1, False, {})


def test_a_call_of_which_nothing_has_a_rate_is_unpriced_and_not_zero(reporter):
    report(reporter, "one", usage={"page": 3})
    total = reporter.get("/usage/summary").json["total"]
    assert (total["unpriced"], total["incomplete"], total["complete"], total["totals"]) == (1, 0, False, {})
    report(reporter, "two")
    mixed = reporter.get("/usage/summary").json["total"]
    assert (mixed["unpriced"], mixed["complete"], list(mixed["totals"])) == (1, False, ["USD"])


def test_sums_are_exact_by_every_group(reporter):
    random = Random(7)
    expected, tokens = Fraction(0), 0
    for index in range(60):
        used = {"input": random.randrange(10**6), "output": random.randrange(10**5)}
        answer = report(reporter, f"k{index}", model=random.choice(["openai/gpt-4o", "openai/gpt-4o-mini"]), usage=used)
        expected += Fraction(answer.json["cost"]["total"])
        tokens += used["input"]
    for group in ("model", "project", "token", "day"):
        body = reporter.get(f"/usage/summary?group_by={group}").json
        assert Fraction(body["total"]["totals"]["USD"]) == expected
        assert sum(Fraction(group_row["totals"]["USD"]) for group_row in body["data"]) == expected
        assert body["total"]["usage"]["input"] == tokens
    assert [group_row["model"] for group_row in reporter.get("/usage/summary").json["data"]] == ["openai/gpt-4o", "openai/gpt-4o-mini"]
    (today,) = reporter.get("/usage/summary?group_by=day").json["data"]
    assert today["day"] == f"{datetime.now(UTC):%Y-%m-%d}"


@pytest.mark.parametrize(("seconds", "total"), [(("8.5", "1.5"), 10), (("8.47", 1.5), "9.97"), ((8, 2), 10)])
def test_fractions_that_sum_up_to_a_whole_number_are_a_number(reporter, seconds, total):
    for second in seconds:
        report(reporter, f"of {second}".replace(" ", "-"), usage={"second": second})
    body = reporter.get("/usage/summary").json
    assert [body["total"]["usage"], body["data"][0]["usage"]] == [{"second": total}] * 2


def test_a_summary_is_narrowed_by_model_and_span(reporter):
    for index, model in enumerate(("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4o-mini")):
        report(reporter, f"k{index}", model=model)
    assert reporter.get("/usage/summary?model=gpt-4o-mini").json["total"]["records"] == 2
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert (
        reporter.get(f"/usage/summary?since={tomorrow:%Y-%m-%dT00:00:00Z}&until={tomorrow:%Y-%m-%dT01:00:00Z}").json["total"]["records"]
        == 0
    )
    for bad in ("since=2026-01-01T00:00:00Z&until=2025-01-01T00:00:00Z", "since=2020-01-01T00:00:00Z"):
        assert reporter.get(f"/usage/summary?{bad}").status_code == 422
    assert reporter.get("/usage/summary?group_by=colour").status_code == 400


def test_e10_t38_many_threads_sending_the_same_reports_count_each_once(either_app, reporter):
    answers: list[tuple[str, int, str]] = []

    def send(order: int) -> None:
        client = type(reporter)(either_app.test_client(), reporter.token)
        keys = [f"k{number}" for number in range(15)]
        Random(order).shuffle(keys)
        for key in keys:
            answer = report(client, key)
            answers.append((key, answer.status_code, answer.text))

    threads = [threading.Thread(target=send, args=(order,)) for order in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 90
    assert {status for _, status, _ in answers} == {200, 201}
    assert sum(status == 201 for _, status, _ in answers) == count() == 15
    assert len({(key, text) for key, _, text in answers}) == 15


def test_scopes_are_kept_apart(either_app):
    writer, reader = api_for(either_app, "usage:write"), api_for(either_app, "usage:read")
    assert (report(reader, "one").status_code, writer.get("/usage/summary").status_code) == (403, 403)


def test_the_longest_exact_cost_is_stored_and_comes_back_to_the_last_digit(reporter):
    largest, finest = {"amount": "999999999.999999999999", "per": 1}, {"amount": "999999999.999999999999", "per": 2**29}
    rates = [{"meter": "input"} | largest, {"meter": "output"} | finest]
    with writing() as session:
        mini = container.registry().get_model(CALL["model"])
        start = (datetime.now(UTC) - timedelta(minutes=1)).replace(microsecond=0)
        prices.add(session, mini.id, price_values(effective_from=start.isoformat(), rates=rates), actor="ann")
    made = report(reporter, "longest", usage={"input": 10**12, "output": 10**12 - 1})
    exact = Fraction("999999999.999999999999") * (10**12 + Fraction(10**12 - 1, 2**29))
    assert (made.status_code, Fraction(made.json["cost"]["total"]), len(made.json["cost"]["total"])) == (201, exact, 64)
    db.session.rollback()
    assert Fraction(db.session.execute(select(UsageRecord.cost_total)).scalar_one()) == exact


def removed_model(model_id="short-lived"):
    """Return a call of a model that has no price, and the function that deletes the model."""
    with writing() as session:
        row_id = models.create(session, model_values(model_id=model_id), actor="ann").id

    def delete():
        with writing() as session:
            models.delete(session, row_id, actor="ann")

    return {"model": f"openai/{model_id}", "usage": {"input": 5}}, delete


def test_a_report_sent_again_returns_its_record_when_the_model_is_gone(reporter):
    call, delete = removed_model()
    first = report(reporter, "one", **call)
    assert first.status_code == 201
    delete()
    repeated = report(reporter, "one", **call)
    assert (repeated.status_code, repeated.text, count()) == (200, first.text, 1)
    different = report(reporter, "one", **call | {"usage": {"input": 6}})
    assert (different.status_code, different.json["code"]) == (409, "idempotency_key_reused")
    assert report(reporter, "two", **call).status_code == 404
    assert report(api_for(reporter.client.application, "usage:write"), "one", **call).status_code == 404


def test_a_report_sent_again_returns_its_record_when_the_call_is_too_old_to_report(reporter):
    call = {"at": (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0).isoformat()}
    first = report(reporter, "one", **call)
    with maximum_age(timedelta(hours=1)):
        repeated = report(reporter, "one", **call)
        assert (repeated.status_code, repeated.text) == (200, first.text)
        assert report(reporter, "two", **call).status_code == 422


@contextmanager
def maximum_age(age):
    """Shorten the time in which usage can be reported, in place of waiting for a week."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage_summary, "MAX_AGE", age)
        yield


@pytest.fixture
def blue(reporter, either_app):
    """Return the client of an application in the project blue. The projects blue and red and no project have one report each."""
    tokens = {}
    with writing() as session:
        for slug in ("blue", "red"):
            projects.create(session, {"slug": slug, "display_name": slug.title()}, actor="ann")
            tokens[slug] = api_tokens.create(session, f"{slug} app", ["usage:write", "usage:read"], actor="ann", project=slug)[1]
    clients = {slug: Api(either_app.test_client(), text) for slug, text in tokens.items()}
    for client in (*clients.values(), reporter):
        assert report(client, "one").status_code == 201
    return clients["blue"]


@pytest.mark.parametrize("group", ["model", "project", "token", "day"])
def test_a_token_with_a_project_reads_only_the_usage_of_its_project(blue, reporter, group):
    own = blue.get(f"/usage/summary?group_by={group}").json
    assert own["total"]["records"] == sum(row["records"] for row in own["data"]) == 1
    assert own == blue.get(f"/usage/summary?group_by={group}&project=blue&until={own['until']}").json
    assert {row.get("project", "blue") for row in own["data"]} == {"blue"}
    assert {row.get("token", "blue app") for row in own["data"]} == {"blue app"}
    assert reporter.get(f"/usage/summary?group_by={group}").json["total"]["records"] == 3
    assert reporter.get(f"/usage/summary?group_by={group}&project=red").json["total"]["records"] == 1


@pytest.mark.parametrize("project", ["red", "nowhere", "BLUE"])
def test_usage_of_another_project_does_not_exist_for_a_token_with_a_project(blue, project):
    assert blue.get(f"/usage/summary?project={project}").status_code == 404
