"""Tests of the sanity questions before a price is saved."""

from dataclasses import replace
from datetime import time
from decimal import Decimal

import pytest
from factories import a_model, a_price, a_rate
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.costing.price_sanity import confirmation_key, list_model_questions, list_questions
from webapp.domain.costing.sibling_rates import SiblingPrice, SiblingRates
from webapp.domain.pricing.windows import Window


def kinds(*arguments, **options):
    return [question.kind for question in list_questions(*arguments, **options)]


@pytest.mark.parametrize(
    ("amount", "asked"),
    [("1", []), ("99", []), ("100", ["far_from_previous"]), ("0.01", ["far_from_previous"]), ("0.011", []), ("0", ["crosses_zero"])],
)
def test_a_price_a_hundred_times_away_from_the_one_before_is_asked_about(amount, asked):
    assert kinds(a_price(a_rate(amount=amount)), a_price(a_rate(amount="1"))) == asked


def test_units_are_compared_and_not_the_numbers_that_were_typed():
    assert kinds(a_price(a_rate(amount="0.001", per=1_000)), a_price(a_rate(amount="1", per=1_000_000))) == []
    (question,) = list_questions(a_price(a_rate(amount="1", per=1)), a_price(a_rate(amount="1")))
    assert question.text == "Input is 1,000,000 times more than the price before. Is the unit right?"


def test_only_rates_for_the_same_thing_are_compared():
    before = a_price(a_rate(amount="1"))
    assert kinds(a_price(a_rate("output", "500")), before) == []


@pytest.mark.parametrize(
    "conditions", [{"service_tier": "priority"}, {"above": 200_000}, {"window": Window((), time(), time())}, {"when": (("region", "us"),)}]
)
def test_a_rate_with_new_conditions_is_compared_with_the_nearest_rate_of_its_meter(conditions):
    before = a_price(a_rate(amount="1"), a_rate(amount="4", service_tier="flex"))
    assert kinds(a_price(a_rate(amount="399", **conditions)), before) == []
    assert kinds(a_price(a_rate(amount="400", **conditions)), before) == ["far_from_previous"]


def test_free_and_priced_are_a_step_that_is_asked_about_and_unknown_is_none():
    free, priced, unknown = a_price(state="free"), a_price(a_rate()), a_price(state="unknown")
    assert kinds(free, priced) == kinds(priced, free) == ["crosses_zero"]
    assert kinds(unknown, priced) == kinds(priced, unknown) == kinds(priced, None) == []


def test_of_the_siblings_only_the_nearest_counts():
    siblings = SiblingRates([SiblingPrice("Nano", a_price(a_rate(amount="0.05"))), SiblingPrice("Pro", a_price(a_rate(amount="60")))])
    assert kinds(a_price(a_rate(amount="0.1")), None, siblings) == []
    (question,) = list_questions(a_price(a_rate(amount="9000")), None, siblings)
    assert "150 times more than Pro" in question.text


@given(st.lists(st.tuples(st.sampled_from(["1", "1.5", "2", "300"]), st.integers(1, 4)), max_size=6), st.sampled_from(["0.5", "1.5", "40"]))
def test_the_nearest_sibling_is_that_of_a_comparison_with_all(rows, amount):
    siblings = [SiblingPrice(f"M{model}", a_price(a_rate(amount=unit)), model) for unit, model in rows]
    rate, others = a_rate(amount=amount), [sibling for sibling in siblings if sibling.model != 1]

    def factor(unit):
        return max(unit, rate.unit) / min(unit, rate.unit)

    nearest = [factor(row.unit) for row in SiblingRates(siblings).excluding(1).neighbors(rate, "USD")]
    assert min(nearest, default=None) == min((factor(sibling.price.rates[0].unit) for sibling in others), default=None)


def test_another_currency_is_not_compared():
    assert kinds(a_price(a_rate(amount="500")), a_price(a_rate(), currency="EUR")) == []


def test_the_catalogue_that_ships_with_modeldesk_is_asked_too():
    model = a_model("gpt-4o", "openai")
    questions = list_model_questions(a_price(a_rate(amount="2500")), model, [model], ())
    assert [(question.kind, "the built-in catalogue says" in question.text) for question in questions] == [("far_from_catalogue", True)]


def test_a_correction_is_compared_with_what_was_before_the_wrong_price():
    good, wrong = a_price(a_rate(amount="1"), id=1), a_price(a_rate(amount="1000"), id=2)
    wrong = replace(wrong, effective_from=good.effective_from.replace(year=2026))
    fixed = replace(a_price(a_rate(amount="1")), effective_from=wrong.effective_from, corrects=2)
    assert list_model_questions(fixed, a_model(), [], (good, wrong)) == []


def test_a_yes_is_for_these_rates_only():
    price = a_price(a_rate(amount="100"))
    questions = list_questions(price, a_price(a_rate(amount="1")))
    edited = a_price(a_rate(amount="101"))
    assert confirmation_key(price, questions) == confirmation_key(a_price(a_rate(amount=Decimal("100.0"))), questions)
    assert confirmation_key(price, questions) != confirmation_key(edited, questions)
