"""Repricing of recorded usage: the original cost and the cost at another price. Unknown costs are counted and are never zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.pricing.costs import NO_ATTRIBUTES, cost_of
from webapp.domain.pricing.pricing import Price
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import EXACT, ZERO


class RecordedCall(NamedTuple):
    """One recorded call. `usage` is None if it is unknown, and `total` is None unless the original cost is completely known."""

    group: str
    at: datetime
    usage: Usage | None
    service_tier: str
    attributes: Mapping[str, str]
    currency: str | None
    total: Decimal | None


@dataclass(slots=True)
class RepricingTotals:
    """The totals of a group of calls.

    Amounts cover the `compared` calls: both costs are complete and in one currency.
    """

    calls: int = 0
    compared: int = 0
    original: Decimal = ZERO
    repriced: Decimal = ZERO
    unknown_original: int = 0
    unknown_repriced: int = 0

    @property
    def difference(self) -> Decimal:
        return EXACT.subtract(self.repriced, self.original)


@dataclass(slots=True)
class Repricing:
    """The totals by group and overall."""

    currency: str
    overall: RepricingTotals = field(default_factory=RepricingTotals)
    groups: dict[str, RepricingTotals] = field(default_factory=dict)


def reprice(calls: Iterable[RecordedCall], price: Price) -> Repricing:
    """Reprice each call separately, because context tiers depend on the single call. The price applies to calls of any date."""
    result = Repricing(price.currency)
    for call in calls:
        total = _repriced_total(call, price)
        for outcome in (result.overall, result.groups.setdefault(call.group, RepricingTotals())):
            _add_call(outcome, call, total, price)
    return result


def _repriced_total(call: RecordedCall, price: Price) -> Decimal | None:
    if call.usage is None:
        return ZERO if price.state == "free" else None
    cost = cost_of(price, call.usage, at=call.at, service_tier=call.service_tier, attributes=call.attributes)
    return cost.total if cost.complete else None


def _add_call(outcome: RepricingTotals, call: RecordedCall, total: Decimal | None, price: Price) -> None:
    known = call.total is not None and (call.currency == price.currency or call.total == 0)
    outcome.calls += 1
    outcome.unknown_original += not known
    outcome.unknown_repriced += total is None
    if known and call.total is not None and total is not None:
        outcome.compared += 1
        outcome.original = EXACT.add(outcome.original, call.total)
        outcome.repriced = EXACT.add(outcome.repriced, total)


def attributes_of(document: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the attributes of the call from a stored cost."""
    return (document or {}).get("attributes") or NO_ATTRIBUTES


def service_tier_of(document: Mapping[str, object] | None) -> str:
    return str((document or {}).get("service_tier") or STANDARD)
