"""Usage of one call, by meter. Totals are inclusive: input includes cached tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypedDict, Unpack

from webapp.domain.shared.errors import FieldError, Invalid

MAX_QUANTITY = 10**12

# The whole of each part. A part is included in its whole, and is billed as its whole if it has no rate of its own.
PARENTS: Mapping[str, str] = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "input_image": "input",
    "reasoning": "output",
    "output_audio": "output",
}

# Alternative names that the HTTP API accepts.
METER_ALIASES: Mapping[str, str] = {"input_tokens": "input", "output_tokens": "output", "image_count": "image"}


class Quantities(TypedDict, total=False):
    """The arguments of `Usage`, in the order in which costs are itemized."""

    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    input_audio: int
    input_image: int
    output: int
    reasoning: int
    output_audio: int
    image: int
    request: int
    second: int
    character: int
    page: int
    web_search: int


METERS: tuple[str, ...] = tuple(Quantities.__annotations__)
METER_SET = frozenset(METERS)
TOKEN_METERS: tuple[str, ...] = METERS[: METERS.index("image")]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Quantities by meter: tokens, or counts for the meters from `image` on. Non-negative integers up to 10^12.

    Raises `Invalid` naming every meter that is out of range, of another type (bool, float, string), or smaller than its parts.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    input_image: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0
    image: int = 0
    request: int = 0
    second: int = 0
    character: int = 0
    page: int = 0
    web_search: int = 0
    _parts: list[tuple[str, int]] = field(init=False, repr=False, compare=False)

    # A call uses a few of the fifteen meters. So an instance holds only its arguments, and the class holds the zeros of the others.
    # Setting every field one by one, the usual way, would take longer than the cost calculation.
    def __init__(self, **arguments: Unpack[Quantities]) -> None:
        quantities: dict[str, int] = arguments  # type: ignore[assignment] # the same dict with a less specific type
        parts = []
        for meter, part_meters in _layout(tuple(quantities)):
            quantity = quantities.get(meter, 0)
            if type(quantity) is not int or quantity > MAX_QUANTITY:
                raise _invalid_usage(quantities)
            for part in part_meters:
                quantity -= quantities[part]
            if quantity < 0:  # Negative argument, or smaller than its parts.
                raise _invalid_usage(quantities)
            if quantity:
                parts.append((meter, quantity))
        parts.reverse()
        state = self.__dict__
        state.update(quantities)
        state["_parts"] = parts

    def parts(self) -> list[tuple[str, int]]:
        """Return the quantities without overlaps, so that each unit is billed once. Unused meters are left out."""
        return self._parts.copy()

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

    def as_dict(self) -> dict[str, int]:
        """Return the used meters."""
        return {meter: quantity for meter in METERS if (quantity := getattr(self, meter))}


@lru_cache(maxsize=1_024)
def _layout(meters: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each meter with its parts, last meter first, so that parts are checked before their wholes.

    The result is cached for all usages of the same meters.
    """
    if unknown := set(meters) - METER_SET:
        raise TypeError(f"Usage.__init__() got an unexpected keyword argument {min(unknown)!r}")
    used = {*meters, *(PARENTS[meter] for meter in meters if meter in PARENTS)}
    return tuple((meter, tuple(part for part in meters if PARENTS.get(part) == meter)) for meter in reversed(METERS) if meter in used)


def _invalid_usage(quantities: Mapping[str, int]) -> Invalid:
    errors = [
        FieldError(f"usage.{meter}", f"must be a whole number from 0 to {MAX_QUANTITY:,}")
        for meter in METERS
        if type(quantity := quantities.get(meter, 0)) is not int or not 0 <= quantity <= MAX_QUANTITY
    ]
    errors = errors or list(_contradictions({meter: quantities.get(meter, 0) for meter in METERS}))
    return Invalid("; ".join(f"{error.field} {error.message}" for error in errors), errors)


def _contradictions(used: Mapping[str, int]) -> Iterator[FieldError]:
    if used["cache_read"] + used["cache_write"] + used["input_audio"] + used["input_image"] > used["input"]:
        parts = "cache_read + cache_write + input_audio + input_image"
        yield FieldError("usage.input", f"is smaller than its parts ({parts}); input counts every input token, cached ones included")
    if used["cache_write_1h"] > used["cache_write"]:
        yield FieldError("usage.cache_write", "is smaller than cache_write_1h, which is a part of it")
    if used["reasoning"] + used["output_audio"] > used["output"]:
        yield FieldError("usage.output", "is smaller than its parts (reasoning + output_audio); output counts every output token")
