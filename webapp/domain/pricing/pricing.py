"""Prices and costs: dated sets of rates, and the exact, itemized cost of a usage at a time (design: pricing.md)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from webapp.domain.pricing.usage import METERS, PARENTS, Usage
from webapp.domain.shared.money import EXACT, ZERO

MINUTES_PER_WEEK = 7 * 24 * 60
STANDARD = "standard"
SERVICE_TIERS = (STANDARD, "batch", "flex", "priority")
PRICE_STATES = ("priced", "free", "unknown")
SOURCE_KINDS = ("manual", "seed", "catalog", "import")


class Window(NamedTuple):
    """The times at which an off-peak rate applies: days of the week (0 is Monday; empty means every day) and hours, in UTC.

    `start` is inclusive, `end` exclusive. A window that ends before it starts runs over midnight and belongs to the day of its start.
    """

    days: tuple[int, ...]
    start: time
    end: time

    def contains(self, at: datetime) -> bool:
        utc = at.astimezone(UTC)
        clock, day = utc.time(), utc.weekday()
        if self.start < self.end:
            return self.start <= clock < self.end and self._includes_day(day)
        return (clock >= self.start and self._includes_day(day)) or (clock < self.end and self._includes_day((day - 1) % 7))

    def overlaps(self, window: "Window") -> bool:
        """Return whether both windows include the same minute of a week."""
        return any(
            (begin - second_begin) % MINUTES_PER_WEEK < second_length or (second_begin - begin) % MINUTES_PER_WEEK < length
            for begin, length in self._spans()
            for second_begin, second_length in window._spans()
        )

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield the minute of the week at which the window starts and its length in minutes, for each day."""
        start, end = (clock.hour * 60 + clock.minute for clock in (self.start, self.end))
        for day in self.days or range(7):
            yield day * 24 * 60 + start, (end - start) % (24 * 60)

    def _includes_day(self, day: int) -> bool:
        return not self.days or day in self.days


class Rate(NamedTuple):
    """`amount` of the price's currency per `per` units of the meter, for requests with more than `above` input tokens."""

    meter: str
    amount: Decimal
    per: int
    above: int | None = None
    service_tier: str = STANDARD
    window: Window | None = None

    @property
    def unit(self) -> Decimal:
        """The exact price of one unit. It is finite, because `per` has only the factors 2 and 5."""
        return EXACT.divide(self.amount, Decimal(self.per))


class Offer(NamedTuple):
    """A rate prepared for arithmetic."""

    above: int  # -1 if there is no threshold, so that every total exceeds it.
    unit: Decimal
    rate: Rate

    @property
    def is_steady(self) -> bool:
        """Whether the rate applies at all times and to requests of any size."""
        return self.above < 0 and self.rate.window is None


class PriceSource(NamedTuple):
    """The source of a price."""

    kind: str = "manual"
    name: str | None = None
    url: str | None = None
    verified_at: datetime | None = None


MANUAL_SOURCE = PriceSource()

MeterOffers = Mapping[str, tuple[Offer, ...]]
Offers = Mapping[str, MeterOffers]
SteadyOffers = Mapping[str, Mapping[str, Offer]]


@dataclass(frozen=True)
class Price:
    """A dated, immutable set of rates. In force from `effective_from` to just before `effective_to` (None: open-ended)."""

    state: str
    effective_from: datetime
    currency: str
    rates: tuple[Rate, ...]
    source: PriceSource = MANUAL_SOURCE
    id: int | None = None
    effective_to: datetime | None = None
    corrects: int | None = None
    note: str = ""
    cancels: bool = False  # The row cancels the scheduled price that it corrects, and states the rates that stay in force.

    # Computed on first use. Most prices in a registry are history, and computing them all would slow a snapshot build by a factor of four.
    @cached_property
    def offers(self) -> Offers:
        return offers_of(self.rates)

    @cached_property
    def steady(self) -> SteadyOffers:
        return steady_of(self.offers)


class CostLine(NamedTuple):
    """One meter of a cost: `cost = quantity x amount / per`, exact. `billed_as` names the meter whose rate was used."""

    meter: str
    quantity: int
    rate: Rate
    cost: Decimal

    @property
    def billed_as(self) -> str:
        return self.rate.meter


class Cost(NamedTuple):
    """The cost of a usage at a time. `total` is None if the price is unknown; `complete` is false if a rate is missing."""

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


def offers_of(rates: Iterable[Rate]) -> Offers:
    """Return the rates by service tier and meter, highest threshold first."""
    offers: dict[str, dict[str, list[Offer]]] = {}
    for rate in rates:
        above = -1 if rate.above is None else rate.above
        offers.setdefault(rate.service_tier, {}).setdefault(rate.meter, []).append(Offer(above, rate.unit, rate))
    return {tier: {meter: _sort_offers(meter_offers) for meter, meter_offers in meters.items()} for tier, meters in offers.items()}


def _sort_offers(offers: list[Offer]) -> tuple[Offer, ...]:
    # A rate with a window comes before a rate without one, so that the first match is the most specific.
    return tuple(offers) if len(offers) == 1 else tuple(sorted(offers, key=lambda offer: (offer.rate.window is None, -offer.above)))


def steady_of(offers: Offers) -> SteadyOffers:
    """Return the offer of each meter, by service tier, if it does not depend on the time and the size of the request.

    Almost all rates are of this kind. `_offer` searches for the others.
    """
    standard = offers.get(STANDARD, _NO_OFFERS)
    return {tier: _steady(offered, standard) for tier, offered in offers.items()}


def _steady(offered: MeterOffers, standard: MeterOffers) -> Mapping[str, Offer]:
    steady: dict[str, Offer] = {}
    for meter in METERS:  # METERS lists wholes before their parts.
        candidates = offered.get(meter) or standard.get(meter)
        if candidates is None:
            if whole := steady.get(PARENTS.get(meter, "")):
                steady[meter] = whole
        elif len(candidates) == 1 and candidates[0].is_steady:
            steady[meter] = candidates[0]
    return steady


def timeline(prices: Iterable[Price]) -> tuple[Price, ...]:
    """Return the prices in force, oldest first, each ending where the next starts. Corrections replace the prices they correct.

    Where a price was canceled, the price before it continues, whatever that becomes later.
    """
    listed = list(prices)
    corrected = {price.corrects for price in listed}
    effective = (price for price in listed if not price.cancels and (price.id is None or price.id not in corrected))
    current = sorted(effective, key=lambda price: price.effective_from)
    if len(current) < 2:
        return tuple(current)
    ends = [price.effective_from for price in current[1:]] + [None]
    return tuple(with_end(price, end) for price, end in zip(current, ends, strict=True))


def with_end(price: Price, end: datetime | None) -> Price:
    """Return the same price with a different end."""
    if price.effective_to == end:
        return price
    return Price(
        state=price.state,
        effective_from=price.effective_from,
        currency=price.currency,
        rates=price.rates,
        source=price.source,
        id=price.id,
        effective_to=end,
        corrects=price.corrects,
        note=price.note,
    )


def price_at(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price in force at `at`, or None before the first. `history` is a `timeline`."""
    # The newest price almost always matches. A bisection takes ten times as long, and histories are short.
    for price in reversed(history):
        if price.effective_from <= at:
            return price
    return None


def cost_of(price: Price | None, usage: Usage, *, at: datetime | None, service_tier: str = STANDARD, model: str | None = None) -> Cost:
    """Return the exact cost of a usage at this price.

    A missing or unknown price gives no total. A used meter without a rate goes to `missing`, and the rest is totaled.
    The request's total input selects the context tier, so price one request at a time and never summed usage.
    """
    if price is None or price.state == "unknown":
        currency, price_id = (price.currency, price.id) if price else (None, None)
        used = tuple(meter for meter, _ in usage.parts())
        return Cost(model, at, currency, None, False, price_id, "unknown", service_tier, (), used)
    if price.state == "free":
        return Cost(model, at, price.currency, ZERO, True, price.id, "free", service_tier, (), ())
    total, lines, missing = _itemize(price, usage, at, service_tier)
    # tuple.__new__ takes a third of the time of the NamedTuple constructor, and all arguments are positional. The cost lines use it too.
    return _new(Cost, (model, at, price.currency, total, not missing, price.id, "priced", service_tier, tuple(lines), tuple(missing)))


_NO_OFFERS: MeterOffers = {}
_NO_STEADY: Mapping[str, Offer] = {}
_new = tuple.__new__
_add, _multiply = EXACT.add, EXACT.multiply


def _itemize(price: Price, usage: Usage, at: datetime | None, service_tier: str) -> tuple[Decimal, list[CostLine], list[str]]:
    lines: list[CostLine] = []
    missing: list[str] = []
    total = ZERO
    if service_tier != STANDARD and service_tier not in price.offers:
        missing.append(f"service_tier:{service_tier}")
        service_tier = STANDARD
    steady = price.steady.get(service_tier, _NO_STEADY)
    for meter, quantity in usage.parts():
        offer = steady.get(meter) or _offer(meter, price.offers, service_tier, usage.input, at)
        if offer is None:
            missing.append(meter)
            continue
        cost = _multiply(offer.unit, quantity)
        total = _add(total, cost) if lines else cost
        lines.append(_new(CostLine, (meter, quantity, offer.rate, cost)))
    return total, lines, missing


def _offer(meter: str | None, offers: Offers, service_tier: str, total_input: int, at: datetime | None) -> Offer | None:
    """Return the offer for this meter or its nearest whole, in the requested service tier or else the standard tier."""
    standard = offers.get(STANDARD, _NO_OFFERS)
    requested = offers.get(service_tier, standard)
    while meter is not None:
        candidates = requested.get(meter)
        if candidates is not None and (offer := _first_match(candidates, total_input, at)):
            return offer
        if requested is not standard and (candidates := standard.get(meter)) and (offer := _first_match(candidates, total_input, at)):
            return offer
        meter = PARENTS.get(meter)
    return None


def _first_match(candidates: tuple[Offer, ...], total_input: int, at: datetime | None) -> Offer | None:
    for offer in candidates:
        if offer.above < total_input and (offer.rate.window is None or (at is not None and offer.rate.window.contains(at))):
            return offer
    return None


def context_tier_of(cost: Cost) -> int | None:
    """Return the highest context threshold that a line of this cost exceeds, or None for the base rates."""
    return max((line.rate.above for line in cost.lines if line.rate.above is not None), default=None)
