"""Tests of input tokens that are counted by cache state and by modality, against all overlaps that fit small totals."""

from fractions import Fraction
from itertools import product

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
