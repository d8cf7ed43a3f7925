"""Usage of one call, by meter. Totals are inclusive: input includes cached tokens (design: pricing.md, section 2)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TypedDict, Unpack

from webapp.domain.pricing.cells import OverlappingInput, input_cells, split_overlapping_input
from webapp.domain.pricing.meters import FRACTIONAL_METERS, MEDIA, METER_SET, METERS
from webapp.domain.shared.errors import FieldError, Invalid, Malformed
from webapp.domain.shared.money import format_decimal

MAX_QUANTITY = 10**12
# The seconds of a call may have a fraction. Every other meter counts whole units.
FRACTION = re.compile(r"[0-9]{1,30}(\.[0-9]{1,3}0{0,20})?", re.ASCII)

MAX_DIGITS = 30
INCLUSIVE_HINTS: Mapping[str, str] = {
    "input": "; input counts every input token, cached ones included",
    "output": "; output counts every output token",
}

# Alternative names that the HTTP API accepts.
METER_ALIASES: Mapping[str, str] = {"input_tokens": "input", "output_tokens": "output", "image_count": "image"}

Quantity = int | Decimal

CACHE_PARTS = frozenset({"cache_read", "cache_write", "cache_write_1h"})
MEDIA_INPUT = frozenset(f"input_{medium}" for medium in MEDIA)
INTERSECTIONS = frozenset(f"cache_read_{medium}" for medium in MEDIA)
# The sums of parts that fit into each whole, parts first. Cache states and media are two counts of the same tokens, so each has its own.
SUMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((f"input_{medium}", (f"cache_read_{medium}",)) for medium in MEDIA),
    ("cache_write", ("cache_write_1h",)),
    ("cache_read", tuple(f"cache_read_{medium}" for medium in MEDIA)),
    ("input", ("cache_read", "cache_write")),
    ("input", tuple(f"input_{medium}" for medium in MEDIA)),
    ("output", ("reasoning", *(f"output_{medium}" for medium in MEDIA))),
)


class Quantities(TypedDict, total=False):
    """The arguments of `Usage`."""

    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    input_audio: int
    input_image: int
    input_video: int
    cache_read_audio: int
    cache_read_image: int
    cache_read_video: int
    output: int
    reasoning: int
    output_audio: int
    output_image: int
    output_video: int
    image: int
    request: int
    second: int | Decimal | float | str
    character: int
    page: int
    web_search: int
    pixel: int
    session: int
    file_search: int
    code_execution: int
    gb_day: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Quantities by meter: tokens, or counts for the meters from `image` on. Integers from 0 to 10^12.

    `second` accepts up to three decimals, as a number or a decimal string. `cells` holds the used quantities without overlaps, so that each
    unit is billed once. Raises `Malformed` for a quantity of another type (bool, float, string), and `Invalid` naming every meter that is
    out of range or smaller than its parts.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    input_image: int = 0
    input_video: int = 0
    cache_read_audio: int = 0
    cache_read_image: int = 0
    cache_read_video: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0
    output_image: int = 0
    output_video: int = 0
    image: int = 0
    request: int = 0
    second: Quantity = 0
    character: int = 0
    page: int = 0
    web_search: int = 0
    pixel: int = 0
    session: int = 0
    file_search: int = 0
    code_execution: int = 0
    gb_day: int = 0
    stated: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    overlapping: OverlappingInput | None = field(default=None, init=False, repr=False, compare=False)
    cells: tuple[tuple[str, Quantity], ...] = field(init=False, repr=False, compare=False)

    # A call uses a few of the meters. So an instance holds only its arguments, and the class holds the zeros of the others.
    # Setting every field one by one, the usual way, would take longer than the cost calculation.
    def __init__(self, **arguments: Unpack[Quantities]) -> None:
        quantities: dict[str, int] = arguments  # type: ignore[assignment] # `second` is normalized below
        if "second" in quantities and type(quantities["second"]) is not int:
            quantities["second"] = _parse_fraction("second", quantities["second"])  # type: ignore[assignment]
        order, overlaps = _layout(tuple(quantities))
        cells: list[tuple[str, Quantity]] = []
        for meter, part_meters in order:
            quantity = quantities.get(meter, 0)
            if (type(quantity) is not int and meter != "second") or quantity > MAX_QUANTITY:
                raise _invalid_usage(quantities)
            for part in part_meters:
                quantity -= quantities[part]
            if quantity > 0:
                cells.append((meter, quantity))
            elif quantity < 0:  # Negative argument, or smaller than its parts.
                raise _invalid_usage(quantities)
        cells.reverse()
        state = self.__dict__
        state |= quantities
        state["cells"] = tuple(cells)
        if overlaps:
            self._split_input(quantities)

    def _split_input(self, quantities: Mapping[str, int]) -> None:
        """Replace the cells of the input, which is counted by cache state and by modality."""
        if errors := list(_contradictions(quantities)):
            raise Invalid.of(errors)
        split = split_overlapping_input(quantities)
        cells = dict(self.cells) | input_cells(split, quantities.get("cache_write_1h", 0))
        state = self.__dict__
        state["overlapping"] = split
        state["stated"] = INTERSECTIONS & quantities.keys()
        state["cells"] = tuple((meter, cells[meter]) for meter in METERS if cells.get(meter))

    @classmethod
    def of(cls, quantities: Mapping[str, object]) -> "Usage":
        """Return usage from a mapping of meters (or their HTTP spellings) to quantities. Raises `Invalid` for unknown meters."""
        if METER_SET.issuperset(quantities):
            return cls(**quantities)  # type: ignore[arg-type] # __init__ checks the types
        named: dict[str, object] = {}
        for spelling, quantity in quantities.items():
            meter = METER_ALIASES.get(spelling, spelling)
            if meter not in METER_SET:
                raise Invalid.field(f"usage.{spelling[:60]}", f"is not a meter; meters are {', '.join(METERS)}")
            if meter in named:
                raise Invalid.field(f"usage.{spelling}", f"is given twice: it is another name of {meter}")
            named[meter] = quantity
        return cls(**named)  # type: ignore[arg-type] # __init__ checks the types

    def as_dict(self) -> dict[str, Quantity]:
        """Return the used meters, and the overlaps that were stated as 0."""
        return {meter: quantity for meter in METERS if (quantity := getattr(self, meter)) or meter in self.stated}

    def document(self) -> dict[str, int | str]:
        """Return the same for JSON: a fraction is a decimal string."""
        return {meter: quantity_document(quantity) for meter, quantity in self.as_dict().items()}


def quantity_document(quantity: Quantity) -> int | str:
    """Return a quantity for JSON: an integer as a number, a fraction as a decimal string such as `8.47`."""
    whole = int(quantity)
    return whole if whole == quantity else format_decimal(Decimal(quantity))


@lru_cache(maxsize=1_024)
def _layout(meters: tuple[str, ...]) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], bool]:
    """Return the order in which the meters of a usage are checked, each with its parts, parts before wholes; and whether they overlap.

    They overlap if the input is counted by cache state and by modality at once. Then its meters are split separately.
    """
    if unknown := set(meters) - METER_SET:
        raise TypeError(f"Usage.__init__() got an unexpected keyword argument {min(unknown)!r}")
    used = set(meters)
    overlaps = bool(used & INTERSECTIONS or (used & CACHE_PARTS and used & MEDIA_INPUT))
    parts: dict[str, tuple[str, ...]] = dict.fromkeys(used, ())
    for whole, part_meters in SUMS:
        sent = tuple(part for part in part_meters if part in used)
        if sent and not (overlaps and whole != "output"):
            parts[whole] = parts.get(whole, ()) + sent
    return tuple((meter, parts[meter]) for meter in reversed(METERS) if meter in parts), overlaps


def _parse_fraction(meter: str, value: object) -> Quantity:
    """Return a quantity with up to three decimals, as an integer if it is one. Raises `Malformed`, or `Invalid` if it is negative."""
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() >= MAX_DIGITS:
        raise Invalid.field(f"usage.{meter}", _quantity_rule(meter))
    text = _plain_text(value)
    if text is None or not FRACTION.fullmatch(text.removeprefix("-")):
        raise Malformed.of([FieldError(f"usage.{meter}", _quantity_rule(meter))])
    quantity = Decimal(text)
    if quantity < 0:
        raise Invalid.field(f"usage.{meter}", _quantity_rule(meter))
    return int(quantity) if quantity == int(quantity) else quantity.normalize()


def _plain_text(value: object) -> str | None:
    """Return a number as text without an exponent, or None. A Decimal with a large exponent would be a text of many megabytes."""
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() and abs(value.adjusted()) < MAX_DIGITS else None
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str) else None


def _quantity_rule(meter: str) -> str:
    if meter in FRACTIONAL_METERS:
        return f"must be a number from 0 to {MAX_QUANTITY:,} with up to three decimals"
    return f"must be a whole number from 0 to {MAX_QUANTITY:,}"


def _invalid_usage(quantities: Mapping[str, Quantity]) -> Invalid:
    wrong_types = [
        FieldError(f"usage.{meter}", _quantity_rule(meter))
        for meter, quantity in quantities.items()
        if type(quantity) is not int and not (meter in FRACTIONAL_METERS and isinstance(quantity, Decimal))
    ]
    if wrong_types:
        return Malformed.of(wrong_types)
    out_of_range = [meter for meter in METERS if not 0 <= quantities.get(meter, 0) <= MAX_QUANTITY]
    return Invalid.of([FieldError(f"usage.{meter}", _quantity_rule(meter)) for meter in out_of_range] or _contradictions(quantities))


def _contradictions(quantities: Mapping[str, Quantity]) -> Iterator[FieldError]:
    """Yield an error for each whole that is smaller than its parts."""
    for whole, parts in SUMS:
        sent = [part for part in parts if quantities.get(part)]
        if sum(quantities[part] for part in sent) > quantities.get(whole, 0):
            smaller = f"{sent[0]}, which is a part of it" if len(sent) == 1 else f"its parts ({' + '.join(sent)})"
            yield FieldError(f"usage.{whole}", f"is smaller than {smaller}{INCLUSIVE_HINTS.get(whole, '')}")
