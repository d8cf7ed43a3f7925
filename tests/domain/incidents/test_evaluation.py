"""Tests of evaluations: input, spend cap and results."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.incidents.evaluation import (
    SKIP,
    START,
    WAIT,
    CellResult,
    ModelResults,
    cell_order,
    compare_recommendations,
    decide_start,
    parse_incidents,
    percentile,
    require_valid_selection,
    summarize_by_model,
    total_costs,
)
from webapp.domain.pricing.spend import CallCost
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.money import ROUNDED

D = Decimal
CENTS = st.integers(0, 500).map(lambda cents: D(cents) / 100)


def test_every_cell_is_asked_once_and_every_model_gets_its_turn_early():
    cells = list(cell_order(3, ["a", "b"], 2))
    assert len(set(cells)) == len(cells) == 12
    assert {model for _, model, _ in cells[:2]} == {"a", "b"}


@pytest.mark.parametrize(
    ("incidents", "models", "repeats", "field"),
    [
        (0, ["a"], 1, "incidents"),
        (21, ["a"], 1, "incidents"),
        (1, [], 1, "models"),
        (1, list("abcdefghi"), 1, "models"),
        (1, ["a"], 6, "repeats"),
    ],
)
def test_too_much_and_too_little_are_refused_at_their_field(incidents, models, repeats, field):
    with pytest.raises(Invalid) as caught:
        require_valid_selection(incidents, models, repeats)
    assert [error.field for error in caught.value.errors] == [field]


DECISIONS = [
    (None, "0", [], "9", START),
    ("1", "0.5", [], "0.5", START),
    ("1", "0.6", [], "0.5", SKIP),
    ("1", "0.2", ["0.4"], "0.5", WAIT),
    ("1", "0.2", ["0.3"], "0.5", START),
    ("1", "0.99", [], None, START),
    ("1", "1", [], None, SKIP),
    ("0", "0", [], "0", START),
    ("0", "0", [], "0.01", SKIP),
]


@pytest.mark.parametrize(
    ("cap", "spent", "running", "most", "verdict"), DECISIONS, ids=[f"{row[0]}-{row[1]}-{row[-1]}" for row in DECISIONS]
)
def test_no_call_begins_that_could_pass_the_cap(cap, spent, running, most, verdict):
    decision = decide_start(D(cap) if cap else None, D(spent), [D(cost) for cost in running], D(most) if most else None)
    assert decision == verdict


@given(CENTS, st.lists(CENTS, max_size=30))
def test_a_bench_whose_calls_cost_at_most_their_estimate_never_passes_its_cap(cap, estimates):
    spent = D(0)
    for cost in estimates:
        if decide_start(cap, spent, [], cost) == START:
            spent += cost
    assert spent <= cap


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
def test_percentiles_are_values_that_occurred_in_order(values):
    p50, p95 = percentile(values, 50), percentile(values, 95)
    assert p50 in values
    assert min(values) <= p50 <= p95 <= max(values)
    assert percentile([], 50) is None


def cost(amount, currency="USD", **more):
    return CallCost(amount, currency, **({"complete": amount is not None} | more))


def result(model, incident=0, **more):
    values = {"ok": True, "latency_ms": 100, "cost": cost(D("0.001")), "tokens": 10, "type": "disk", "priority": "high"}
    return CellResult(incident, model, **(values | more))


def test_sums_are_exact_and_say_what_is_unknown():
    results = summarize_by_model(
        ["a", "b"],
        [
            result("a"),
            result("a", latency_ms=300, cost=cost(D("0.0000007"))),
            result("b", ok=False, cost=cost(None), tokens=None),
            result("b", cost=cost(None)),
        ],
    )
    a, b = results
    assert (a.answered, a.failed, a.p50, a.p95, a.tokens, a.spend.amounts) == (2, 0, 100, 300, 20, {"USD": D("0.0010007")})
    assert (b.answered, b.failed, b.spend.unknown, b.per_thousand) == (1, 1, 2, None)
    assert (b.tokens, b.unknown_usage, a.unknown_usage) == (10, 1, 0)
    assert a.per_thousand == ("USD", D("0.5004"))  # Half of 1.0007, rounded to four decimals.


def test_currencies_are_never_added_up_and_a_projection_needs_just_one():
    quarter = cost(D("0.25"), "EUR")
    both = [result("a", cost=cost(D("0.5"))), result("a", cost=quarter), result("b", cost=quarter)]
    a, b = summarize_by_model(["a", "b"], both)
    assert (a.spend.amounts, a.per_thousand) == ({"USD": D("0.5"), "EUR": D("0.25")}, None)
    assert (b.spend.amounts, b.per_thousand) == ({"EUR": D("0.25")}, ("EUR", D(250)))
    assert total_costs(both).amounts == {"USD": D("0.5"), "EUR": D("0.5")}


def test_of_a_late_answer_only_the_cost_counts():
    late = [result("a", latency_ms=9, cost=cost(D(2))), result("unheard of", cost=cost(D(4)))]
    (a,) = summarize_by_model(["a"], [result("a", cost=cost(D(1)))], late)
    assert (a.answered, a.p50, a.tokens, a.spend.amounts, a.per_thousand) == (1, 100, 10, {"USD": D(3)}, ("USD", D(1000)))


def test_the_longest_costs_are_projected_as_well():
    (a,) = summarize_by_model(["a"], [result("a", cost=cost(D("9" * 22 + "." + "9" * 41)))] * 3)
    assert a.per_thousand == ("USD", D("1" + "0" * 25).quantize(D("0.0001"), context=ROUNDED))


def test_a_rating_is_the_mean_of_all_who_rated():
    results = ModelResults("a")
    for scores in ((5, 4), (3,)):
        results.add(result("a", scores=scores))
    assert (results.rating, len(results.scores)) == (D("4.0"), 3)


def test_agreement_counts_what_each_model_says_most_often():
    results = [
        result("a", 0),
        result("a", 0),
        result("a", 0, type="cpu"),
        result("b", 0, priority="low"),
        result("a", 1, type="memory"),
        result("b", 1, type="memory"),
        result("b", 2),
        result("a", 2, ok=False),
    ]
    (agreement,) = compare_recommendations(["a", "b"], results)
    assert (agreement.compared, agreement.same_type, agreement.same_priority) == (2, 2, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["disk", "cpu"]), st.sampled_from(["low", "high"])),
        max_size=40,
    )
)
def test_nobody_agrees_more_often_than_was_compared(rows):
    for agreement in compare_recommendations(
        list("abc"), [result(model, incident, type=kind, priority=level) for model, incident, kind, level in rows]
    ):
        assert 0 <= agreement.same_type <= agreement.compared <= 4
        assert 0 <= agreement.same_priority <= agreement.compared


def test_several_incidents_come_in_one_list_and_one_in_any_form():
    two = json.dumps([{"title": "A"}, {"title": "B"}])
    assert [incident.title for incident in parse_incidents(two)] == ["A", "B"]
    assert [incident.title for incident in parse_incidents("Disk full\non db-1")] == ["Disk full"]
    assert parse_incidents("[FIRING:1] HostOutOfMemory")[0].title == "[FIRING:1] HostOutOfMemory"
    with pytest.raises(Invalid, match="at most 20"):
        parse_incidents(json.dumps([{"title": "A"}] * 21))
