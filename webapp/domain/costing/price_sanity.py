"""Sanity questions about a price before it is saved. A wrong unit shows as a factor of a thousand, a typing error as a zero.

A guard never rejects a price. The user confirms it, and `confirmation_key` binds the confirmation to this price and these questions.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.catalog.builtin import constants
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.costing.sibling_rates import SiblingPrice, SiblingRates
from webapp.domain.pricing.pricing import PRICE_TERMS, Price, Rate, RateKey, price_at, rate_key
from webapp.domain.pricing.rate_text import label_with_conditions as _label
from webapp.domain.pricing.serializers import billing_document, price_document
from webapp.domain.shared import money_text

NO_SIBLINGS = SiblingRates()
SUSPICIOUS_FACTOR = 100  # A price that differs by this factor or more needs a confirmation.


class NamedPrice(NamedTuple):
    """A price to compare with, and its name in a question: `the price now`, `GPT-4o mini`."""

    name: str
    price: Price


class SanityQuestion(NamedTuple):
    """One question that a user must confirm.

    `kind` is far_from_previous, far_from_siblings, far_from_catalogue or crosses_zero.
    """

    kind: str
    text: str


def list_questions(
    price: Price, previous: Price | None, siblings: SiblingRates = NO_SIBLINGS, builtin_price: NamedPrice | None = None
) -> list[SanityQuestion]:
    """Return all questions about a price. `siblings` are other models of the same provider and type."""
    questions = _zero_questions(price, previous)
    if previous is not None:
        questions += _factor_questions("far_from_previous", price, NamedPrice("the price before", previous))
    questions += _sibling_questions(price, siblings)
    if builtin_price is not None:
        questions += _factor_questions("far_from_catalogue", price, builtin_price)
    return questions


def list_model_questions(price: Price, model: ModelInfo, models: Iterable[ModelInfo], history: Sequence[Price]) -> list[SanityQuestion]:
    """Return all questions about a price of this model. `history` is its timeline, `models` the whole registry."""
    start = price.effective_from
    sibling_models = [
        sibling for sibling in models if (sibling.provider, sibling.type) == (model.provider, model.type) and sibling.ref != model.ref
    ]
    siblings = SiblingRates(
        SiblingPrice(sibling.display_name, sibling_price) for sibling in sibling_models if (sibling_price := sibling.price_at(start))
    )
    # A correction is not compared with the price that it corrects.
    before = [entry for entry in history if entry.id is None or entry.id != price.corrects]
    return list_questions(price, price_at(before, start), siblings, built_in_price(model.ref, start))


def built_in_price(ref: str, at: datetime) -> NamedPrice | None:
    """Return the price in the built-in catalog."""
    model = next((model for model in constants().models if model.ref == ref), None)
    price = model.price_at(at) if model else None
    return NamedPrice("the built-in catalogue says", price) if price else None


def confirmation_key(price: Price, questions: Iterable[SanityQuestion]) -> str:
    """Return a key for these costs and these questions. It does not match after the user edits the price again."""
    costs = json.dumps(billing_document(price_document(price)), sort_keys=True)
    confirmed_text = "\n".join([costs, *(question.text for question in questions)])
    return hashlib.sha256(confirmed_text.encode()).hexdigest()[:24]


def _zero_questions(price: Price, previous: Price | None) -> list[SanityQuestion]:
    """Return questions about changes to or from zero: the whole price first, then single rates."""
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
    crossing = [rate for rate in price.rates if (old := before.get(rate_key(rate))) and (rate.amount == 0) != (old.amount == 0)]
    return [
        SanityQuestion(
            "crosses_zero", f"{_label(rate)} {'will be free' if rate.amount == 0 else 'was free until now and will cost something'}."
        )
        for rate in crossing
    ]


def _factor_questions(kind: str, price: Price, reference: NamedPrice) -> list[SanityQuestion]:
    """Return a question for every rate, and for the minimum, that differs from the reference price by the factor or more."""
    if price.currency != reference.price.currency:
        return []
    comparisons = [(_label(rate), _describe_factor(rate.unit, _reference_unit(rate, reference.price))) for rate in price.rates]
    if price.minimum is not None and reference.price.minimum is not None:
        comparisons.append((PRICE_TERMS["minimum"], _describe_factor(price.minimum, reference.price.minimum)))
    return [SanityQuestion(kind, f"{label} is {words} {reference.name}. Is the unit right?") for label, words in comparisons if words]


def _reference_unit(rate: Rate, reference: Price) -> Decimal:
    """Return the unit price to compare a rate with: the rate with the same conditions, else the nearest rate of the meter, else 0."""
    if same := _rates_by_key(reference).get(rate_key(rate)):
        return same.unit
    units = [candidate.unit for candidate in reference.rates if candidate.meter == rate.meter and candidate.amount]
    return min(units, key=lambda unit: _factor(rate.unit, unit), default=Decimal(0))


def _sibling_questions(price: Price, siblings: SiblingRates) -> list[SanityQuestion]:
    """Return a question for each rate that is far even from the nearest sibling. Siblings can differ a lot on purpose."""
    questions = []
    for rate in price.rates:
        # A rate with conditions that no sibling has is compared with rates without conditions.
        neighbors = [*siblings.neighbors(rate, price.currency)] or siblings.neighbors(
            Rate(rate.meter, rate.amount, rate.per), price.currency
        )
        nearest = min(neighbors, key=lambda row: _factor(rate.unit, row.unit), default=None)
        if nearest is not None and (words := _describe_factor(rate.unit, nearest.unit)):
            text = f"{_label(rate)} is {words} {nearest.name}, the nearest model of this provider. Is the unit right?"
            questions.append(SanityQuestion("far_from_siblings", text))
    return questions


def _rates_by_key(price: Price) -> Mapping[RateKey, Rate]:
    return {rate_key(rate): rate for rate in price.rates}


def _factor(left: Decimal, right: Decimal) -> Decimal:
    if not left or not right:
        return Decimal(1)
    return money_text.quotient(max(left, right), min(left, right))


def _describe_factor(unit: Decimal, reference: Decimal) -> str:
    """Return text such as `150 times more than`.

    Return an empty string if the values are close, or if one is zero: `_zero_questions` covers that case.
    """
    if not unit or not reference or _factor(unit, reference) < SUSPICIOUS_FACTOR:
        return ""
    return f"{money_text.format_ratio(max(unit, reference), min(unit, reference))} times {'more' if unit > reference else 'less'} than"
