"""Tests of costs and dated prices: properties against a naive implementation of the rules, and each rule by example."""

import itertools
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from factories import NOW, START, a_price, a_rate
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.domain.pricing.pricing import SERVICE_TIERS, Window, context_tier_of, cost_of, price_at, timeline
from webapp.domain.pricing.usage import MAX_QUANTITY, METERS, PARENTS, Usage

MINUTES_A_WEEK = 7 * 1440


# A naive implementation of pricing.md: no indexes, fractions instead of decimals, minutes of the week instead of clock times.


def reference(rates, usage, at, tier):
    missing = []
    if tier != "standard" and not any(rate.service_tier == tier for rate in rates):
        missing, tier = [f"service_tier:{tier}"], "standard"
    total = Fraction(0)
    for meter, quantity in reference_parts(usage.as_dict()).items():
        rate = reference_rate(rates, meter, (tier, usage.input, at))
        if rate is None:
            missing.append(meter)
        else:
            total += quantity * Fraction(rate.amount) / rate.per
    return total, missing


def reference_parts(used):
    parts = dict(used)
    for part, whole in PARENTS.items():
        if part in used:
            parts[whole] -= used[part]
    return {meter: parts[meter] for meter in METERS if parts.get(meter)}


def reference_rate(rates, meter, conditions):
    tier, total_input, at = conditions
    while meter:
        for candidate_tier in dict.fromkeys((tier, "standard")):
            tier_rates = [rate for rate in rates if (rate.meter, rate.service_tier) == (meter, candidate_tier)]
            matches = [
                rate for rate in tier_rates if total_input > (-1 if rate.above is None else rate.above) and reference_holds(rate.window, at)
            ]
            if matches:
                return max([rate for rate in matches if rate.window] or matches, key=lambda rate: -1 if rate.above is None else rate.above)
        meter = PARENTS.get(meter)
    return None


def reference_holds(window, at):
    if window is None:
        return True
    start, end = (clock.hour * 60 + clock.minute for clock in (window.start, window.end))
    minute = at.weekday() * 1440 + at.hour * 60 + at.minute
    return any((minute - (day * 1440 + start)) % MINUTES_A_WEEK < (end - start) % 1440 for day in window.days or range(7))


# Strategies for prices and usages

amounts = st.decimals(0, 10**9 - 1, places=12).filter(lambda amount: amount < 10**9)
divisors = st.sampled_from([1, 1000, 1_000_000, 2**29, 5**12])
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(Window, st.lists(st.integers(0, 6), unique=True).map(lambda days: tuple(sorted(days))), clocks, clocks).filter(
    lambda window: window.start != window.end
)
rates = st.builds(
    a_rate,
    st.sampled_from(METERS),
    amounts,
    divisors,
    above=st.none() | st.sampled_from([0, 199_999, 200_000]),
    service_tier=st.sampled_from(SERVICE_TIERS),
    window=st.none() | windows,
)
rate_sets = st.lists(rates, max_size=12, unique_by=lambda rate: (rate.meter, rate.above, rate.service_tier, rate.window))
quantities = st.integers(0, 5) | st.integers(199_998, 200_002) | st.integers(0, MAX_QUANTITY // 20)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 # Hypothesis adds the time zone.


@st.composite
def usages(draw):
    drawn = {meter: draw(st.just(0) | quantities) for meter in METERS}
    drawn["cache_write"] += drawn["cache_write_1h"]
    drawn["input"] += drawn["cache_read"] + drawn["cache_write"] + drawn["input_audio"] + drawn["input_image"]
    drawn["output"] += drawn["reasoning"] + drawn["output_audio"]
    return Usage(**drawn)


@given(rate_sets, usages(), moments, st.sampled_from(SERVICE_TIERS))
@settings(max_examples=400)
def test_a_cost_is_what_a_naive_reading_of_the_rules_gives(rates, usage, at, tier):
    cost = cost_of(a_price(*rates, a_rate()), usage, at=at, service_tier=tier)
    total, missing = reference([*rates, a_rate()], usage, at, tier)
    assert Fraction(cost.total) == total == sum(Fraction(line.cost) for line in cost.lines)
    assert (list(cost.missing), cost.complete) == (missing, not missing)


@given(usages())
def test_each_unit_is_billed_exactly_once(usage):
    parts = dict(usage.parts())
    assert len(parts) == len(usage.parts())
    assert min(parts.values(), default=1) > 0
    assert (
        sum(parts.get(meter, 0) for meter in ("input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "input_image"))
        == usage.input
    )
    assert sum(parts.get(meter, 0) for meter in ("output", "reasoning", "output_audio")) == usage.output


untiered = st.lists(st.builds(a_rate, st.sampled_from(METERS), amounts, divisors), min_size=1, unique_by=lambda rate: rate.meter)


@given(untiered, usages(), usages())
def test_without_tiers_costs_add_up_and_more_never_costs_less(rates, left, right):
    combined = Usage(**{meter: getattr(left, meter) + getattr(right, meter) for meter in METERS})
    first, second, combined_cost = (Fraction(cost_of(a_price(*rates), usage, at=NOW).total) for usage in (left, right, combined))
    assert combined_cost == first + second
    assert combined_cost >= max(first, second)


def test_the_largest_cost_of_all_meters_is_exact_next_to_the_smallest_fraction():
    maximum = Usage(input=MAX_QUANTITY, output=MAX_QUANTITY, **dict.fromkeys(METERS[METERS.index("image") :], MAX_QUANTITY))
    large = [a_rate(meter, "999999999.999999999999", 1) for meter in METERS if meter != "output"]
    cost = cost_of(a_price(*large, a_rate("output", "0.000000000001", 2**29)), maximum, at=NOW)
    assert Fraction(cost.total) == sum(line.quantity * Fraction(line.rate.amount) / line.rate.per for line in cost.lines)


# States


def test_a_missing_price_is_unknown_and_never_zero():
    cost = cost_of(None, Usage(input=10, cache_read=4), at=NOW)
    assert (cost.total, cost.complete, cost.price_state, cost.missing) == (None, False, "unknown", ("input", "cache_read"))


def test_an_unknown_price_has_no_total_but_says_which_price_it_is():
    cost = cost_of(a_price(state="unknown", id=7), Usage(input=1), at=NOW)
    assert (cost.total, cost.complete, cost.price_id, cost.currency) == (None, False, 7, "USD")


def test_free_costs_nothing_and_is_complete():
    cost = cost_of(a_price(state="free"), Usage(input=10**12), at=NOW)
    assert (cost.total, cost.complete, cost.price_state, cost.lines) == (Decimal(0), True, "free", ())


def test_a_rate_of_zero_is_free_and_still_shows_its_line():
    cost = cost_of(a_price(a_rate(amount="0")), Usage(input=5), at=NOW)
    assert (cost.total, cost.complete, len(cost.lines)) == (0, True, 1)


def test_a_used_meter_without_any_rate_is_missing_and_the_rest_is_totalled():
    cost = cost_of(a_price(a_rate()), Usage(input=1_000_000, image=2), at=NOW)
    assert (cost.total, cost.complete, cost.missing) == (Decimal(1), False, ("image",))


@pytest.mark.parametrize(("part", "whole"), PARENTS.items())
def test_a_part_without_a_rate_is_billed_as_its_whole(part, whole):
    outermost = PARENTS.get(whole, whole)
    usage = Usage(**{outermost: 10, whole: 10, part: 10})
    cost = cost_of(a_price(a_rate(whole, "2", 1)), usage, at=NOW)
    assert [line.billed_as for line in cost.lines if line.meter == part] == [whole]
    assert [line.cost for line in cost.lines if line.meter == part] == [20]


# Context and service tiers, windows


@pytest.mark.parametrize(("total", "above", "amount"), [(200_000, None, "1"), (200_001, 200_000, "3")])
def test_a_context_tier_begins_beyond_its_threshold_and_prices_every_unit(total, above, amount):
    price = a_price(
        a_rate(per=1), a_rate(amount="3", per=1, above=200_000), a_rate("output", "5", 1), a_rate("output", "7", 1, above=200_000)
    )
    cost = cost_of(price, Usage(input=total, cache_read=total // 2, output=10), at=NOW)
    assert {str(line.rate.amount) for line in cost.lines if line.meter != "output"} == {amount}
    assert (context_tier_of(cost), cost.total) == (above, total * int(amount) + 10 * (7 if above else 5))


def test_output_never_chooses_the_context_tier():
    price = a_price(a_rate(per=1), a_rate("output", "5", 1), a_rate("output", "7", 1, above=200_000))
    assert cost_of(price, Usage(input=1, output=10**9), at=NOW).total == 1 + 5 * 10**9


def test_a_meter_takes_the_standard_rate_where_the_service_tier_has_none():
    price = a_price(a_rate(amount="4", per=1), a_rate(amount="2", per=1, service_tier="batch"), a_rate("output", "9", 1))
    cost = cost_of(price, Usage(input=1, output=1), at=NOW, service_tier="batch")
    assert ([line.rate.service_tier for line in cost.lines], cost.total, cost.complete) == (["batch", "standard"], 11, True)


def test_a_service_tier_without_any_rate_is_missing_and_billed_at_standard():
    cost = cost_of(a_price(a_rate(amount="4", per=1)), Usage(input=1), at=NOW, service_tier="batch")
    assert (cost.total, cost.complete, cost.missing) == (4, False, ("service_tier:batch",))


NIGHT, MORNING = Window((), time(16, 30), time(0, 30)), Window((0, 4), time(8), time(12))


@pytest.mark.parametrize(
    ("window", "at", "holds"),
    [
        (NIGHT, "2026-11-21T16:29:59.999999+00:00", False),
        (NIGHT, "2026-11-21T16:30:00+00:00", True),
        (NIGHT, "2026-11-22T00:29:59.999999+00:00", True),
        (NIGHT, "2026-11-22T00:30:00+00:00", False),
        (MORNING, "2026-11-20T08:00:00+00:00", True),  # A Friday.
        (MORNING, "2026-11-20T12:00:00+00:00", False),
        (MORNING, "2026-11-21T08:00:00+00:00", False),
        (Window((4,), time(22), time(2)), "2026-11-21T01:59:00+00:00", True),  # Saturday, in Friday's window.
        (Window((4,), time(22), time(2)), "2026-11-20T01:59:00+00:00", False),
        (NIGHT, "2026-11-21T12:30:00-04:00", True),  # 16:30 in UTC.
        (NIGHT, "2026-11-21T16:30:00+02:00", False),
    ],
)
def test_a_window_holds_by_the_clock_of_utc(window, at, holds):
    assert window.contains(datetime.fromisoformat(at)) is holds


def test_an_off_peak_rate_is_billed_in_its_hours_whatever_zone_the_caller_lives_in():
    price = a_price(a_rate(amount="4", per=1), a_rate(amount="1", per=1, window=NIGHT))
    at = datetime(2026, 11, 21, 16, 30, tzinfo=UTC)
    totals = {cost_of(price, Usage(input=1), at=at.astimezone(timezone(timedelta(hours=hours)))).total for hours in (-11, 0, 5)}
    assert totals == {1}


# Dated prices


def days(*numbers):
    return [a_price(effective_from=START + timedelta(days=number), id=number) for number in numbers]


@pytest.mark.parametrize("numbers", [(5,), (5, 9)])
def test_a_price_holds_from_its_first_moment_to_just_before_the_next(numbers):
    history, tick = timeline(days(*numbers)), timedelta(microseconds=1)
    for price in history:
        before = price_at(history, price.effective_from - tick)
        assert price_at(history, price.effective_from) is price
        assert before is None or before.effective_to == price.effective_from
    assert price_at(history, history[0].effective_from - tick) is None
    assert history[-1].effective_to is None


@given(st.lists(st.integers(0, 400), unique=True), st.integers(-1, 402))
def test_a_timeline_has_no_overlap_and_no_gap(numbers, day):
    history = timeline(days(*numbers))
    assert [price.effective_from for price in history] == sorted(START + timedelta(days=number) for number in numbers)
    assert all(left.effective_to == right.effective_from for left, right in itertools.pairwise(history))
    expected = max((number for number in numbers if number <= day), default=None)
    current = price_at(history, START + timedelta(days=day))
    assert (current.id if current else None) == expected


def test_a_correction_takes_the_place_of_what_it_corrects_and_may_be_corrected_itself():
    first, second = days(0, 10)
    wrong = a_price(effective_from=START, id=3, corrects=first.id)
    right = a_price(effective_from=START, id=4, corrects=3)
    history = timeline([right, second, first, wrong])
    assert [(price.id, price.effective_to) for price in history] == [(4, second.effective_from), (10, None)]
    assert timeline(history) == history
