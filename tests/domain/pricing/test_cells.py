"""Tests of input tokens that are counted by cache state and by modality, against all overlaps that fit small totals."""

from decimal import Decimal
from fractions import Fraction
from itertools import product

import pytest
from factories import NOW, a_price, a_rate
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from webapp.domain.pricing.costs import cost_of
from webapp.domain.pricing.meters import MEDIA
from webapp.domain.pricing.usage import Usage

small = st.integers(0, 3)
STATES = ("read", "written")
# The unit prices of cells without a rate: numbers that no combination of the other rates gives.
UNKNOWN_PRICES = [Fraction(10**9 + 7 * prime) for prime in (2, 3, 5, 7, 11, 13, 17, 19)]
CELLS = ("input", "cache_read", *(f"{whole}_{medium}" for whole in ("input", "cache_read") for medium in MEDIA))


@st.composite
def overlapping_usages(draw):
    quantities = {meter: draw(small) for meter in ("cache_read", "cache_write", "input_audio", "input_image", "input_video")}
    media = sum(quantities[f"input_{medium}"] for medium in MEDIA)
    least = max(quantities["cache_read"] + quantities["cache_write"], media)
    quantities["input"] = least + draw(small)
    for medium in MEDIA:
        if draw(st.booleans()):
            quantities[f"cache_read_{medium}"] = draw(st.integers(0, quantities[f"input_{medium}"]))
    assume(sum(quantities.get(f"cache_read_{medium}", 0) for medium in MEDIA) <= quantities["cache_read"])
    return quantities


def all_tables(quantities, stated):
    """Yield every split of the tokens that fits the totals: {(state, medium): overlap}."""
    media = {medium: quantities[f"input_{medium}"] for medium in MEDIA}
    places = list(product(STATES, MEDIA))
    for overlaps in product(*(range(media[medium] + 1) for _, medium in places)):
        table = dict(zip(places, overlaps, strict=True))
        sums = {state: sum(table[state, medium] for medium in MEDIA) for state in STATES}
        uncached_text = quantities["input"] - quantities["cache_read"] - quantities["cache_write"] - sum(media.values()) + sum(overlaps)
        if (
            sums["read"] <= quantities["cache_read"]
            and sums["written"] <= quantities["cache_write"]
            and uncached_text >= 0
            and all(table["read", medium] + table["written", medium] <= media[medium] for medium in MEDIA)
            and all(table["read", medium] == count for medium, count in stated.items())
        ):
            yield table


def cells_of(quantities, table):
    cells = {f"cache_read_{medium}": table["read", medium] for medium in MEDIA}
    cells |= {f"input_{medium}": quantities[f"input_{medium}"] - table["read", medium] - table["written", medium] for medium in MEDIA}
    cells["cache_read"] = quantities["cache_read"] - sum(table["read", medium] for medium in MEDIA)
    cells["cache_write"] = quantities["cache_write"]
    cells["input"] = quantities["input"] - sum(cells.values())
    return cells


def smallest(tables):
    """The smallest overlap. A forced one goes to reads before writes, and to video, then image, then audio."""
    order = [(state, medium) for state in STATES for medium in reversed(MEDIA)]
    return min(tables, key=lambda table: (sum(table.values()), [-table[place] for place in order]))


@given(overlapping_usages())
@settings(max_examples=300, deadline=None)
def test_the_smallest_overlap_that_fits_the_totals_is_assumed(quantities):
    stated = {medium: quantities[f"cache_read_{medium}"] for medium in MEDIA if f"cache_read_{medium}" in quantities}
    tables = list(all_tables(quantities, stated)) or list(all_tables(quantities, {}))
    expected = {cell: count for cell, count in cells_of(quantities, smallest(tables)).items() if count}
    assert dict(Usage(**quantities).cells) == expected


@given(overlapping_usages(), st.lists(st.sampled_from([None, 1, 2, 3]), min_size=len(CELLS), max_size=len(CELLS)))
@settings(max_examples=400, deadline=None)
def test_a_cost_is_complete_exactly_if_no_other_overlap_would_cost_something_else(quantities, amounts):
    stated = {medium: quantities[f"cache_read_{medium}"] for medium in MEDIA if f"cache_read_{medium}" in quantities}
    tables = list(all_tables(quantities, stated))
    ignored = [f"cache_read_{medium}" for medium in stated] if not tables else []
    rates = [a_rate(cell, str(amount), 1) for cell, amount in zip(CELLS, amounts, strict=True) if amount is not None]
    cost = cost_of(a_price(*rates, a_rate("cache_write", "5", 1)), Usage(**quantities), at=NOW)

    known = {rate.meter: Fraction(rate.amount) for rate in rates} | {"cache_write": Fraction(5)}
    known.setdefault("cache_read", known.get("input"))  # Text that was read from the cache falls back to the input rate.
    prices = {cell: known.get(cell) or UNKNOWN_PRICES[CELLS.index(cell)] for cell in (*CELLS, "cache_write")}
    if known["cache_read"] is None:
        prices["cache_read"] = UNKNOWN_PRICES[CELLS.index("cache_read")]
    totals = {
        sum(prices[cell] * count for cell, count in cells_of(quantities, table).items()) for table in tables or all_tables(quantities, {})
    }
    without_rate = {cell for cell, count in Usage(**quantities).cells if known.get(cell) is None}
    unclear = [name for name in cost.missing if name not in without_rate and name not in ignored]
    assert cost.complete is (len(totals) == 1 and not without_rate and not ignored)
    if not without_rate and not ignored:
        assert bool(unclear) is (len(totals) > 1)
    assert set(ignored) <= set(cost.missing)


def total_with_minimum(cells, prices, minimum):
    costs = [prices[cell] * count for cell, count in cells.items() if count]
    return sum(max(cost, minimum) for cost in costs if cost)


@given(overlapping_usages(), st.lists(st.sampled_from([0, 1, 2, 3]), min_size=len(CELLS), max_size=len(CELLS)), st.integers(1, 12))
@settings(max_examples=400, deadline=None)
def test_a_cost_with_a_minimum_is_complete_only_if_no_other_overlap_would_cost_something_else(quantities, amounts, minimum):
    stated = {medium: quantities[f"cache_read_{medium}"] for medium in MEDIA if f"cache_read_{medium}" in quantities}
    tables = list(all_tables(quantities, stated)) or list(all_tables(quantities, {}))
    prices = {**dict(zip(CELLS, amounts, strict=True)), "cache_write": 5}
    rates = [a_rate(cell, str(amount), 1) for cell, amount in prices.items()]
    cost = cost_of(a_price(*rates, minimum=Decimal(minimum)), Usage(**quantities), at=NOW)
    totals = {total_with_minimum(cells_of(quantities, table), prices, minimum) for table in tables}
    assert cost.total in totals
    if cost.complete:
        assert len(totals) == 1


# Of 1,000 tokens, 800 are audio and 200 were read from the cache, which costs as much as no cache: no overlap changes the sum of the rates.
MIXED = {"input": 1000, "input_audio": 800, "cache_read": 200}
SAME_RATES = [a_rate("input", "1"), a_rate("cache_read", "1"), a_rate("input_audio", "8"), a_rate("cache_read_audio", "8")]


@pytest.mark.parametrize(
    ("quantities", "minimum", "complete"),
    [
        (MIXED, None, True),
        (MIXED, "0.0001", False),  # Is there a line of audio that was read from the cache, and one of text that was?
        (MIXED | {"cache_read_audio": 50}, "0.0001", True),
        (MIXED | {"cache_read_audio": 50}, "5", True),  # Each line costs the minimum, however high.
        ({"input": 1000, "input_audio": 900, "cache_read": 500}, "0.0002", False),
        ({"input": 10, "input_audio": 10, "cache_read": 4}, "0.5", True),  # All is audio, so the overlap is certain.
    ],
)
def test_a_minimum_makes_an_overlap_unclear_unless_its_lines_are_certain(quantities, minimum, complete):
    cost = cost_of(a_price(*SAME_RATES, minimum=minimum and Decimal(minimum)), Usage(**quantities), at=NOW)
    assert (cost.complete, cost.missing) == (complete, () if complete else ("cache_read_audio",))


WRITES = [a_rate("input", "1"), a_rate("input_audio", "8"), a_rate("cache_write", "2")]


@pytest.mark.parametrize(
    ("minimum", "complete", "total"),
    [
        ("0.0003", False, "0.0047"),  # Text costs from 0.0004 to 0.0005, and audio from 0.0032 to 0.004.
        ("0.00045", False, "0.0049"),
        ("5", True, "15"),  # From 400 to 500 tokens of text and of audio were not cached: each line costs the minimum.
    ],
)
def test_lines_that_cost_the_minimum_for_every_overlap_are_certain(minimum, complete, total):
    usage = Usage(input=1000, input_audio=500, cache_write=100)
    cost = cost_of(a_price(*WRITES, minimum=Decimal(minimum)), usage, at=NOW)
    assert (cost.complete, cost.total) == (complete, Decimal(total))


def test_a_minimum_below_the_price_of_one_token_changes_no_total():
    rates = [rate._replace(per=1) for rate in SAME_RATES]
    assert cost_of(a_price(*rates, minimum=Decimal(1)), Usage(**MIXED), at=NOW).complete
