"""Recorded usage at another price: what it cost, and what it would have cost. Exact, and what is unknown is counted and never zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.pricing.pricing import STANDARD, Price, cost_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import EXACT, ZERO


class RecordedCall(NamedTuple):
    """One recorded call: `total` is what it cost then, None where that was unknown."""

    group: str
    at: datetime
    usage: Usage
    service_tier: str
    currency: str | None
    total: Decimal | None


@dataclass(slots=True)
class RepricingTotals:
    """A group of calls. Amounts are of the calls that both prices can price completely and in one currency: `compared` of `calls`."""

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
    """By group, and in all."""

    currency: str
    overall: RepricingTotals = field(default_factory=RepricingTotals)
    groups: dict[str, RepricingTotals] = field(default_factory=dict)


def reprice(calls: Iterable[RecordedCall], price: Price) -> Repricing:
    """Each call on its own, because context tiers go by the single call. The price holds for all of them, whenever they were."""
    found = Repricing(price.currency)
    for call in calls:
        instead = cost_of(price, call.usage, at=call.at, service_tier=call.service_tier)
        total = instead.total if instead.complete else None
        for outcome in (found.overall, found.groups.setdefault(call.group, RepricingTotals())):
            _add_call(outcome, call, total, price)
    return found


def _add_call(outcome: RepricingTotals, call: RecordedCall, total: Decimal | None, price: Price) -> None:
    known = call.total is not None and (call.currency == price.currency or call.total == 0)
    outcome.calls += 1
    outcome.unknown_original += not known
    outcome.unknown_repriced += total is None
    if known and call.total is not None and total is not None:
        outcome.compared += 1
        outcome.original = EXACT.add(outcome.original, call.total)
        outcome.repriced = EXACT.add(outcome.repriced, total)


def usage_from(document: Mapping[str, int]) -> Usage:
    return Usage(**document)


def service_tier_of(document: Mapping[str, object] | None) -> str:
    return str((document or {}).get("service_tier") or STANDARD)
