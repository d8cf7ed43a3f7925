"""The rates of many models by what they bill, sorted by the price of one unit, so that the nearest one is found without a scan."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.pricing.pricing import Price, Rate, RateKey, rate_key


class SiblingPrice(NamedTuple):
    """The price of one model, with the name to show. `model` identifies the model."""

    name: str
    price: Price
    model: object = None


class SiblingUnit(NamedTuple):
    """The price of one unit in a rate of a model."""

    unit: Decimal
    name: str
    model: object


class SiblingRates:
    """The rates above zero of some models. `excluding` gives the same rates without those of one model."""

    def __init__(self, prices: Iterable[SiblingPrice] = ()) -> None:
        units: dict[RateKey, list[SiblingUnit]] = defaultdict(list)
        for name, price, model in prices:
            for rate in price.rates if price.state == "priced" else ():
                if rate.amount > 0:
                    units[(price.currency, *rate_key(rate))].append(SiblingUnit(rate.unit, name, model))
        self._units: Mapping[RateKey, Sequence[SiblingUnit]] = {key: sorted(rows, key=lambda row: row.unit) for key, rows in units.items()}
        self._excluded: object = None

    def excluding(self, model: object) -> "SiblingRates":
        others = SiblingRates()
        others._units, others._excluded = self._units, model
        return others

    def neighbors(self, rate: Rate, currency: str) -> Iterator[SiblingUnit]:
        """Yield the next lower and the next higher unit price of another model for the same usage. An equal one counts as higher."""
        units = self._units.get((currency, *rate_key(rate)), ())
        position = bisect_left(units, rate.unit, key=lambda row: row.unit)
        for candidates in (reversed(units[:position]), units[position:]):
            if nearest := next((row for row in candidates if self._excluded is None or row.model != self._excluded), None):
                yield nearest
