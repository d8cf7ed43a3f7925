"""Tests of costs and dated prices: properties against a naive implementation of the rules, and each rule by example."""

import itertools
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from factories import NOW, START, a_price, a_rate
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.domain.pricing.costs import context_tier_of, cost_of
from webapp.domain.pricing.meters import MEDIA, METER_TABLE, METERS
from webapp.domain.pricing.pricing import price_at, timeline
from webapp.domain.pricing.service_tiers import SERVICE_TIERS
from webapp.domain.pricing.usage import INTERSECTIONS as OVERLAPS
from webapp.domain.pricing.usage import MAX_QUANTITY, Usage
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.money import MAX_LENGTH, format_for_storage, is_finite_divisor

MINUTES_A_WEEK = 7 * 1440
INPUT_CELLS = [meter for meter in METERS if "input" in meter or "cache" in meter]
OUTPUT_CELLS = [meter for meter in METERS if "output" in meter or meter == "reasoning"]


# A naive implementation of pricing.md: no indexes, fractions instead of decimals, minutes of the week instead of clock times.


def reference(price, usage, call):
    at, tier, attributes = call
    missing = []
    if tier != "standard" and not any(rate.service_tier == tier for rate in price.rates):
        missing, tier = [f"service_tier:{tier}"], "standard"
    total = Fraction(0)
    for meter, quantity in usage.cells:
        rate = reference_rate(price, meter, (tier, usage.input, at, attributes))
        if isinstance(rate, str):
            missing.append(rate)
            continue
        line = Fraction(quantity) * Fraction(rate.amount) / rate.per
        total += Fraction(price.minimum) if price.minimum is not None and 0 < line < price.minimum else line
    return total * (1 + Fraction(price.surcharge_percent or 0) / 100), missing


def reference_rate(price, cell, call):
    tier, total_input, at, attributes = call
    for meter in reference_chain(cell, price.media_at_text_rate):
        names = set()
        for candidate_tier in dict.fromkeys((tier, "standard")):
            matches = [
                rate
                for rate in price.rates
                if (rate.meter, rate.service_tier) == (meter, candidate_tier)
                and total_input > (-1 if rate.above is None else rate.above)
                and reference_holds(rate.window, at)
            ]
            fitting = [rate for rate in matches if set(rate.when) <= set(attributes.items())]
            if fitting:
                return max(fitting, key=lambda rate: (len(rate.when), rate.window is not None, -1 if rate.above is None else rate.above))
            names |= {name for rate in matches for name, _ in rate.when}
        if names:
            return f"{meter} when {', '.join(sorted(names))}"
    return cell


def reference_chain(cell, media_at_text_rate):
    if cell.endswith(("_audio", "_image", "_video")):
        chain = {"cache_read": ["cache_read", "input"], "input": ["input"], "output": ["output"]}[cell.rpartition("_")[0]]
        return [cell, *(chain if media_at_text_rate else [])]
    return [cell, *{"cache_write_1h": ["cache_write", "input"], "reasoning": ["output"]}.get(cell, ["input"] if "cache" in cell else [])]


def reference_holds(window, at):
    if window is None:
        return True
    local = at.astimezone(ZoneInfo(window.tz or "UTC"))
    start, end = (clock.hour * 60 + clock.minute for clock in (window.start, window.end))
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    length = (end - start) % 1440 or 1440
    return any((minute - (day * 1440 + start)) % MINUTES_A_WEEK < length for day in window.days or range(7))


# Strategies for prices and usages

amounts = st.decimals(0, 10**9 - 1, places=18).filter(lambda amount: amount < 10**9)
divisors = st.sampled_from([1, 60, 1000, 3_600, 1_000_000, 2**29, 5**12, 7])
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
week_days = st.lists(st.integers(0, 6), unique=True).map(lambda days: tuple(sorted(days)))
zones = st.sampled_from([None, "Asia/Shanghai", "America/New_York"])
windows = st.builds(Window, week_days, clocks, clocks, zones).filter(lambda window: window.start != window.end) | st.builds(
    Window, week_days, st.just(time()), st.just(time()), zones
)
conditions = st.dictionaries(st.sampled_from(["quality", "size", "region"]), st.sampled_from(["low", "high"]), max_size=3)
rates = st.builds(
    a_rate,
    st.sampled_from(METERS),
    amounts,
    divisors,
    above=st.none() | st.sampled_from([0, 199_999, 200_000]),
    service_tier=st.sampled_from(SERVICE_TIERS),
    window=st.none() | windows,
    when=conditions.map(lambda when: tuple(sorted(when.items()))),
)
# Two rates of one key could tie. The key leaves out the window, so that at most one window has a rate.
rate_sets = st.lists(
    rates, max_size=12, unique_by=lambda rate: (rate.meter, rate.above, rate.service_tier, rate.window is None, len(rate.when))
)
prices = st.builds(
    lambda rates, **extras: a_price(*rates, a_rate(), **extras),
    rate_sets,
    media_at_text_rate=st.booleans(),
    minimum=st.none() | st.decimals("0.000001", "0.01", places=6),
    surcharge_percent=st.none() | st.decimals(0, 1_000, places=3),
)
quantities = st.integers(0, 5) | st.integers(199_998, 200_002) | st.integers(0, MAX_QUANTITY // 20)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 # Hypothesis adds the time zone.


@st.composite
def usages(draw, overlapping=True):
    drawn = {meter: draw(st.just(0) | quantities) for meter in METERS}
    for medium in MEDIA:
        part = drawn.pop(f"cache_read_{medium}")
        if overlapping and draw(st.booleans()):
            drawn[f"cache_read_{medium}"] = part
            drawn[f"input_{medium}"] += part
            drawn["cache_read"] += part
    drawn["cache_write"] += drawn["cache_write_1h"]
    drawn["input"] += drawn["cache_read"] + drawn["cache_write"] + sum(drawn[f"input_{medium}"] for medium in MEDIA)
    drawn["output"] += drawn["reasoning"] + sum(drawn[f"output_{medium}"] for medium in MEDIA)
    if draw(st.booleans()):
        drawn["second"] = Decimal(drawn["second"]) / 8
    return Usage(**drawn)


@given(prices, usages(), moments, st.sampled_from(SERVICE_TIERS), conditions)
@settings(max_examples=400)
def test_a_cost_is_what_a_naive_reading_of_the_rules_gives(price, usage, at, tier, attributes):
    cost = cost_of(price, usage, at=at, service_tier=tier, attributes=attributes)
    total, missing = reference(price, usage, (at, tier, attributes))
    assert is_exact_or_rounded(total, cost.total, cost.rounded)
    assert [name for name in cost.missing if name in missing] == list(dict.fromkeys(missing))
    assert all(name in {*INPUT_CELLS, *missing} for name in cost.missing)
    assert cost.complete is not bool(cost.missing)


def is_exact_or_rounded(exact, decimal, rounded):
    finite = is_finite_divisor(exact.denominator)
    return rounded is not finite and (Fraction(decimal) == exact if finite else abs(Fraction(decimal) - exact) <= Fraction(1, 2 * 10**18))


@given(usages())
def test_each_unit_is_billed_exactly_once(usage):
    cells = dict(usage.cells)
    assert len(cells) == len(usage.cells)
    assert min(cells.values(), default=1) > 0
    assert sum(cells.get(meter, 0) for meter in INPUT_CELLS) == usage.input
    assert sum(cells.get(meter, 0) for meter in OUTPUT_CELLS) == usage.output


untiered = st.lists(
    st.builds(a_rate, st.sampled_from(METERS), amounts, st.sampled_from([1, 1000, 2**29])), min_size=1, unique_by=lambda rate: rate.meter
)


@given(untiered, usages(overlapping=False), usages(overlapping=False))
def test_without_tiers_costs_add_up_and_more_never_costs_less(rates, left, right):
    combined = Usage.of({meter: getattr(left, meter) + getattr(right, meter) for meter in METERS if meter not in OVERLAPS})
    first, second, combined_cost = (Fraction(cost_of(a_price(*rates), usage, at=NOW).total) for usage in (left, right, combined))
    assert combined_cost == first + second
    assert combined_cost >= max(first, second)


def test_the_largest_cost_of_all_meters_is_exact_next_to_the_smallest_fraction():
    counts = METERS[METERS.index("image") :]
    maximum = Usage(input=MAX_QUANTITY, output=MAX_QUANTITY, **dict.fromkeys(counts, MAX_QUANTITY) | {"second": "999999999999.999"})
    large = [a_rate(meter, "999999999.999999999999999999", 1) for meter in METERS if meter not in ("output", "second")]
    fine = [a_rate("output", "0.000000000000000001", 2**29), a_rate("second", "0.000000000000000001", 2**29)]
    cost = cost_of(a_price(*large, *fine, surcharge_percent=Decimal("999.999")), maximum, at=NOW)
    exact = sum(Fraction(line.quantity) * Fraction(line.rate.amount) / line.rate.per for line in cost.lines)
    assert Fraction(cost.total) == exact * (1 + Fraction("999.999") / 100)
    assert Fraction(cost.surcharge) + exact == Fraction(cost.total)
    assert not cost.rounded
    assert len(format_for_storage(cost.total)) <= MAX_LENGTH


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


@pytest.mark.parametrize(("part", "whole"), [(meter, row.falls_back_to[0]) for meter, row in METER_TABLE.items() if row.falls_back_to])
def test_a_part_without_a_rate_is_billed_as_its_whole(part, whole):
    usage = Usage(**dict.fromkeys({part, *all_wholes(part)}, 10))
    cost = cost_of(a_price(a_rate(whole, "2", 1), media_at_text_rate=True), usage, at=NOW)
    assert [(line.billed_as, line.cost) for line in cost.lines if line.meter == part] == [(whole, 20)]


def all_wholes(part):
    return {whole for parent in METER_TABLE[part].parents for whole in (parent, *all_wholes(parent))}


@pytest.mark.parametrize("part", [meter for meter, row in METER_TABLE.items() if row.medium])
def test_media_have_no_text_rate_unless_the_price_says_so(part):
    usage = Usage(**dict.fromkeys({part, *all_wholes(part)}, 10))
    rates = [a_rate(meter, "2", 1) for meter in ("input", "cache_read", "output")]
    cost = cost_of(a_price(*rates), usage, at=NOW)
    assert (cost.total, cost.complete, cost.missing) == (0, False, (part,))
    assert cost_of(a_price(*rates, media_at_text_rate=True), usage, at=NOW).complete


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
        (Window((), time(), time()), "2026-11-21T00:00:00+00:00", True),
        (Window((5,), time(), time()), "2026-11-21T23:59:59+00:00", True),  # The whole of a Saturday.
        (Window((5,), time(), time()), "2026-11-22T00:00:00+00:00", False),
        (Window((), time(9), time(17), "Asia/Shanghai"), "2026-11-21T01:00:00+00:00", True),
        (Window((), time(9), time(17), "Asia/Shanghai"), "2026-11-21T09:00:00+00:00", False),
        (Window((), time(9), time(17), "America/New_York"), "2026-07-21T13:00:00+00:00", True),  # Summer time.
        (Window((), time(9), time(17), "America/New_York"), "2026-11-21T13:00:00+00:00", False),
        (Window((6,), time(), time(), "Asia/Shanghai"), "2026-11-21T16:00:00+00:00", True),  # Sunday in Shanghai.
    ],
)
def test_a_window_holds_by_the_clock_of_its_zone_and_of_utc_without_one(window, at, holds):
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


# The worked examples of pricing.md, section 5


def million(rates, tier="standard", above=None, when=()):
    return [a_rate(meter, amount, service_tier=tier, above=above, when=when) for meter, amount in rates.items()]


GEMINI = million({"input": "0.3", "cache_read": "0.03", "input_audio": "1", "cache_read_audio": "0.1", "output": "2.5"})
GEMINI_VIDEO = {
    "input": 3_297,
    "cache_read": 2_918,
    "input_audio": 321,
    "input_video": 2_893,
    "cache_read_audio": 284,
    "cache_read_video": 2_561,
    "output": 150,
    "reasoning": 95,
}
REALTIME = million(
    {"input": "4", "cache_read": "0.4", "input_audio": "32", "cache_read_audio": "0.4", "output": "16", "output_audio": "64"}
)
REALTIME_CALL = {"input": 1_000, "input_audio": 800, "cache_read": 200, "output": 100, "output_audio": 80}
US = (("region", "us"),)
HIGH, LARGE = ("quality", "high"), ("size", "1536x1024")
REGIONAL = [
    *million({"input": "10", "cache_read": "1", "cache_write": "12.5", "output": "50"}),
    *million({"input": "11", "cache_read": "1.1", "cache_write": "13.75", "output": "55"}, when=US),
    a_rate("web_search", "0.01", 1),
]
REGIONAL_CALL = {"input": 1_000, "cache_read": 200, "cache_write": 300, "output": 100, "web_search": 2}
IMAGES = [a_rate("image", "0.167", 1, when=(HIGH,)), a_rate("image", "0.25", 1, when=(HIGH, LARGE))]


@pytest.mark.parametrize(
    ("rates", "usage", "call", "total", "missing"),
    [
        (GEMINI, GEMINI_VIDEO, {"text": True}, "0.00062202", ()),
        (GEMINI, {k: v for k, v in GEMINI_VIDEO.items() if k not in OVERLAPS}, {"text": True}, "0.00080094", ("cache_read_audio",)),
        (GEMINI, GEMINI_VIDEO, {}, "0.00044559", ("input_video", "cache_read_video")),
        (REALTIME, REALTIME_CALL | {"cache_read_audio": 200}, {}, "0.02552", ()),
        (REALTIME, REALTIME_CALL, {}, "0.03112", ("cache_read_audio",)),
        (REALTIME, {"input": 800, "input_audio": 800, "cache_read": 200}, {}, "0.01928", ()),
        (
            million({"input": "2", "output": "12", "output_image": "120"}),
            {"input": 100, "output": 1_170, "output_image": 1_120},
            {},
            "0.1352",
            (),
        ),
        (million({"input": "2", "output": "12"}), {"input": 100, "output": 1_170, "output_image": 1_120}, {}, "0.0008", ("output_image",)),
        (
            million(
                {"input": "5", "cache_read": "1.25", "input_image": "8", "cache_read_image": "2", "output": "10", "output_image": "32"}
            ),
            {"input": 1_000, "cache_read": 200, "input_image": 300, "cache_read_image": 50, "output": 600, "output_image": 500},
            {},
            "0.0220375",
            (),
        ),
        (
            million({"input": "1", "cache_write": "1.25", "input_audio": "8"}),
            {"input": 1_000, "cache_write": 500, "input_audio": 500},
            {},
            "0.004625",
            ("input_audio",),
        ),
        (IMAGES, {"image": 2}, {"attributes": dict((HIGH, LARGE))}, "0.5", ()),
        (IMAGES, {"image": 2}, {"attributes": {"quality": "high", "size": "1024x1024"}}, "0.334", ()),
        (IMAGES, {"image": 2}, {}, "0", ("image when quality, size",)),
        (REGIONAL, REGIONAL_CALL, {"attributes": {"region": "us"}}, "0.035345", ()),
        (REGIONAL, REGIONAL_CALL, {}, "0.03395", ()),
        (
            [
                *million({"input": "2.5", "output": "15"}),
                *million({"input": "5", "output": "22.5"}, above=272_000),
                *million({"input": "1.25", "output": "7.5"}, "batch"),
                *million({"input": "2.5", "output": "11.25"}, "batch", 272_000),
            ],
            {"input": 300_000, "output": 10_000},
            {"service_tier": "batch"},
            "0.8625",
            (),
        ),
        (
            million({"input": "3", "output": "15", "cache_read": "0.3", "cache_write": "3.75", "cache_write_1h": "6"}),
            {"input": 130_213, "cache_read": 128_955, "cache_write": 1_253, "cache_write_1h": 253, "output": 500},
            {},
            "0.0514695",
            (),
        ),
        ([a_rate("second", "0.017", 60)], {"second": 120}, {}, "0.034", ()),
        ([a_rate("second", "0.017", 60)], {"second": 50}, {"rounded": True}, "0.014166666666666667", ()),
        ([a_rate("second", "0.034", 60)], {"second": 90}, {}, "0.051", ()),
        ([a_rate("second", "0.0001", 1)], {"second": "8.47"}, {}, "0.000847", ()),
        (
            [
                *million({"input": "1", "output": "2", "reasoning": "4"}),
                *million({"output": "3", "reasoning": "6"}, "priority"),
                a_rate("output", "1", window=NIGHT),
                a_rate("reasoning", "0.5", window=NIGHT),
            ],
            {"input": 100, "output": 80, "reasoning": 30},
            {"service_tier": "priority", "at": datetime(2026, 11, 21, 18, tzinfo=UTC)},
            "0.00043",
            (),
        ),
    ],
)
def test_the_worked_examples_of_the_design_come_out_exactly(rates, usage, call, total, missing):
    price = a_price(*rates, media_at_text_rate=call.get("text", False))
    cost = cost_of(
        price, Usage(**usage), at=call.get("at", NOW), service_tier=call.get("service_tier", "standard"), attributes=call.get("attributes")
    )
    assert (cost.total, cost.missing, cost.complete) == (Decimal(total), missing, not missing)
    assert cost.rounded is any(line.rounded for line in cost.lines) is call.get("rounded", False)


# Minimums and surcharges


def test_a_line_that_costs_something_costs_at_least_the_minimum():
    price = a_price(a_rate("image", "0.001", 1), a_rate("request", "0.5", 1), a_rate("page", "0", 1), minimum=Decimal("0.01"))
    cost = cost_of(price, Usage(image=2, request=1, page=5), at=NOW)
    assert [line.cost for line in cost.lines] == [Decimal("0.01"), Decimal("0.5"), 0]
    assert [line.is_minimum for line in cost.lines] == [True, False, False]
    assert cost.total == Decimal("0.51")


def test_a_surcharge_is_added_to_the_total_after_the_minimums_and_stated():
    price = a_price(a_rate("image", "0.001", 1), minimum=Decimal("0.01"), surcharge_percent=Decimal("5.5"))
    cost = cost_of(price, Usage(image=2), at=NOW)
    assert (cost.total, cost.surcharge) == (Decimal("0.01055"), Decimal("0.00055"))


def test_the_total_is_rounded_from_the_exact_sum_and_not_from_rounded_lines():
    price = a_price(a_rate("image", "1", 3), a_rate("page", "1", 3), a_rate("request", "1", 3))
    cost = cost_of(price, Usage(image=1, page=1, request=1), at=NOW)
    assert (cost.total, cost.rounded) == (1, False)
    assert [(str(line.cost), line.rounded) for line in cost.lines] == [("0.333333333333333333", True)] * 3


def test_a_tie_at_the_last_digit_rounds_to_the_even_one():
    half = cost_of(a_price(a_rate("image", "0.000000000000000001", 6)), Usage(image=3), at=NOW)
    assert (half.total, half.rounded) == (Decimal("0.0000000000000000005"), False)
    third = cost_of(a_price(a_rate("image", "0.000000000000000005", 6)), Usage(image=1), at=NOW)
    assert (third.total, third.rounded) == (Decimal("0.000000000000000001"), True)
