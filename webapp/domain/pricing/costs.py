"""Costs: the exact, itemized cost of a usage at a price (design: pricing.md, sections 3 and 4)."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from webapp.domain.pricing.cells import unclear_overlaps
from webapp.domain.pricing.pricing import Candidates, Offer, Price, Rate, SteadyRates
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.usage import Quantity, Usage
from webapp.domain.shared.money import EXACT, ZERO, from_fraction

# The entry of `missing` for a service tier without rates: this, and the tier.
TIER_PREFIX = "service_tier:"
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


class CostLine(NamedTuple):
    """One cell of a usage: `cost = quantity x amount / per`, exact unless `rounded`. `billed_as` names the meter whose rate was used."""

    meter: str
    quantity: Quantity
    rate: Rate
    cost: Decimal
    rounded: bool = False

    @property
    def billed_as(self) -> str:
        return self.rate.meter

    @property
    def is_minimum(self) -> bool:
        """Whether the line costs the minimum of the price, because its quantity costs less."""
        return not self.rounded and Fraction(self.cost) > Fraction(self.rate.exact_unit) * Fraction(self.quantity)


class Cost(NamedTuple):
    """The cost of a usage at a time. `total` is None if the price is unknown; `complete` is false if a rate is missing.

    `total` includes `surcharge`. It is `rounded` if the exact sum has no finite decimal expansion. `attributes` are those of the call.
    """

    model: str | None
    at: datetime | None
    currency: str | None
    total: Decimal | None
    complete: bool
    price_id: int | None
    price_state: str
    service_tier: str
    lines: tuple[CostLine, ...]
    missing: tuple[str, ...]
    surcharge: Decimal | None = None
    rounded: bool = False
    attributes: Mapping[str, str] = NO_ATTRIBUTES


class Call(NamedTuple):
    """What selects the rates of a call: its service tier, total input tokens, time and attributes."""

    service_tier: str
    input: int
    at: datetime | None
    attributes: Mapping[str, str]


def cost_of(  # noqa: PLR0913 # a price, a usage, and the four values that select the rates
    price: Price | None,
    usage: Usage,
    *,
    at: datetime | None,
    service_tier: str = STANDARD,
    attributes: Mapping[str, str] | None = None,
    model: str | None = None,
) -> Cost:
    """Return the exact cost of a usage at this price.

    A missing or unknown price gives no total. A used meter without a rate goes to `missing`, and the rest is totaled.
    The request's total input selects the context tier, so price one request at a time and never summed usage.
    """
    attributes = attributes or NO_ATTRIBUTES
    if price is None or price.state == "unknown":
        currency, price_id = (price.currency, price.id) if price else (None, None)
        used = tuple(meter for meter, _ in usage.cells)
        return Cost(model, at, currency, None, False, price_id, "unknown", service_tier, (), used, attributes=attributes)
    if price.state == "free":
        return Cost(model, at, price.currency, ZERO, True, price.id, "free", service_tier, (), (), attributes=attributes)
    tier = service_tier if service_tier == STANDARD or service_tier in price.candidates else STANDARD
    surcharge, rounded = None, False
    if price.needs_fractions:
        total, lines, missing, surcharge, rounded = _sum_exactly(price, usage, tier, at, attributes)
    else:
        total, lines, missing = _sum_decimals(price, usage, tier, at, attributes)
    if tier != service_tier:
        missing.insert(0, TIER_PREFIX + service_tier)
    if usage.overlapping is not None:
        call = Call(tier, usage.input, at, attributes)
        missing += [*usage.overlapping.ignored, *unclear_overlaps(usage.overlapping, partial(_unit_price, price, call), price.minimum)]
    # tuple.__new__ takes a third of the time of the NamedTuple constructor, and all arguments are positional. The cost lines use it too.
    return _new(
        Cost,
        (
            model,
            at,
            price.currency,
            total,
            not missing,
            price.id,
            "priced",
            service_tier,
            tuple(lines),
            tuple(dict.fromkeys(missing)) if missing else (),
            surcharge,
            rounded,
            attributes,
        ),
    )


_NO_STEADY: SteadyRates = {}
_NO_CANDIDATES: Candidates = {}
_new = tuple.__new__
_add, _multiply = EXACT.add, EXACT.multiply


def _sum_decimals(
    price: Price, usage: Usage, tier: str, at: datetime | None, attributes: Mapping[str, str]
) -> tuple[Decimal, list[CostLine], list[str]]:
    """Return the total and the lines of a price whose rates all have finite decimals, and the entries for `missing`."""
    steady = price.steady.get(tier, _NO_STEADY)
    total = ZERO
    lines: list[CostLine] = []
    missing: list[str] = []
    call = None
    for meter, quantity in usage.cells:
        unit_and_rate = steady.get(meter)
        if unit_and_rate is None:
            call = call or _new(Call, (tier, usage.input, at, attributes))
            offer = _find_offer(meter, price, call)
            if isinstance(offer, str):
                missing.append(offer)
                continue
            unit_and_rate = offer.unit, offer.rate
        unit, rate = unit_and_rate
        cost = _multiply(unit, quantity)  # type: ignore[arg-type] # a decimal, because the price needs no fractions
        total = _add(total, cost) if lines else cost
        lines.append(_new(CostLine, (meter, quantity, rate, cost, False)))
    return total, lines, missing


def _sum_exactly(
    price: Price, usage: Usage, tier: str, at: datetime | None, attributes: Mapping[str, str]
) -> tuple[Decimal, list[CostLine], list[str], Decimal | None, bool]:
    """Return the total, the lines, the entries for `missing`, the surcharge and whether the total is rounded.

    Each amount is rounded once from its exact value.
    """
    call = Call(tier, usage.input, at, attributes)
    exact_total = Fraction(0)
    lines: list[CostLine] = []
    missing: list[str] = []
    for meter, quantity in usage.cells:
        offer = _find_offer(meter, price, call)
        if isinstance(offer, str):
            missing.append(offer)
            continue
        exact = Fraction(offer.unit) * Fraction(quantity)
        if price.minimum is not None and 0 < exact < price.minimum:
            exact = Fraction(price.minimum)
        exact_total += exact
        cost, rounded = from_fraction(exact)
        lines.append(CostLine(meter, quantity, offer.rate, cost, rounded))
    surcharge = None
    if price.surcharge_percent is not None:
        exact_surcharge = exact_total * Fraction(price.surcharge_percent) / 100
        surcharge, _ = from_fraction(exact_surcharge)
        exact_total += exact_surcharge
    total, rounded = from_fraction(exact_total)
    return total, lines, missing, surcharge, rounded


def _find_offer(meter: str, price: Price, call: Call) -> Offer | str:
    """Return the offer for this meter or its nearest whole, in the requested service tier or else the standard tier.

    Returns the entry for `missing` if there is none.
    """
    for offers in price.candidates.get(call.service_tier, _NO_CANDIDATES).get(meter, ()):
        conditional: list[Rate] = []
        for offer in offers:
            if _is_in_force(offer, call):
                if _fits(offer.rate, call.attributes):
                    return offer
                conditional.append(offer.rate)
        if conditional:
            return _describe_conditions(conditional)
    return meter


def _is_in_force(offer: Offer, call: Call) -> bool:
    """Return whether an offer applies to a call of this size and time, apart from its conditions."""
    if offer.above >= call.input:
        return False
    window = offer.rate.window
    return window is None or (call.at is not None and window.contains(call.at))


def _fits(rate: Rate, attributes: Mapping[str, str]) -> bool:
    return not rate.when or all(attributes.get(attribute) == value for attribute, value in rate.when)


def _describe_conditions(rates: list[Rate]) -> str:
    """Return the entry of `missing` for a meter whose rates all have conditions that the call does not meet."""
    names = {attribute for rate in rates for attribute, _ in rate.when}
    return f"{rates[0].meter} when {', '.join(sorted(names))}"


def _unit_price(price: Price, call: Call, meter: str) -> Fraction | None:
    offer = _find_offer(meter, price, call)
    return None if isinstance(offer, str) else Fraction(offer.unit)


def context_tier_of(cost: Cost) -> int | None:
    """Return the highest context threshold that a line of this cost exceeds, or None for the base rates."""
    return max((line.rate.above for line in cost.lines if line.rate.above is not None), default=None)
