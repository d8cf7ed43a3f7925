"""Questions about a price before it is saved: a unit that was mixed up shows as a factor of a thousand, a slip as a zero.

A guard never refuses. It asks, and the answer is for this very price: `Question.key` names what was asked and about which rates.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.pricing.meters import conditions_of, label_of
from webapp.domain.pricing.pricing import Price, Rate, price_at
from webapp.domain.shared import money_text
from webapp.domain.shared.money import plain

FAR = 100  # From this factor on a price is asked about.


class Known(NamedTuple):
    """A price to compare with, and how to name it: `the price now`, `GPT-4o mini`."""

    name: str
    price: Price


class Question(NamedTuple):
    """One thing that somebody has to say yes to. `kind` is far_from_previous, far_from_siblings, far_from_catalogue or crosses_zero."""

    kind: str
    text: str


def questions(price: Price, previous: Price | None, siblings: Sequence[Known] = (), catalogue: Known | None = None) -> list[Question]:
    """Everything to ask about a price. `siblings` are other models of the same provider and type."""
    asked = _crossing(price, previous)
    if previous is not None:
        asked += _far("far_from_previous", price, Known("the price before", previous))
    if siblings:
        asked += _far_from_all(price, siblings)
    if catalogue is not None:
        asked += _far("far_from_catalogue", price, catalogue)
    return asked


def about(price: Price, model: ModelInfo, models: Iterable[ModelInfo], history: Sequence[Price]) -> list[Question]:
    """Everything to ask about a price that is entered for this model. `history` is its timeline, `models` the whole registry."""
    start = price.effective_from
    others = [other for other in models if (other.provider, other.type) == (model.provider, model.type) and other.ref != model.ref]
    siblings = [Known(other.display_name, found) for other in others if (found := other.price_at(start)) and found.state == "priced"]
    before = [one for one in history if one.id is None or one.id != price.corrects]  # A correction is not compared with what it corrects.
    return questions(price, price_at(before, start), siblings, _in_catalogue(model.ref, start))


def _in_catalogue(ref: str, at: datetime) -> Known | None:
    """What the catalogue that ships with Modeldesk says."""
    model = next((model for model in constants().models if model.ref == ref), None)
    price = model.price_at(at) if model else None
    return Known("the built-in catalogue says", price) if price else None


def key_of(price: Price, asked: Iterable[Question]) -> str:
    """What a yes is good for: these rates and these questions, and nothing that is typed afterwards."""
    rates = [f"{rate.meter} {plain(rate.amount)} {rate.per} {rate.above} {rate.service_tier} {rate.window}" for rate in price.rates]
    said = "\n".join([price.state, price.currency, *rates, *(question.text for question in asked)])
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _crossing(price: Price, previous: Price | None) -> list[Question]:
    """To or from nothing: whole prices first, then single rates."""
    if previous is None or "unknown" in (price.state, previous.state):
        return []
    if price.state != previous.state:
        text = (
            "It was free until now and will cost something."
            if price.state == "priced"
            else "It costs something until now and will be free."
        )
        return [Question("crosses_zero", text)]
    before = _by_place(previous)
    crossed = [rate for rate in price.rates if (old := before.get(_place(rate))) and (rate.amount == 0) != (old.amount == 0)]
    return [
        Question("crosses_zero", f"{_name(rate)} {'will be free' if rate.amount == 0 else 'was free until now and will cost something'}.")
        for rate in crossed
    ]


def _far(kind: str, price: Price, other: Known) -> list[Question]:
    """Every rate that is a hundred times more or less than the other price's for the same thing."""
    if price.currency != other.price.currency:
        return []
    places = _by_place(other.price)
    found = ((rate, _times(rate.unit, places[_place(rate)].unit)) for rate in price.rates if _place(rate) in places)
    return [Question(kind, f"{_name(rate)} is {words} {other.name}. Is the unit right?") for rate, words in found if words]


def _far_from_all(price: Price, siblings: Sequence[Known]) -> list[Question]:
    """Siblings differ by much on purpose, so only what is far from the nearest of them is asked about."""
    asked = []
    for rate in price.rates:
        near = _nearest(rate, price.currency, siblings)
        if near is not None and (words := _times(rate.unit, near[1])):
            text = f"{_name(rate)} is {words} {near[0]}, the nearest model of this provider. Is the unit right?"
            asked.append(Question("far_from_siblings", text))
    return asked


def _nearest(rate: Rate, currency: str, siblings: Sequence[Known]) -> tuple[str, Decimal] | None:
    place = _place(rate)
    units = [(known.name, _by_place(known.price)[place].unit) for known in siblings if _has(known.price, currency, place)]
    return min(units, key=lambda found: _factor(rate.unit, found[1]), default=None)


def _has(price: Price, currency: str, place: tuple[object, ...]) -> bool:
    rate = _by_place(price).get(place)
    return price.currency == currency and rate is not None and rate.amount > 0


def _by_place(price: Price) -> Mapping[tuple[object, ...], Rate]:
    return {_place(rate): rate for rate in price.rates}


def _place(rate: Rate) -> tuple[object, ...]:
    """What a rate is for: meter, threshold, service tier and hours."""
    return rate[:1] + rate[3:]


def _factor(one: Decimal, other: Decimal) -> Decimal:
    if not one or not other:
        return Decimal(1)
    return money_text.times(max(one, other), min(one, other))


def _times(unit: Decimal, other: Decimal) -> str:
    """`150 times more than`, or nothing where the two are near each other or one of them is zero, which is asked about elsewhere."""
    if not unit or not other or _factor(unit, other) < FAR:
        return ""
    return f"{money_text.ratio(max(unit, other), min(unit, other))} times {'more' if unit > other else 'less'} than"


def _name(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter), *conditions_of(rate)])
