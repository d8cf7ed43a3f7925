"""Reported usage: the accepted call times, and exact sums in which an unknown price never counts as zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.spend import known_amount
from webapp.domain.pricing.usage import Quantity, quantity_document
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.money import add_to
from webapp.domain.shared.timestamps import format_timestamp

MAX_AGE, MAX_CLOCK_SKEW = timedelta(days=7), timedelta(minutes=5)
MAX_SPAN = timedelta(days=366)
GROUPS = ("model", "project", "token", "day")


@dataclass(frozen=True, slots=True)
class ReportedCall:
    """The part of a reported call that sums need. `total` is None if the price was unknown."""

    group: str
    usage: Mapping[str, int | str]
    currency: str | None
    total: Decimal | None
    complete: bool


@dataclass(slots=True)
class UsageSummary:
    """Usage and cost of a group of calls. Amounts of different currencies are never added.

    `unpriced` counts the calls with an unknown cost, `incomplete` the calls with a partly unknown cost.
    """

    records: int = 0
    usage: dict[str, Quantity] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)
    unpriced: int = 0
    incomplete: int = 0

    @property
    def complete(self) -> bool:
        return not (self.unpriced or self.incomplete)

    def add(self, call: ReportedCall) -> None:
        self.records += 1
        for meter, quantity in call.usage.items():
            self.usage[meter] = self.usage.get(meter, 0) + (Decimal(quantity) if isinstance(quantity, str) else quantity)
        amount = known_amount(call.total, complete=call.complete)
        if amount is None:
            self.unpriced += 1
            return
        self.incomplete += not call.complete
        add_to(self.totals, call.currency or "", amount)

    def ordered_usage(self) -> dict[str, int | str]:
        """Return the quantities for JSON, in the order of the meters."""
        return {meter: quantity_document(self.usage[meter]) for meter in METERS if meter in self.usage}


def summarize_usage(records: Iterable[ReportedCall]) -> tuple[dict[str, UsageSummary], UsageSummary]:
    """Return the sums by group and the overall sum."""
    groups: dict[str, UsageSummary] = {}
    overall = UsageSummary()
    for record in records:
        groups.setdefault(record.group, UsageSummary()).add(record)
        overall.add(record)
    return groups, overall


def validate_call_time(at: datetime | None, now: datetime) -> datetime:
    """Return the time of a call, by default now. Raises `Invalid` unless it is recent, because it selects the price."""
    if at is None:
        return now.replace(microsecond=0)
    if not now - MAX_AGE <= at <= now + MAX_CLOCK_SKEW:
        oldest, newest = ((now + offset).replace(microsecond=0) for offset in (-MAX_AGE, MAX_CLOCK_SKEW))
        span = f"from {format_timestamp(oldest)} to {format_timestamp(newest)}"
        raise Invalid.field("at", f"must lie {span}: usage is reported when it happens")
    return at


def require_valid_span(since: datetime, until: datetime) -> None:
    """Raise `Invalid` unless the span can be summed."""
    if until <= since:
        raise Invalid.field("until", "must be after `since`")
    if until - since > MAX_SPAN:
        raise Invalid.field("since", f"must be at most {MAX_SPAN.days} days before `until`")
