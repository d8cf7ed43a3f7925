"""Usage: what one call consumed, by meter. Totals are inclusive: input holds cached tokens too."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from webapp.domain.errors import FieldError, Invalid

MAX_QUANTITY = 10**12

# Which meters are parts of which total: a part is inside its whole, and is billed as its whole when it has no rate of its own.
PARENTS: Mapping[str, str] = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "input_image": "input",
    "reasoning": "output",
    "output_audio": "output",
}

# The short names that the HTTP API takes as well.
SPELLINGS: Mapping[str, str] = {"input_tokens": "input", "output_tokens": "output", "image_count": "image"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Quantities by meter: tokens, or counts for the meters from `image` on. Non-negative integers up to 10^12.

    Raises `Invalid` naming every meter that is out of range, of another type (bool, float, string), or larger than its whole.
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

    def __post_init__(self) -> None:
        errors = [
            FieldError(f"usage.{meter}", f"must be a whole number from 0 to {MAX_QUANTITY:,}")
            for meter in METERS
            if type(quantity := getattr(self, meter)) is not int or not 0 <= quantity <= MAX_QUANTITY
        ]
        errors = errors or list(self._contradictions())
        if errors:
            raise Invalid("; ".join(f"{error.field} {error.message}" for error in errors), errors)

    def _contradictions(self) -> Iterator[FieldError]:
        if self.cache_read + self.cache_write + self.input_audio + self.input_image > self.input:
            parts = "cache_read + cache_write + input_audio + input_image"
            yield FieldError(
                "usage.input",
                f"is smaller than its parts ({parts}); input counts every input token, cached ones included",
            )
        if self.cache_write_1h > self.cache_write:
            yield FieldError("usage.cache_write", "is smaller than cache_write_1h, which is a part of it")
        if self.reasoning + self.output_audio > self.output:
            yield FieldError("usage.output", "is smaller than its parts (reasoning + output_audio); output counts every output token")

    def parts(self) -> list[tuple[str, int]]:
        """The quantities with overlaps taken out, so that each unit is billed once; meters that were not used are left out."""
        return [(meter, quantity) for meter, quantity in self._split() if quantity]

    def _split(self) -> tuple[tuple[str, int], ...]:
        uncached = self.input - self.cache_read - self.cache_write - self.input_audio - self.input_image
        return (
            ("input", uncached),
            ("cache_read", self.cache_read),
            ("cache_write", self.cache_write - self.cache_write_1h),
            ("cache_write_1h", self.cache_write_1h),
            ("input_audio", self.input_audio),
            ("input_image", self.input_image),
            ("output", self.output - self.reasoning - self.output_audio),
            ("reasoning", self.reasoning),
            ("output_audio", self.output_audio),
            ("image", self.image),
            ("request", self.request),
            ("second", self.second),
            ("character", self.character),
            ("page", self.page),
            ("web_search", self.web_search),
        )

    @classmethod
    def of(cls, quantities: Mapping[str, object]) -> "Usage":
        """Usage from a mapping of meters (or their HTTP spellings) to quantities. Raises `Invalid` for unknown meters."""
        named: dict[str, object] = {}
        for spelling, quantity in quantities.items():
            meter = SPELLINGS.get(spelling, spelling)
            if meter not in METER_SET:
                raise Invalid.field(f"usage.{spelling[:60]}", f"is not a meter; meters are {', '.join(METERS)}")
            if meter in named:
                raise Invalid.field(f"usage.{spelling}", f"is given twice: it is another name of {meter}")
            named[meter] = quantity
        return cls(**named)  # type: ignore[arg-type]  # the types are what __post_init__ checks

    def as_dict(self) -> dict[str, int]:
        """The meters that were used."""
        return {meter: quantity for meter in METERS if (quantity := getattr(self, meter))}


METERS: tuple[str, ...] = tuple(field.name for field in fields(Usage))
METER_SET = frozenset(METERS)
TOKEN_METERS: tuple[str, ...] = METERS[: METERS.index("image")]
