"""Comparison of two prices of a model, rate by rate, for a catalog comparison."""

from collections.abc import Iterator
from typing import NamedTuple

from webapp.domain.catalog.catalog_guards import SECOND_SOURCE_TOLERANCE, GuardLimits, describe_move, is_same_rate
from webapp.domain.catalog.source_scope import Unstated
from webapp.domain.pricing.pricing import PRICE_TERMS, Price, Rate, RateKey, rate_key
from webapp.domain.pricing.rate_text import format_entered_rate, format_term, label_with_conditions


class ModelDiffLine(NamedTuple):
    """One field before and after, as text.

    `percent` is signed. `guards` are the reasons for a review. `second_opinion` is the rate of a second source, if it differs.
    `unstated` marks a rate that the source cannot state: it stays.
    """

    field: str
    before: str | None
    after: str | None
    percent: str | None = None
    guards: tuple[str, ...] = ()
    second_opinion: str | None = None
    unstated: bool = False


class PriceSides(NamedTuple):
    """The current price, the proposed price with what the source cannot state in it, and the price of a second source."""

    before: Price | None
    after: Price | None
    unstated: Unstated = Unstated()
    second: Price | None = None


def price_lines(sides: PriceSides, source: str, limits: GuardLimits) -> list[ModelDiffLine]:
    """Return the differences. A missing price removes a known one only if that price came from this source."""
    before, after = sides.before, sides.after
    old_state, new_state = (before.state if before else "unknown"), (after.state if after else "unknown")
    if new_state == "unknown":
        is_from_source = before is not None and before.source.name == source
        return [ModelDiffLine("Price", old_state, new_state, guards=("lost",))] if old_state != new_state and is_from_source else []
    if before is None or after is None or old_state != new_state:
        guards = () if "unknown" in (old_state, new_state) else ("zero",)
        return [ModelDiffLine("Price", old_state, new_state, guards=guards), *new_rate_lines(after, sides.second)]
    changes = [*_currency_lines(before, after), *_rate_lines(sides, limits), *_field_lines(before, after)]
    return [*changes, *_unstated_lines(sides)] if changes else []


def new_rate_lines(price: Price | None, second: Price | None) -> list[ModelDiffLine]:
    """Return a line for each rate of a new price."""
    rates = price.rates if price else ()
    return [ModelDiffLine(label_with_conditions(rate), None, _format_rate(rate, price), None, *_opinion(rate, second)) for rate in rates]


def rewritten_lines(before: Price, after: Price) -> list[ModelDiffLine]:
    """Return the differences of two versions of a past price."""
    old, new = _rates_by_key(before), _rates_by_key(after)
    label = f"From {before.effective_from:%Y-%m-%d}: "
    pairs = ((old.get(key), new.get(key)) for key in dict.fromkeys([*new, *old]))
    lines = [
        ModelDiffLine(
            label + label_with_conditions(rate), _format_rate(old_rate, before), _format_rate(new_rate, after), guards=("history",)
        )
        for old_rate, new_rate in pairs
        if (rate := new_rate or old_rate) and not (old_rate and new_rate and is_same_rate(old_rate.unit, new_rate.unit))
    ]
    if before.state != after.state:
        lines.insert(0, ModelDiffLine(f"{label}price", before.state, after.state, guards=("history",)))
    return lines


def _currency_lines(before: Price, after: Price) -> list[ModelDiffLine]:
    return [ModelDiffLine("Currency", before.currency, after.currency)] if before.currency != after.currency else []


def _rate_lines(sides: PriceSides, limits: GuardLimits) -> Iterator[ModelDiffLine]:
    old, new = _rates_by_key(sides.before), _rates_by_key(sides.after)
    for key in dict.fromkeys([*new, *old]):
        before, after = old.get(key), new.get(key)
        if after is None:
            yield ModelDiffLine(label_with_conditions(old[key]), _format_rate(before, sides.before), None, None, ("removed",))
        elif before is None or not is_same_rate(before.unit, after.unit):
            percent, guards = describe_move(before.unit, after.unit, limits) if before else (None, ())
            marks, second_opinion = _opinion(after, sides.second)
            texts = label_with_conditions(after), _format_rate(before, sides.before), _format_rate(after, sides.after)
            yield ModelDiffLine(*texts, percent, (*guards, *marks), second_opinion)


def _field_lines(before: Price, after: Price) -> Iterator[ModelDiffLine]:
    for name, label in PRICE_TERMS.items():
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            texts = format_term(name, old, before.currency), format_term(name, new, after.currency)
            yield ModelDiffLine(label, *texts, None, ("removed",) if new is None else ())


def _unstated_lines(sides: PriceSides) -> Iterator[ModelDiffLine]:
    texts = [(label_with_conditions(rate), _format_rate(rate, sides.before)) for rate in sides.unstated.rates]
    currency = sides.before.currency if sides.before else ""
    texts += [(PRICE_TERMS[name], format_term(name, value, currency)) for name, value in sides.unstated.fields.items() if value]
    return (ModelDiffLine(label, text, text, unstated=True) for label, text in texts if text)


def _opinion(rate: Rate, second: Price | None) -> tuple[tuple[str, ...], str | None]:
    """Return the guard and the rate in the second source, if it differs."""
    second_rate = _rates_by_key(second).get(rate_key(rate))
    if second_rate is None or is_same_rate(second_rate.unit, rate.unit, SECOND_SOURCE_TOLERANCE):
        return (), None
    return ("disagree",), _format_rate(second_rate, second)


def _rates_by_key(price: Price | None) -> dict[RateKey, Rate]:
    return {rate_key(rate): rate for rate in price.rates} if price else {}


def _format_rate(rate: Rate | None, price: Price | None) -> str | None:
    return format_entered_rate(rate, price.currency) if rate and price else None
