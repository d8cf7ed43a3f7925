"""Usage of a vendor in Modeldesk's meters, with everything that the meters do not hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.usage import SUMS, Quantity, Usage
from webapp.domain.usage.usage_reader import CountError, IgnoredField, UsageReader

MAX_NAMED = 20
# Each whole with its parts, wholes first: the parts of a dropped part come later, and are dropped too.
_WHOLES = tuple(reversed(SUMS))
_PART_NAMES = frozenset(part for _, parts in _WHOLES for part in parts)

Counts = dict[str, int | None]
Meters = Mapping[str, Quantity | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseMetadata:
    """What a response reports next to its counts. The cost is in US dollars. A service tier of None is unknown.

    `iterations` is the number of requests that the vendor made for the response. Their counts are added up.
    """

    model: str | None = None
    response_id: str | None = None
    service_tier: str | None = None
    reported_cost: Decimal | None = None
    latency_ms: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    iterations: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedUsage:
    """The usage of one response. It is None if a total is unknown, which is not zero; `known` has the known meters in either case.

    `missing` names what makes a cost incomplete: `raw:` and a field of the vendor, or a total that is unknown.
    """

    usage: Usage | None = None
    known: Mapping[str, Quantity] = field(default_factory=dict)
    metadata: ResponseMetadata = ResponseMetadata()
    ignored: tuple[IgnoredField, ...] = ()
    missing: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    errors: tuple[CountError, ...] = ()

    @property
    def complete(self) -> bool:
        return self.usage is not None and not self.gaps

    @property
    def gaps(self) -> tuple[str, ...]:
        """Return the names of everything that makes a cost incomplete."""
        invalid = tuple(f"raw:{error.field}" for error in self.errors)
        return tuple(dict.fromkeys((*self.missing, *self.contradictions, *invalid)))[:MAX_NAMED]


UNKNOWN_USAGE = ConvertedUsage()


def context_tier_gaps(iterations: int, price: Price | None) -> tuple[str, ...]:
    """Return what a cost misses if its counts are the sum of several requests: context tiers depend on the size of each."""
    has_tiers = price is not None and any(rate.above is not None for rate in price.rates)
    return ("context_tier",) if iterations > 1 and has_tiers else ()


def build_usage(reader: UsageReader, meters: Meters, metadata: ResponseMetadata) -> ConvertedUsage:
    """Return the converted usage. Totals stay; parts that contradict them are dropped and named."""
    known = {meter: quantity for meter, value in meters.items() if (quantity := _check_quantity(reader, meter, value)) is not None}
    contradictions = [*reader.contradictions, *_drop_contradictions(known)]
    ignored = reader.report_unread()
    unknown = [total for total in ("input", "output") if total in meters and total not in known]
    return ConvertedUsage(
        usage=None if unknown else Usage.of(known),
        known=known,
        metadata=metadata,
        ignored=ignored,
        missing=tuple(dict.fromkeys([*unknown, *reader.missing])),
        contradictions=tuple(contradictions),
        errors=tuple(reader.errors),
    )


def _check_quantity(reader: UsageReader, meter: str, value: Quantity | None) -> Quantity | None:
    """Return a quantity that a meter can hold. The sum of counts can be above the largest one."""
    return value if isinstance(value, Decimal) else reader.to_count(meter, value)


def _drop_contradictions(known: dict[str, Quantity]) -> list[str]:
    """Drop the parts that exceed their whole. Return their names."""
    dropped = []
    for whole, parts in _WHOLES:
        if sum(known.get(part, 0) for part in parts) > known.get(whole, 0) and whole in {*known, *_PART_NAMES}:
            dropped += [part for part in parts if known.pop(part, 0)]
    return dropped
