"""Prices: dated sets of rates, prepared so that the rate of a call is found quickly (design: pricing.md, section 3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from webapp.domain.pricing.meters import METER_TABLE
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.windows import Window
from webapp.domain.shared.money import EXACT, ROUNDED_UNIT, from_fraction, is_finite_divisor

PRICE_STATES = ("priced", "free", "unknown")
SOURCE_KINDS = ("manual", "seed", "catalog", "import")
# What decides a cost besides the rates, with labels for users.
PRICE_TERMS: Mapping[str, str] = {
    "media_at_text_rate": "Media at the rate of text",
    "minimum": "Minimum of a line",
    "surcharge_percent": "Surcharge",
}
MILLION = 1_000_000

Conditions = tuple[tuple[str, str], ...]
RateKey = tuple[object, ...]


class Rate(NamedTuple):
    """`amount` of the price's currency per `per` units of the meter, for requests with more than `above` input tokens.

    `when` holds the attributes that the call must have, as (name, value) pairs sorted by name.
    """

    meter: str
    amount: Decimal
    per: int
    above: int | None = None
    service_tier: str = STANDARD
    window: Window | None = None
    when: Conditions = ()

    @property
    def exact_unit(self) -> Decimal | Fraction:
        """The exact price of one unit: a decimal if it is finite, else a fraction such as 17/60000."""
        if is_finite_divisor(self.per):
            return EXACT.divide(self.amount, Decimal(self.per))
        return Fraction(self.amount) / self.per

    @property
    def unit(self) -> Decimal:
        """The price of one unit for comparison and display. It is rounded if it is not finite, so it never enters a cost."""
        return ROUNDED_UNIT.divide(self.amount, Decimal(self.per))

    @property
    def per_million(self) -> Decimal | None:
        """The exact price of a million units, or None if it has no finite decimal expansion."""
        million = Fraction(self.exact_unit) * MILLION
        return from_fraction(million)[0] if is_finite_divisor(million.denominator) else None

    @property
    def is_plain(self) -> bool:
        """Whether the rate applies to every call of its service tier."""
        return self.above is None and self.window is None and not self.when


def rate_key(rate: Rate) -> RateKey:
    """Return what identifies a rate within a price: its meter and its conditions, without the amount and `per`."""
    return rate[:1] + rate[3:]


class Offer(NamedTuple):
    """A rate prepared for arithmetic."""

    above: int  # -1 if there is no threshold, so that every total exceeds it.
    unit: Decimal | Fraction
    rate: Rate


class PriceSource(NamedTuple):
    """The source of a price."""

    kind: str = "manual"
    name: str | None = None
    url: str | None = None
    verified_at: datetime | None = None


MANUAL_SOURCE = PriceSource()

Offers = tuple[Offer, ...]
# By meter. `candidates_of` explains the groups of offers. A steady rate has the price of one unit with it.
Candidates = Mapping[str, tuple[Offers, ...]]
SteadyRates = Mapping[str, tuple[Decimal | Fraction, Rate]]

# The meters whose rates can apply to a meter, nearest first, by `media_at_text_rate`.
SEARCHED_METERS: Mapping[bool, Mapping[str, tuple[str, ...]]] = {
    media_at_text_rate: {
        name: (name, *meter.falls_back_to) if media_at_text_rate or meter.medium is None else (name,) for name, meter in METER_TABLE.items()
    }
    for media_at_text_rate in (True, False)
}


@dataclass(frozen=True)
class Price:
    """A dated, immutable set of rates. In force from `effective_from` to just before `effective_to` (None: open-ended).

    `media_at_text_rate` bills media without a rate of their own at the rate of text. A line that costs more than 0 and less than `minimum`
    costs `minimum`. `surcharge_percent` is added to the total.
    """

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
    media_at_text_rate: bool = False
    minimum: Decimal | None = None
    surcharge_percent: Decimal | None = None

    # Computed on first use. Most prices in a registry are history, and computing them all would slow a snapshot build by a factor of four.
    @cached_property
    def candidates(self) -> Mapping[str, Candidates]:
        """The offers for each meter by service tier (`candidates_of`)."""
        return candidates_of(self.rates, self.media_at_text_rate)

    @cached_property
    def steady(self) -> Mapping[str, SteadyRates]:
        """The rates that apply to every call of their service tier, by service tier and meter. Almost all rates are of this kind."""
        return {tier: _steady(candidates) for tier, candidates in self.candidates.items()}

    @cached_property
    def needs_fractions(self) -> bool:
        """Whether costs need more than decimal multiplication and addition."""
        extras = self.minimum is not None or self.surcharge_percent is not None
        return extras or not all(is_finite_divisor(rate.per) for rate in self.rates)


def candidates_of(rates: Iterable[Rate], media_at_text_rate: bool) -> Mapping[str, Candidates]:
    """Return the offers for each meter, in the order in which they are tried, by service tier.

    They are in groups: those of the meter itself, and then those of each meter that it falls back to. A group has the offers of the
    service tier first and then the standard ones, each the most specific first.
    """
    offers = _offers_of(rates)
    standard, searched = offers.get(STANDARD, {}), SEARCHED_METERS[media_at_text_rate]
    return {tier: _candidates(tier_offers, {} if tier == STANDARD else standard, searched) for tier, tier_offers in offers.items()}


def _offers_of(rates: Iterable[Rate]) -> Mapping[str, Mapping[str, Offers]]:
    """Return the rates by service tier and meter, the most specific first."""
    offers: dict[str, dict[str, list[Offer]]] = {}
    for rate in rates:
        above = -1 if rate.above is None else rate.above
        offers.setdefault(rate.service_tier, {}).setdefault(rate.meter, []).append(Offer(above, rate.exact_unit, rate))
    return {tier: {meter: _sort_offers(meter_offers) for meter, meter_offers in meters.items()} for tier, meters in offers.items()}


def _sort_offers(offers: list[Offer]) -> Offers:
    """Return the offers so that the first one that fits a call decides: most conditions, then a window, then the highest threshold."""
    if len(offers) == 1:
        return tuple(offers)
    return tuple(sorted(offers, key=lambda offer: (-len(offer.rate.when), offer.rate.window is None, -offer.above)))


def _candidates(offers: Mapping[str, Offers], standard: Mapping[str, Offers], searched: Mapping[str, tuple[str, ...]]) -> Candidates:
    groups = {meter: offers.get(meter, ()) + standard.get(meter, ()) for meter in offers.keys() | standard.keys()}
    return {
        meter: tuple([groups[name] for name in names if name in groups])
        for meter, names in searched.items()
        if not groups.keys().isdisjoint(names)
    }


def _steady(candidates: Candidates) -> SteadyRates:
    first_offers = {meter: groups[0][0] for meter, groups in candidates.items()}
    return {meter: (offer.unit, offer.rate) for meter, offer in first_offers.items() if offer.rate.is_plain}


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
    return replace(price, effective_to=end)


def price_at(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price in force at `at`, or None before the first. `history` is a `timeline`."""
    # The newest price almost always matches. A bisection takes ten times as long, and histories are short.
    for price in reversed(history):
        if price.effective_from <= at:
            return price
    return None
