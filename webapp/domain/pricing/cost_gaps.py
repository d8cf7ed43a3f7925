"""What an incomplete cost leaves out or assumes, as sentences for users."""

from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from webapp.domain.pricing.costs import TIER_PREFIX, Cost
from webapp.domain.pricing.meters import METER_TABLE, label_of
from webapp.domain.pricing.rate_text import describe_missing
from webapp.domain.pricing.usage import INTERSECTIONS, MEDIA_INPUT, Usage

OVERLAP_METERS = INTERSECTIONS | MEDIA_INPUT


class CostGaps(NamedTuple):
    """The entries of a cost's `missing` by kind.

    `rates` name what has no rate. `overlaps` name the media whose overlap with the cache is not stated. `service_tier` has no rates.
    """

    rates: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    service_tier: str | None = None

    @property
    def prefix(self) -> str:
        """The words before the amount. It is a lower bound only if nothing else than rates is missing."""
        if self.overlaps or self.service_tier:
            return "about "
        return "at least " if self.rates else ""

    @property
    def missing_rates(self) -> str:
        return ", ".join(map(describe_missing, self.rates))

    def sentences(self) -> list[str]:
        sentences = [f"No rate is known for {self.missing_rates}: the rest is counted."] if self.rates else []
        sentences += [_describe_overlap(meter) for meter in self.overlaps]
        if self.service_tier:
            sentences.append(f"It has no {self.service_tier} rates: this is the cost at standard rates.")
        return sentences


def gaps_of(cost: Cost, usage: Usage) -> CostGaps:
    """Return the gaps of the cost of this usage."""
    return _gaps(cost.missing, {meter for meter, _ in usage.cells}, {line.meter for line in cost.lines})


def gaps_of_document(cost: Mapping[str, Any], usage: Mapping[str, int | str]) -> CostGaps:
    """Return the gaps of a stored cost of a stored usage."""
    cells = {meter for meter, _ in Usage.of(usage).cells}
    return _gaps(cost.get("missing", ()), cells, {line["meter"] for line in cost.get("lines", ())})


def _gaps(missing: Iterable[str], cells: Container[str], billed: Container[str]) -> CostGaps:
    """Sort the entries. An entry of a cell that was billed, or that has no tokens, cannot be about its rate."""
    rates: list[str] = []
    overlaps: list[str] = []
    tier = None
    for entry in missing:
        if entry.startswith(TIER_PREFIX):
            tier = entry.removeprefix(TIER_PREFIX)
        elif entry in OVERLAP_METERS and (entry in billed or entry not in cells):
            overlaps.append(entry)
        else:
            rates.append(entry)
    return CostGaps(tuple(rates), tuple(overlaps), tier)


def _describe_overlap(meter: str) -> str:
    stated = meter in INTERSECTIONS
    part = label_of(meter).lower() if stated else f"{METER_TABLE[meter].medium} written to the cache"
    next_step = f"State it as {meter}, also if it is 0." if stated else "No meter can state it."
    return f"It is not stated how many input tokens are {part}: the smallest number that fits is counted. {next_step}"
