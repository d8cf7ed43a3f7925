"""Tests of the catalog comparison: added, changed and removed models, and their guards."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from factories import NOW, a_model, a_price, a_rate

from webapp.domain.catalog.catalog_diff import CatalogComparison, compare
from webapp.domain.catalog.catalog_guards import HELD_GUARDS, GuardLimits
from webapp.domain.catalog.source_scope import FULL_SCOPE, SourceScope
from webapp.domain.pricing.pricing import PriceSource, timeline
from webapp.domain.pricing.windows import Window

CATALOG = PriceSource("catalog", "acme-list")


def priced(*rates, source=CATALOG, **more):
    return (a_price(*rates, source=source, **more),)


def compared(registry, offered, second=None, scope=FULL_SCOPE, **limits):
    def by_ref(models):
        return {model.ref: model for model in models}

    names = {*by_ref(registry), *(f"{model.provider}/{alias}" for model in registry for alias in model.aliases)}
    sides = CatalogComparison(by_ref(registry), names, by_ref(offered), "acme-list", NOW, by_ref(second) if second else None, scope)
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
        ("2", "3", "+50.0%", ()),
        ("2", "3.1", "+55.0%", ("rise",)),
        ("2", "6", "+200.0%", ("rise",)),
        ("2", "6.01", "+200.5%", ("large", "rise")),
        ("2", "0.5", "−75.0%", ("large", "fall")),
        ("0.002", "2", "+99,900.0%", ("thousand",)),
        ("2", "0", None, ("zero",)),
        ("0", "2", None, ("zero",)),
    ],
)
def test_a_rate_that_moves_says_by_how_much_and_what_to_look_at(before, after, percent, guards):
    difference = one(a_rate(amount=before), a_rate(amount=after))
    assert (difference.lines[0].percent, difference.guards) == (percent, guards)


def test_the_limit_is_a_setting_and_a_large_move_needs_its_own_selection_at_any_limit():
    assert one(a_rate(amount="2"), a_rate(amount="2.5"), percent=20).guards == ("rise",)
    assert one(a_rate(amount="2"), a_rate(amount="7"), percent=900).guards == ("large",)
    assert {"large", "removed", "thousand", "lost", "zero"} <= set(HELD_GUARDS)
    assert not {"rise", "fall", "mass", "disagree", "shrink"} & set(HELD_GUARDS)


TEXT_ONLY = SourceScope(frozenset({"input", "output"}))
OUT_OF_SCOPE = (
    a_rate("web_search", "10", 1_000),
    a_rate("input", "0.5", service_tier="batch"),
    a_rate("input", "2", above=200_000),
    a_rate("input", "0.3", window=Window((), time(16, 30), time(0, 30))),
    a_rate("input", "1.1", when=(("region", "us"),)),
)


def test_a_rate_that_the_source_cannot_state_stays_in_the_proposed_price_and_is_shown():
    before, after = a_model(prices=priced(a_rate(), *OUT_OF_SCOPE)), a_model(prices=priced(a_rate(amount="1.2"), a_rate("output", "3")))
    (difference,) = compared([before], [after], scope=TEXT_ONLY)
    assert difference.price.rates == (a_rate(amount="1.2"), a_rate("output", "3"), *OUT_OF_SCOPE)
    assert [(line.field, line.before == line.after) for line in difference.lines if line.unstated] == [
        ("Web searches", True),
        ("Input, batch rate", True),
        ("Input, above 200,000 input tokens", True),
        ("Input, from 16:30 to 00:30 UTC", True),
        ("Input, region us", True),
    ]
    assert difference.guards == ()


def test_only_rates_that_the_source_cannot_state_are_no_difference():
    assert compared([a_model(prices=priced(a_rate(), *OUT_OF_SCOPE))], [a_model(prices=priced(a_rate()))], scope=TEXT_ONLY) == []


def test_a_stated_rate_outside_the_scope_is_read_and_its_end_is_no_removal():
    before, after = a_model(prices=priced(a_rate(), OUT_OF_SCOPE[1])), a_rate("input", "0.6", service_tier="batch")
    (difference,) = compared([before], [a_model(prices=priced(a_rate(), after))], scope=TEXT_ONLY)
    assert difference.price.rates == (a_rate(), after)


def test_a_rate_within_the_scope_that_disappears_has_its_own_guard():
    before = a_model(prices=priced(a_rate(), a_rate("output", "2"), OUT_OF_SCOPE[0]))
    (difference,) = compared([before], [a_model(prices=priced(a_rate()))], scope=TEXT_ONLY)
    assert [(line.field, line.after, line.guards) for line in difference.lines if not line.unstated] == [("Output", None, ("removed",))]
    assert difference.guards == ("removed",)


PRICE_LEVEL = {"media_at_text_rate": True, "minimum": Decimal("0.01"), "surcharge_percent": Decimal(5)}


def test_fields_of_a_price_that_the_source_cannot_state_stay():
    before = a_model(prices=priced(a_rate(), **PRICE_LEVEL))
    (difference,) = compared([before], [a_model(prices=priced(a_rate(amount="1.1")))], scope=TEXT_ONLY)
    assert {name: getattr(difference.price, name) for name in PRICE_LEVEL} == PRICE_LEVEL
    assert [(line.field, line.before, line.after) for line in difference.lines if line.unstated] == [
        ("Media at the rate of text", "yes", "yes"),
        ("Minimum of a line", "$0.01", "$0.01"),
        ("Surcharge", "5%", "5%"),
    ]
    assert compared([before], [a_model(prices=priced(a_rate()))], scope=TEXT_ONLY) == []


def test_fields_of_a_price_within_the_scope_are_compared_like_rates():
    before, after = a_model(prices=priced(a_rate(), **PRICE_LEVEL)), a_model(prices=priced(a_rate(), surcharge_percent=Decimal(7)))
    (difference,) = compared([before], [after])
    assert [(line.field, line.before, line.after, line.guards) for line in difference.lines] == [
        ("Media at the rate of text", "yes", "no", ()),
        ("Minimum of a line", "$0.01", None, ("removed",)),
        ("Surcharge", "5%", "7%", ()),
    ]
    assert (difference.price, difference.guards) == (after.prices[0], ("removed",))


def test_a_rate_in_another_currency_cannot_stay():
    before = a_model(prices=priced(a_rate(), OUT_OF_SCOPE[0], currency="EUR"))
    (difference,) = compared([before], [a_model(prices=priced(a_rate()))], scope=TEXT_ONLY)
    assert (difference.price.rates, difference.guards) == ((a_rate(),), ("removed",))


def dated(*amounts, years=(2024, 2025, 2026)):
    """Prices of the catalog that start in these years."""
    starts = (datetime(year, 1, 1, tzinfo=UTC) for year in years)
    return tuple(
        a_price(a_rate(amount=amount), source=CATALOG, effective_from=start, id=None) for amount, start in zip(amounts, starts, strict=True)
    )


def test_a_past_price_that_the_source_rewrote_is_reported_and_never_applied():
    before, after = (a_model(prices=timeline(dated(*amounts))) for amounts in (("1", "2", "3"), ("1", "2.2", "3")))
    (difference,) = compared([before], [after])
    assert [tuple(line[:3]) for line in difference.lines] == [("From 2025-01-01: Input", "$2 per 1M tokens", "$2.20 per 1M tokens")]
    assert (difference.guards, difference.choosable, difference.price) == (("history",), False, None)
    by_hand = tuple(replace(price, source=PriceSource("manual")) for price in before.prices)
    assert compared([replace(before, prices=by_hand)], [after]) == []


def test_a_date_that_only_the_source_or_only_the_registry_knows_rewrites_nothing():
    registry = a_model(prices=timeline(dated("1", "3", years=(2024, 2026))))
    assert compared([registry], [a_model(prices=timeline(dated("1", "2", "3")))]) == []
    assert compared([registry], [a_model(prices=timeline(dated("3", years=(2024,))))]) == []


def test_an_alias_of_another_model_is_reported_and_never_moved():
    registry = [a_model("old", aliases=("latest",), prices=priced(a_rate())), a_model("new", prices=priced(a_rate()))]
    offered = [replace(registry[0], aliases=()), replace(registry[1], aliases=("latest", "newest"))]
    (difference,) = compared(registry, offered)
    assert [tuple(line[:3]) for line in difference.lines] == [("Alias latest", "acme/old", "acme/new")]
    assert (difference.ref, difference.guards, difference.choosable) == ("acme/new", ("alias",), False)
    assert compared(registry, registry) == []


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
    assert (difference.guards, difference.price, difference.choosable) == (("pinned",), None, False)
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


@pytest.mark.parametrize(
    ("amount", "guards"), [("0.0025", ("thousand",)), ("0.0026", ()), ("9999", ()), ("10000", ("thousand",)), ("0", ())]
)
def test_a_new_model_that_costs_1000_times_less_or_more_than_everything_of_its_provider_is_marked(amount, guards):
    registry = [a_model("cheap", prices=priced(a_rate(amount="2.5"))), a_model("costly", prices=priced(a_rate(amount="10")))]
    (difference,) = compared(registry, [*registry, a_model("new", prices=priced(a_rate(amount=amount)))])
    assert (difference.kind, difference.guards) == ("added", guards)
    (difference,) = compared(registry, [*registry, a_model("new", "elsewhere", prices=priced(a_rate(amount=amount)))])
    assert difference.guards == ()


def test_only_what_came_from_the_source_can_be_gone_from_it():
    offered = a_model("other", prices=priced(a_rate()))
    sourced, manual = a_model("ours", prices=priced(a_rate())), a_model("hand", prices=priced(a_rate(), source=PriceSource("manual")))
    assert [(difference.kind, difference.ref) for difference in compared([offered, sourced, manual], [offered], mass=90)] == [
        ("gone", "acme/ours")
    ]
    assert compared([sourced], [a_model("x", "another-seller", prices=priced(a_rate()))])[0].kind == "added"


def test_a_source_that_lost_more_than_a_tenth_of_its_models_is_marked():
    registry = [a_model(f"m{number}", prices=priced(a_rate())) for number in range(50)]
    differences = compared(registry, registry[:44])
    assert [(difference.kind, difference.guards) for difference in differences] == [("gone", ("shrink",))] * 6
    assert compared(registry, registry[:45])[0].guards == ()


def test_a_source_that_shrank_since_its_last_version_marks_every_row():
    registry, offered = [a_model(prices=priced(a_rate()))], [a_model(prices=priced(a_rate(amount="1.1"))), a_model("new")]
    sides = CatalogComparison({"acme/rocket": registry[0]}, (), {model.ref: model for model in offered}, "acme-list", NOW, shrunk=True)
    assert {difference.ref: difference.guards for difference in compare(sides, GuardLimits())} == {
        "acme/new": ("shrink",),
        "acme/rocket": ("shrink",),
    }


def test_more_than_15_percent_changed_models_are_marked():
    registry = [a_model(f"m{number}", prices=priced(a_rate())) for number in range(40)]

    def with_changed(count):
        return [a_model(f"m{number}", prices=priced(a_rate(amount="1.1" if number < count else "1"))) for number in range(40)]

    assert [difference.guards for difference in compared(registry, with_changed(7))] == [("mass",)] * 7
    assert [difference.guards for difference in compared(registry, with_changed(6))] == [()] * 6


def test_a_second_source_stands_beside_what_it_disagrees_with():
    before, after = a_model(prices=priced(a_rate(amount="1"))), a_model(prices=priced(a_rate(amount="1.2")))
    second = a_model(prices=priced(a_rate(amount="1.3")))
    (difference,) = compared([before], [after], [second])
    assert (difference.lines[0].second_opinion, difference.guards) == ("$1.30 per 1M tokens", ("disagree",))
    assert compared([before], [after], [after])[0].guards == ()
