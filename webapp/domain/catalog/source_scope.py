"""Scopes of catalog sources: the rates and price fields that a source can state. A sync keeps everything else as it is."""

from collections.abc import Set
from dataclasses import dataclass, replace

from webapp.domain.pricing.meters import METERS
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD


@dataclass(frozen=True, slots=True)
class SourceScope:
    """What a source can state: meters, service tiers, and whether its rates can have thresholds, hours and conditions.

    A rate within the scope that the source does not state is gone. A rate outside the scope is not the source's business.
    """

    meters: Set[str]
    service_tiers: Set[str] = frozenset({STANDARD})
    thresholds: bool = False
    windows: bool = False
    conditions: bool = False

    def includes(self, rate: Rate) -> bool:
        return (
            rate.meter in self.meters
            and rate.service_tier in self.service_tiers
            and (self.thresholds or rate.above is None)
            and (self.windows or rate.window is None)
        )


FULL_SCOPE = SourceScope(frozenset(METERS), frozenset(SERVICE_TIERS), thresholds=True, windows=True, conditions=True)


def unstated_rates(current: Price | None, offered: Price | None, scope: SourceScope) -> tuple[Rate, ...]:
    """Return the current rates that the source cannot state and that therefore stay next to the offered ones.

    Rates of a price in another currency, or of a price that becomes free or unknown, cannot stay.
    """
    if current is None or offered is None or offered.state != "priced" or current.currency != offered.currency:
        return ()
    stated = {rate_key(rate) for rate in offered.rates}
    return tuple(rate for rate in current.rates if not scope.includes(rate) and rate_key(rate) not in stated)


def with_unstated(current: Price | None, offered: Price, scope: SourceScope) -> Price:
    """Return the offered price with the current rates that the source cannot state."""
    unstated = unstated_rates(current, offered, scope)
    return replace(offered, rates=(*offered.rates, *unstated)) if unstated else offered


def rate_key(rate: Rate) -> tuple[object, ...]:
    """Return what identifies a rate within a price: everything except its amount and its unit."""
    return rate[:1] + rate[3:]
