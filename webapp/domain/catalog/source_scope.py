"""Scopes of catalog sources: the rates and price fields that a source can state. A sync keeps everything else as it is."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.pricing import PRICE_TERMS, Price, Rate, rate_key
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD


@dataclass(frozen=True, slots=True)
class SourceScope:
    """What a source can state.

    That is: meters, service tiers, names of conditions (None: all), whether rates can have thresholds and hours, and fields of a price.

    A rate within the scope that the source does not state is gone. A rate outside the scope is not the source's business.
    """

    meters: Set[str]
    service_tiers: Set[str] = frozenset({STANDARD})
    thresholds: bool = False
    windows: bool = False
    conditions: Set[str] | None = frozenset()
    price_fields: Set[str] = frozenset()

    def includes(self, rate: Rate) -> bool:
        return (
            rate.meter in self.meters
            and rate.service_tier in self.service_tiers
            and (self.thresholds or rate.above is None)
            and (self.windows or rate.window is None)
            and (self.conditions is None or all(name in self.conditions for name, _ in rate.when))
        )


FULL_SCOPE = SourceScope(
    frozenset(METERS), frozenset(SERVICE_TIERS), thresholds=True, windows=True, conditions=None, price_fields=frozenset(PRICE_TERMS)
)


class Unstated(NamedTuple):
    """What a source cannot state of a current price: it stays in the proposed price."""

    rates: tuple[Rate, ...] = ()
    fields: Mapping[str, Any] = MappingProxyType({})


def find_unstated(current: Price | None, offered: Price | None, scope: SourceScope) -> Unstated:
    """Return what stays of the current price. Nothing stays of a price in another currency, or that becomes free or unknown."""
    if current is None or offered is None or {current.state, offered.state} != {"priced"} or current.currency != offered.currency:
        return Unstated()
    stated = {rate_key(rate) for rate in offered.rates}
    rates = tuple(rate for rate in current.rates if not scope.includes(rate) and rate_key(rate) not in stated)
    return Unstated(rates, {name: getattr(current, name) for name in PRICE_TERMS if name not in scope.price_fields})


def with_unstated(offered: Price, unstated: Unstated) -> Price:
    """Return the offered price with what the source cannot state."""
    return replace(offered, rates=(*offered.rates, *unstated.rates), **unstated.fields) if unstated != Unstated() else offered
