"""Splitting input tokens that are counted by cache state and by modality, so that each token is billed once.

The two counts overlap: a cached audio token is in `cache_read` and in `input_audio`. If a usage does not state the overlap, the smallest
one that fits the totals is assumed, and `unclear_overlaps` tells whether another one would cost something else (design: pricing.md,
section 2, "Cells").
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import permutations, product
from typing import NamedTuple

from webapp.domain.pricing.meters import MEDIA

FORCED_ORDER = ("video", "image", "audio")  # The media that a forced overlap goes to, first to last.
TEXT = "text"
CACHE_STATES = ("read", "written", "uncached")
MODALITIES = (TEXT, *MEDIA)

_NOTHING = Fraction(0)
Place = tuple[str, str]  # A cache state and a modality.
UnitPrice = Callable[[str], Fraction | None]


class OverlappingInput(NamedTuple):
    """Input tokens by (cache state, modality).

    `stated` holds the media whose overlap with `cache_read` the usage states. `ignored` names the stated overlaps that are too small for
    the totals and are therefore not used.
    """

    table: Mapping[Place, int]
    stated: frozenset[str]
    ignored: tuple[str, ...]

    def is_stated(self, place: Place) -> bool:
        return place[0] == "read" and place[1] in self.stated

    def free(self, state: str, modality: str) -> int:
        """Return the tokens of a place that could be in another one."""
        return 0 if self.is_stated((state, modality)) else self.table[state, modality]


def split_overlapping_input(quantities: Mapping[str, int]) -> OverlappingInput:
    """Return the input tokens of a valid usage by cache state and modality. `quantities` holds the meters that were sent."""
    stated = {medium: quantities[meter] for medium in MEDIA if (meter := f"cache_read_{medium}") in quantities}
    read, written, rest = _smallest_overlaps(quantities, stated)
    ignored: tuple[str, ...] = ()
    if rest:
        ignored = tuple(f"cache_read_{medium}" for medium in stated)
        stated = {}
        read, written, rest = _smallest_overlaps(quantities, stated)
    table = {("read", medium): read[medium] for medium in MEDIA} | {("written", medium): written[medium] for medium in MEDIA}
    table |= {("uncached", medium): quantities.get(f"input_{medium}", 0) - read[medium] - written[medium] for medium in MEDIA}
    table["read", TEXT] = quantities.get("cache_read", 0) - sum(read.values())
    table["written", TEXT] = quantities.get("cache_write", 0) - sum(written.values())
    table["uncached", TEXT] = quantities.get("input", 0) - sum(table.values())
    return OverlappingInput(table, frozenset(stated), ignored)


def input_cells(split: OverlappingInput, cache_write_1h: int) -> dict[str, int]:
    """Return the quantities of the input meters without overlaps. Tokens written to the cache have one cell for all modalities."""
    cells = {_cell_name(place): quantity for place, quantity in split.table.items() if place[0] != "written"}
    cells["cache_write"] = sum(split.table["written", modality] for modality in MODALITIES) - cache_write_1h
    cells["cache_write_1h"] = cache_write_1h
    return cells


def _smallest_overlaps(quantities: Mapping[str, int], stated: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int], int]:
    """Return the overlap of each medium with `cache_read` and with `cache_write`, and the tokens that would still be billed twice."""
    media = {medium: quantities.get(f"input_{medium}", 0) for medium in MEDIA}
    cache_read, cache_write = quantities.get("cache_read", 0), quantities.get("cache_write", 0)
    rest = max(0, cache_read + cache_write + sum(media.values()) - sum(stated.values()) - quantities.get("input", 0))
    read, room = dict(stated), cache_read - sum(stated.values())
    for medium in FORCED_ORDER:
        if medium not in stated:
            read[medium] = min(rest, media[medium], room)
            rest, room = rest - read[medium], room - read[medium]
    written, room = {}, cache_write
    for medium in FORCED_ORDER:
        written[medium] = min(rest, media[medium] - read[medium], room)
        rest, room = rest - written[medium], room - written[medium]
    return read, written, rest


def unclear_overlaps(split: OverlappingInput, unit_price: UnitPrice, minimum: Decimal | None = None) -> list[str]:
    """Return the meters that name the overlaps whose unknown size changes the total.

    The totals fix the sums of the rows and columns of the table. The total cost is the same for every table with these sums if and only
    if no exchange of tokens between its places changes it. `unit_price` returns the price of a cell after fallback, or None. With a
    `minimum` of a line, an overlap is also unclear if it is not certain on which side of the minimum a line is.
    """
    prices = {
        (state, modality): _NOTHING if state == "written" else _next_token_price(split, (state, modality), unit_price, minimum)
        for state, modality in product(CACHE_STATES, MODALITIES)
    }
    named: set[str] = set()
    for gaining, losing in _possible_exchanges(split):
        if _changes_total(prices, gaining, losing):
            named.update(_names_of_exchange(prices, {*gaining, *losing}))
    return sorted(named)


def _next_token_price(split: OverlappingInput, place: Place, unit_price: UnitPrice, minimum: Decimal | None) -> Fraction | None:
    """Return what one more token in this place costs, or None if there is no rate or if it depends on the number of tokens."""
    price = unit_price(_cell_name(place))
    if not price or minimum is None:
        return price
    least, most = _possible_quantities(split, place)
    if max(1, least) * price >= minimum:
        return price
    return _NOTHING if least and most * price <= minimum else None


def _possible_quantities(split: OverlappingInput, place: Place) -> tuple[int, int]:
    """Return the smallest and the largest number of tokens that can be in a place whose number is not stated."""
    rows = {state: sum(split.free(state, modality) for modality in MODALITIES) for state in CACHE_STATES}
    columns = {modality: sum(split.free(state, modality) for state in CACHE_STATES) for modality in MODALITIES}
    row, column = rows.pop(place[0]), columns.pop(place[1])
    elsewhere_in_row = sum(columns[modality] for modality in columns if not split.is_stated((place[0], modality)))
    elsewhere_in_column = sum(rows[state] for state in rows if not split.is_stated((state, place[1])))
    return max(0, row - elsewhere_in_row, column - elsewhere_in_column), min(row, column)


def _possible_exchanges(split: OverlappingInput) -> Iterator[tuple[list[Place], list[Place]]]:
    """Yield the places that can gain a token each and those that lose one, with equal sums of rows and columns."""
    for size in (2, 3):
        for states, modalities in product(permutations(CACHE_STATES, size), permutations(MODALITIES, size)):
            gaining = list(zip(states, modalities, strict=True))
            losing = list(zip(states, modalities[1:] + modalities[:1], strict=True))
            if not any(map(split.is_stated, gaining + losing)) and all(split.table[place] for place in losing):
                yield gaining, losing


def _changes_total(prices: Mapping[Place, Fraction | None], gaining: list[Place], losing: list[Place]) -> bool:
    """Return whether an exchange changes the total. A missing rate counts as different from every other rate."""
    gained, lost = [prices[place] for place in gaining], [prices[place] for place in losing]
    known_gained, known_lost = [price for price in gained if price is not None], [price for price in lost if price is not None]
    return len(known_gained) + len(known_lost) < len(gained) + len(lost) or sum(known_gained) != sum(known_lost)


def _names_of_exchange(prices: Mapping[Place, Fraction | None], places: set[Place]) -> Iterator[str]:
    """Yield a name for each overlap of a medium with a cache that changes the total on its own."""
    for state, modality in places:
        if state == "uncached" or modality == TEXT:
            continue
        if _changes_total(prices, [(state, modality), ("uncached", TEXT)], [(state, TEXT), ("uncached", modality)]):
            # An overlap with `cache_write` has no meter of its own, so it is named by its medium.
            yield f"cache_read_{modality}" if state == "read" else f"input_{modality}"


def _cell_name(place: Place) -> str:
    state, modality = place
    whole = "cache_read" if state == "read" else "input"
    return whole if modality == TEXT else f"{whole}_{modality}"
