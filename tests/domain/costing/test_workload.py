"""Tests of a workload over models: cheapest first, unknown last, exact months, and the sizes at which the cheapest model changes."""

from decimal import Decimal

import pytest
from factories import NOW, a_model, a_price, a_rate, a_snapshot

from webapp.domain.costing.workload import Requirements, Workload, WorkloadRequest, compare_models, list_cheapest_ranges, parse_query


def model(name, *rates, **more):
    return a_model(name, prices=(a_price(*rates),), **{"context_window": 1_000_000} | more)


QUESTIONS = Workload(calls=10, input=1_000, output=0)


def rows(*models, work=QUESTIONS, **needs):
    return compare_models(a_snapshot(*models), WorkloadRequest(work, Requirements(**needs)), NOW)


def test_the_cheapest_comes_first_and_an_unknown_price_last_and_without_an_amount():
    unknown = a_model("what", prices=(a_price(state="unknown"),), context_window=1_000_000)
    partly = model("partly", a_rate("output", "1"))
    costs = rows(unknown, model("dear", a_rate(amount="4")), partly, model("cheap", a_rate(amount="2")))
    assert [row.model.model_id for row in costs] == ["cheap", "dear", "partly", "what"]
    assert [row.month for row in costs] == [Decimal("0.6"), Decimal("1.2"), None, None]
    assert (costs[0].ratio, costs[1].ratio) == (None, 2)


def test_a_month_is_exact_and_has_thirty_days():
    (row,) = rows(model("m", a_rate(amount="0.15"), a_rate("output", "0.6")), work=Workload(calls=333, input=1_234, output=77))
    assert row.month == (Decimal("0.15") * 1_234 + Decimal("0.6") * 77) / 1_000_000 * 333 * 30


def test_cached_reasoning_and_batch_are_billed_by_their_own_rates():
    priced = model(
        "m",
        a_rate(amount="10"),
        a_rate("cache_read", "1"),
        a_rate("output", "20"),
        a_rate("reasoning", "40"),
        a_rate(amount="5", service_tier="batch"),
    )
    work = Workload(calls=1, input=1_000, output=100, cached=50, reasoning=40)
    (row,) = rows(priced, work=work)
    assert row.call.total * 1_000_000 == 500 * 10 + 500 * 1 + 60 * 20 + 40 * 40
    (row,) = rows(priced, work=Workload(calls=1, input=1_000, output=0, batch=True))
    assert row.call.total * 1_000_000 == 5_000
    (row,) = rows(model("none", a_rate()), work=Workload(batch=True))
    assert (row.complete, row.call.missing[0]) == (False, "service_tier:batch")


@pytest.mark.parametrize(
    ("needs", "names"),
    [
        ({"capabilities": ("vision",)}, ["b"]),
        ({"min_context": 200_000}, ["b"]),
        ({"providers": ("acme",)}, ["a", "b"]),
        ({"providers": ("other",)}, []),
        ({"type": "image"}, ["i"]),
    ],
)
def test_only_models_that_meet_the_requirements_are_compared(needs, names):
    models = [
        model("a", a_rate(), context_window=100_000),
        model("b", a_rate(), capabilities=("vision",)),
        model("i", a_rate(), type="image"),
        model("off", a_rate(), active=False),
    ]
    assert [row.model.model_id for row in rows(*models, **needs)] == names


def test_the_next_tier_of_a_model_is_told():
    tiered = model("m", a_rate(amount="1"), a_rate(amount="2", above=200_000))
    assert rows(tiered)[0].next_tier == 200_000
    assert rows(tiered, work=Workload(input=200_001))[0].next_tier is None


def test_the_size_at_which_the_lead_changes_is_exact_to_the_token():
    steps = model("steps", a_rate(amount="1"), a_rate(amount="3", above=200_000))
    flat = model("flat", a_rate(amount="2"))
    ranges = list_cheapest_ranges(rows(steps, flat), Workload(output=0), NOW)
    assert [(span.size, span.model.model_id) for span in ranges] == [(100, "steps"), (200_001, "flat")]


def test_a_dearer_question_can_be_the_cheaper_answer():
    talker = model("talker", a_rate(amount="1"), a_rate("output", "100"))
    reader = model("reader", a_rate(amount="3"), a_rate("output", "10"))
    ranges = list_cheapest_ranges(rows(talker, reader), Workload(output=1_000), NOW)
    assert [(span.size, span.model.model_id) for span in ranges] == [(100, "reader"), (45_001, "talker")]


def test_a_call_that_no_context_holds_has_no_cheapest():
    assert list_cheapest_ranges(rows(model("small", a_rate(), context_window=1_200)), Workload(output=500), NOW)[-1].size == 100


def test_an_address_is_read_and_written_back_and_says_what_is_wrong():
    request = parse_query(
        {"calls": ["2,000"], "input": ["5000"], "cached": ["80"], "batch": ["1"], "type": ["text"], "capability": ["vision"]}
    )
    assert request.errors == {}
    assert request.workload == Workload(calls=2_000, input=5_000, cached=80, batch=True)
    assert "capability=vision" in request.query()
    invalid = parse_query({"calls": ["many"], "cached": ["101"], "reasoning": ["501"]})
    assert set(invalid.errors) == {"calls", "cached", "reasoning"}
