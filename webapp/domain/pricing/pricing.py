"""Prices and costs: dated sets of rates, and what a usage costs at a moment; exact and itemised (design: pricing.md)."""

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
    """When an off-peak rate holds: days of the week (0 is Monday; empty means every day) and hours, in UTC.

    `start` is inclusive, `end` exclusive. One that ends before it starts runs over midnight and belongs to the day it starts on.
    """

    days: tuple[int, ...]
    start: time
    end: time

    def contains(self, at: datetime) -> bool:
        moment = at.astimezone(UTC)
        clock, day = moment.time(), moment.weekday()
        if self.start < self.end:
            return self.start <= clock < self.end and self._includes_day(day)
        return (clock >= self.start and self._includes_day(day)) or (clock < self.end and self._includes_day((day - 1) % 7))

    def overlaps(self, other: "Window") -> bool:
        """Whether there is a minute of the week at which both hold."""
        return any(
            (begin - other_begin) % MINUTES_PER_WEEK < other_length or (other_begin - begin) % MINUTES_PER_WEEK < length
            for begin, length in self._spans()
            for other_begin, other_length in other._spans()
        )

    def _spans(self) -> Iterator[tuple[int, int]]:
        """The minute of the week at which it begins, and for how many minutes it holds, day by day."""
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
        """The exact price of one unit. Finite, because `per` has no factors but 2 and 5."""
        return EXACT.divide(self.amount, Decimal(self.per))


class Offer(NamedTuple):
    """A rate made ready for arithmetic."""

    above: int  # -1 where there is no threshold, so that any total is beyond it
    unit: Decimal
    rate: Rate

    @property
    def is_steady(self) -> bool:
        """Whether it holds at all times and for requests of any size."""
        return self.above < 0 and self.rate.window is None


class PriceSource(NamedTuple):
    """Where a price came from."""

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
    """A dated, immutable set of rates. In force from `effective_from` to just before `effective_to` (None: open)."""

    state: str
    effective_from: datetime
    currency: str
    rates: tuple[Rate, ...]
    source: PriceSource = MANUAL_SOURCE
    id: int | None = None
    effective_to: datetime | None = None
    corrects: int | None = None
    note: str = ""

    # Made when they are first asked for: most prices of a registry are history, and would make building a snapshot four times as long.
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
    """What a usage costs at a moment. `total` is None when the price is unknown; `complete` is false when a rate is missing."""

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
    """The rates by service tier and meter, the highest threshold first."""
    offers: dict[str, dict[str, list[Offer]]] = {}
    for rate in rates:
        above = -1 if rate.above is None else rate.above
        offers.setdefault(rate.service_tier, {}).setdefault(rate.meter, []).append(Offer(above, rate.unit, rate))
    return {tier: {meter: _sort_offers(found) for meter, found in meters.items()} for tier, meters in offers.items()}


def _sort_offers(found: list[Offer]) -> tuple[Offer, ...]:
    # A rate for certain hours comes before the one for all hours, so that the first that fits is the right one.
    return tuple(found) if len(found) == 1 else tuple(sorted(found, key=lambda offer: (offer.rate.window is None, -offer.above)))


def steady_of(offers: Offers) -> SteadyOffers:
    """By service tier, what each meter is billed at whatever the moment and the size of the request.

    This is nearly every rate there is; the search in `_offer` is left for the others.
    """
    standard = offers.get(STANDARD, _NO_OFFERS)
    return {tier: _steady(asked, standard) for tier, asked in offers.items()}


def _steady(asked: MeterOffers, standard: MeterOffers) -> Mapping[str, Offer]:
    steady: dict[str, Offer] = {}
    for meter in METERS:  # wholes come before their parts
        found = asked.get(meter) or standard.get(meter)
        if found is None:
            if whole := steady.get(PARENTS.get(meter, "")):
                steady[meter] = whole
        elif len(found) == 1 and found[0].is_steady:
            steady[meter] = found[0]
    return steady


def timeline(prices: Iterable[Price]) -> tuple[Price, ...]:
    """The prices that are in force, oldest first, each ending where the next begins; corrections replace what they correct."""
    found = list(prices)
    corrected = {price.corrects for price in found}
    kept = sorted((price for price in found if price.id is None or price.id not in corrected), key=lambda price: price.effective_from)
    if len(kept) < 2:
        return tuple(kept)
    ends = [price.effective_from for price in kept[1:]] + [None]
    return tuple(with_end(price, end) for price, end in zip(kept, ends, strict=True))


def with_end(price: Price, end: datetime | None) -> Price:
    """The same price, ending at that moment."""
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
    """The price in force at that moment, or None before the first. `history` is a `timeline`."""
    # From the newest, which is nearly always the one: a bisection costs ten times as much, and histories are short.
    for price in reversed(history):
        if price.effective_from <= at:
            return price
    return None


def cost_of(price: Price | None, usage: Usage, *, at: datetime | None, service_tier: str = STANDARD, model: str | None = None) -> Cost:
    """The exact cost of a usage at this price.

    A price that is missing or unknown gives no total; a used meter without a rate goes to `missing` and the rest is totalled.
    Context tiers are chosen by the request's total input, so price one request at a time and never summed usage.
    """
    if price is None or price.state == "unknown":
        currency, price_id = (price.currency, price.id) if price else (None, None)
        used = tuple(meter for meter, _ in usage.parts())
        return Cost(model, at, currency, None, False, price_id, "unknown", service_tier, (), used)
    if price.state == "free":
        return Cost(model, at, price.currency, ZERO, True, price.id, "free", service_tier, (), ())
    total, lines, missing = _itemize(price, usage, at, service_tier)
    # Made by the tuple below it, like the lines: that takes a third of the time, and nothing here needs its arguments sorted.
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
    """The rate for this meter, else of the meter it is a part of: of the asked service tier, else the standard one."""
    standard = offers.get(STANDARD, _NO_OFFERS)
    asked = offers.get(service_tier, standard)
    while meter is not None:
        found = asked.get(meter)
        if found is not None and (offer := _first_match(found, total_input, at)):
            return offer
        if asked is not standard and (found := standard.get(meter)) and (offer := _first_match(found, total_input, at)):
            return offer
        meter = PARENTS.get(meter)
    return None


def _first_match(found: tuple[Offer, ...], total_input: int, at: datetime | None) -> Offer | None:
    for offer in found:
        if offer.above < total_input and (offer.rate.window is None or (at is not None and offer.rate.window.contains(at))):
            return offer
    return None


def context_tier_of(cost: Cost) -> int | None:
    """The highest context threshold that a line of this cost is beyond, or None for the base rates."""
    return max((line.rate.above for line in cost.lines if line.rate.above is not None), default=None)
