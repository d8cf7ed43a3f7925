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
from webapp.domain.pricing.meters import describe_conditions, label_of
from webapp.domain.pricing.pricing import Price, Rate, price_at
from webapp.domain.shared import money_text
from webapp.domain.shared.money import format_decimal

SUSPICIOUS_FACTOR = 100  # From this factor on a price is asked about.


class NamedPrice(NamedTuple):
    """A price to compare with, and how to name it: `the price now`, `GPT-4o mini`."""

    name: str
    price: Price


class SanityQuestion(NamedTuple):
    """One thing that somebody has to say yes to. `kind` is far_from_previous, far_from_siblings, far_from_catalogue or crosses_zero."""

    kind: str
    text: str


def list_questions(
    price: Price, previous: Price | None, siblings: Sequence[NamedPrice] = (), catalogue: NamedPrice | None = None
) -> list[SanityQuestion]:
    """Everything to ask about a price. `siblings` are other models of the same provider and type."""
    asked = _zero_questions(price, previous)
    if previous is not None:
        asked += _factor_questions("far_from_previous", price, NamedPrice("the price before", previous))
    if siblings:
        asked += _sibling_questions(price, siblings)
    if catalogue is not None:
        asked += _factor_questions("far_from_catalogue", price, catalogue)
    return asked


def list_model_questions(price: Price, model: ModelInfo, models: Iterable[ModelInfo], history: Sequence[Price]) -> list[SanityQuestion]:
    """Everything to ask about a price that is entered for this model. `history` is its timeline, `models` the whole registry."""
    start = price.effective_from
    others = [other for other in models if (other.provider, other.type) == (model.provider, model.type) and other.ref != model.ref]
    siblings = [NamedPrice(other.display_name, found) for other in others if (found := other.price_at(start)) and found.state == "priced"]
    before = [one for one in history if one.id is None or one.id != price.corrects]  # A correction is not compared with what it corrects.
    return list_questions(price, price_at(before, start), siblings, _built_in_price(model.ref, start))


def _built_in_price(ref: str, at: datetime) -> NamedPrice | None:
    """What the catalogue that ships with Modeldesk says."""
    model = next((model for model in constants().models if model.ref == ref), None)
    price = model.price_at(at) if model else None
    return NamedPrice("the built-in catalogue says", price) if price else None


def confirmation_key(price: Price, asked: Iterable[SanityQuestion]) -> str:
    """What a yes is good for: these rates and these questions, and nothing that is typed afterwards."""
    rates = [
        f"{rate.meter} {format_decimal(rate.amount)} {rate.per} {rate.above} {rate.service_tier} {rate.window}" for rate in price.rates
    ]
    said = "\n".join([price.state, price.currency, *rates, *(question.text for question in asked)])
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _zero_questions(price: Price, previous: Price | None) -> list[SanityQuestion]:
    """To or from nothing: whole prices first, then single rates."""
    if previous is None or "unknown" in (price.state, previous.state):
        return []
    if price.state != previous.state:
        text = (
            "It was free until now and will cost something."
            if price.state == "priced"
            else "It costs something until now and will be free."
        )
        return [SanityQuestion("crosses_zero", text)]
    before = _rates_by_key(previous)
    crossed = [rate for rate in price.rates if (old := before.get(_rate_key(rate))) and (rate.amount == 0) != (old.amount == 0)]
    return [
        SanityQuestion(
            "crosses_zero", f"{_rate_label(rate)} {'will be free' if rate.amount == 0 else 'was free until now and will cost something'}."
        )
        for rate in crossed
    ]


def _factor_questions(kind: str, price: Price, other: NamedPrice) -> list[SanityQuestion]:
    """Every rate that is a hundred times more or less than the other price's for the same thing."""
    if price.currency != other.price.currency:
        return []
    places = _rates_by_key(other.price)
    found = ((rate, _describe_factor(rate.unit, places[_rate_key(rate)].unit)) for rate in price.rates if _rate_key(rate) in places)
    return [SanityQuestion(kind, f"{_rate_label(rate)} is {words} {other.name}. Is the unit right?") for rate, words in found if words]


def _sibling_questions(price: Price, siblings: Sequence[NamedPrice]) -> list[SanityQuestion]:
    """Siblings differ by much on purpose, so only what is far from the nearest of them is asked about."""
    asked = []
    for rate in price.rates:
        near = _nearest_sibling(rate, price.currency, siblings)
        if near is not None and (words := _describe_factor(rate.unit, near[1])):
            text = f"{_rate_label(rate)} is {words} {near[0]}, the nearest model of this provider. Is the unit right?"
            asked.append(SanityQuestion("far_from_siblings", text))
    return asked


def _nearest_sibling(rate: Rate, currency: str, siblings: Sequence[NamedPrice]) -> tuple[str, Decimal] | None:
    place = _rate_key(rate)
    units = [(known.name, _rates_by_key(known.price)[place].unit) for known in siblings if _has_rate(known.price, currency, place)]
    return min(units, key=lambda found: _factor(rate.unit, found[1]), default=None)


def _has_rate(price: Price, currency: str, place: tuple[object, ...]) -> bool:
    rate = _rates_by_key(price).get(place)
    return price.currency == currency and rate is not None and rate.amount > 0


def _rates_by_key(price: Price) -> Mapping[tuple[object, ...], Rate]:
    return {_rate_key(rate): rate for rate in price.rates}


def _rate_key(rate: Rate) -> tuple[object, ...]:
    """What a rate is for: meter, threshold, service tier and hours."""
    return rate[:1] + rate[3:]


def _factor(one: Decimal, other: Decimal) -> Decimal:
    if not one or not other:
        return Decimal(1)
    return money_text.quotient(max(one, other), min(one, other))


def _describe_factor(unit: Decimal, other: Decimal) -> str:
    """`150 times more than`, or nothing where the two are near each other or one of them is zero, which is asked about elsewhere."""
    if not unit or not other or _factor(unit, other) < SUSPICIOUS_FACTOR:
        return ""
    return f"{money_text.format_ratio(max(unit, other), min(unit, other))} times {'more' if unit > other else 'less'} than"


def _rate_label(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter), *describe_conditions(rate)])
