"""Tests of the catalog comparison: added, changed and removed models, and their guards."""

from dataclasses import replace
from datetime import date

import pytest
from factories import NOW, a_model, a_price, a_rate

from webapp.domain.catalog.catalog_diff import CatalogComparison, GuardLimits, compare
from webapp.domain.pricing.pricing import PriceSource

CATALOG = PriceSource("catalog", "acme-list")


def priced(*rates, source=CATALOG, **more):
    return (a_price(*rates, source=source, **more),)


def compared(registry, offered, second=None, **limits):
    def by_ref(models):
        return {model.ref: model for model in models}

    names = {*by_ref(registry), *(f"{model.provider}/{alias}" for model in registry for alias in model.aliases)}
    sides = CatalogComparison(by_ref(registry), names, by_ref(offered), "acme-list", NOW, by_ref(second) if second else None)
    return compare(sides, GuardLimits(**limits))


def one(registry_rate, offered_rate, **limits):
    (difference,) = compared([a_model(prices=priced(registry_rate))], [a_model(prices=priced(offered_rate))], **limits)
    return difference


def test_the_same_catalogue_twice_gives_nothing():
    models = [a_model(prices=priced(a_rate(amount="2.5"))), a_model("free", prices=priced(state="free"))]
    assert compared(models, models) == []


def test_units_and_float_noise_are_no_difference():
    before, after = a_rate(amount="2.5"), a_rate(amount="0.0025000000001", per=1_000)
    assert compared([a_model(prices=priced(before))], [a_model(prices=priced(after))]) == []


def test_a_new_model_is_shown_with_every_rate_unless_its_name_is_taken():
    new = a_model("new", prices=priced(a_rate(amount="3"), a_rate("output", "15", service_tier="batch")))
    (difference,) = compared([], [new])
    assert (difference.kind, difference.choosable) == ("added", True)
    assert [(line.field, line.after) for line in difference.lines] == [
        ("Input", "$3 per 1M tokens"),
        ("Output, batch rate", "$15 per 1M tokens"),
    ]
    assert compared([a_model(aliases=("new",))], [new]) == []


@pytest.mark.parametrize(
    ("before", "after", "percent", "guards"),
    [
        ("2", "3", "+50.0 %", ()),
        ("2", "3.1", "+55.0 %", ("rise",)),
        ("2", "0.5", "−75.0 %", ("fall",)),
        ("0.002", "2", "+99,900.0 %", ("thousand",)),
        ("2", "0", None, ("zero",)),
        ("0", "2", None, ("zero",)),
    ],
)
def test_a_rate_that_moves_says_by_how_much_and_what_to_look_at(before, after, percent, guards):
    difference = one(a_rate(amount=before), a_rate(amount=after))
    assert (difference.lines[0].percent, difference.guards) == (percent, guards)


def test_the_limit_is_a_setting():
    assert one(a_rate(amount="2"), a_rate(amount="2.5"), percent=20).guards == ("rise",)


def test_rates_that_begin_and_end_are_lines_of_their_own():
    before, after = priced(a_rate(), a_rate("cache_read", "0.1")), priced(a_rate(), a_rate(above=200_000, amount="2"))
    (difference,) = compared([a_model(prices=before)], [a_model(prices=after)])
    assert [(line.field, line.before, line.after) for line in difference.lines] == [
        ("Input, above 200,000 input tokens", None, "$2 per 1M tokens"),
        ("Read from cache", "$0.10 per 1M tokens", None),
    ]


def test_a_price_that_was_entered_by_hand_is_pinned_and_only_reported():
    by_hand = a_model(prices=priced(a_rate(amount="1"), source=PriceSource("manual")))
    (difference,) = compared([by_hand], [a_model(prices=priced(a_rate(amount="2")))])
    assert (difference.guards, difference.price, difference.choosable) == (("pinned",), False, False)
    (difference,) = compared([by_hand], [replace(by_hand, prices=priced(a_rate(amount="2")), context_window=9)])
    assert (difference.fields, difference.choosable) == ({"context_window": 9}, True)


def test_free_and_priced_cross_zero_and_an_unknown_price_takes_none_away():
    free, paid = a_model(prices=priced(state="free")), a_model(prices=priced(a_rate()))
    assert compared([free], [paid])[0].guards == compared([paid], [free])[0].guards == ("zero",)
    unknown = a_model(prices=priced(state="unknown"))
    (difference,) = compared([paid], [unknown])
    assert difference.guards == ("lost",)
    foreign = a_model(prices=priced(a_rate(), source=PriceSource("catalog", "another list")))
    assert compared([foreign], [unknown]) == []


def test_names_are_the_staffs_and_dates_are_taken_over():
    offered = a_model(display_name="Other", retires_on=date(2027, 1, 1))
    (difference,) = compared([a_model()], [offered])
    assert (difference.fields, [line.field for line in difference.lines]) == ({"retires_on": date(2027, 1, 1)}, ["Retires on"])


def test_only_what_came_from_the_source_can_be_gone_from_it():
    offered = a_model("other", prices=priced(a_rate()))
    sourced, manual = a_model("ours", prices=priced(a_rate())), a_model("hand", prices=priced(a_rate(), source=PriceSource("manual")))
    assert [(difference.kind, difference.ref) for difference in compared([offered, sourced, manual], [offered], mass=90)] == [
        ("gone", "acme/ours")
    ]
    assert compared([sourced], [a_model("x", "another-seller", prices=priced(a_rate()))])[0].kind == "added"


def test_many_at_once_are_marked():
    registry = [a_model(f"m{number}", prices=priced(a_rate())) for number in range(50)]
    differences = compared(registry, registry[:44], mass=10)
    assert [(difference.kind, difference.guards) for difference in differences] == [("gone", ("mass",))] * 6
    assert compared(registry, registry[:45], mass=10)[0].guards == ()


def test_a_second_source_stands_beside_what_it_disagrees_with():
    before, after = a_model(prices=priced(a_rate(amount="1"))), a_model(prices=priced(a_rate(amount="1.2")))
    second = a_model(prices=priced(a_rate(amount="1.3")))
    (difference,) = compared([before], [after], [second])
    assert (difference.lines[0].second_opinion, difference.guards) == ("$1.30 per 1M tokens", ("disagree",))
    assert compared([before], [after], [after])[0].guards == ()
