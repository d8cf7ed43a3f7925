"""Usage that applications report: when it may have happened, and how it adds up; exact, and nothing that is unknown counts as zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from webapp.domain.pricing.usage import METERS
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.money import EXACT, ZERO
from webapp.domain.shared.timestamps import format_timestamp

MAX_AGE, MAX_CLOCK_SKEW = timedelta(days=7), timedelta(minutes=5)
MAX_SPAN = timedelta(days=366)
GROUPS = ("model", "project", "token", "day")


@dataclass(frozen=True, slots=True)
class ReportedCall:
    """One reported call, as far as sums need it. `total` is None where no price was known."""

    group: str
    usage: Mapping[str, int]
    currency: str | None
    total: Decimal | None
    complete: bool


@dataclass(slots=True)
class UsageSummary:
    """What a group of calls used and cost. Amounts of different currencies are never added up.

    `unpriced` counts the calls whose price was unknown, `incomplete` those of whose cost a part is missing.
    """

    records: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)
    unpriced: int = 0
    incomplete: int = 0

    @property
    def complete(self) -> bool:
        return not (self.unpriced or self.incomplete)

    def add(self, one: ReportedCall) -> None:
        self.records += 1
        for meter, quantity in one.usage.items():
            self.usage[meter] = self.usage.get(meter, 0) + quantity
        if one.total is None:
            self.unpriced += 1
            return
        self.incomplete += not one.complete
        currency = one.currency or ""
        self.totals[currency] = EXACT.add(self.totals.get(currency, ZERO), one.total)

    def ordered_usage(self) -> dict[str, int]:
        """The quantities in the order of the meters."""
        return {meter: self.usage[meter] for meter in METERS if meter in self.usage}


def summarize_usage(records: Iterable[ReportedCall]) -> tuple[dict[str, UsageSummary], UsageSummary]:
    """The sums by group, and of all."""
    groups: dict[str, UsageSummary] = {}
    everything = UsageSummary()
    for one in records:
        groups.setdefault(one.group, UsageSummary()).add(one)
        everything.add(one)
    return groups, everything


def validate_call_time(at: datetime | None, now: datetime) -> datetime:
    """When it happened; now, if nobody says. A price is chosen by it, so it must be near. Raises `Invalid`."""
    if at is None:
        return now.replace(microsecond=0)
    if not now - MAX_AGE <= at <= now + MAX_CLOCK_SKEW:
        oldest, newest = ((now + offset).replace(microsecond=0) for offset in (-MAX_AGE, MAX_CLOCK_SKEW))
        span = f"from {format_timestamp(oldest)} to {format_timestamp(newest)}"
        raise Invalid.field("at", f"must lie {span}: usage is reported when it happens")
    return at


def require_valid_span(since: datetime, until: datetime) -> None:
    """Raises `Invalid` unless it is a span that can be summed."""
    if until <= since:
        raise Invalid.field("until", "must be after `since`")
    if until - since > MAX_SPAN:
        raise Invalid.field("since", f"must be at most {MAX_SPAN.days} days before `until`")
