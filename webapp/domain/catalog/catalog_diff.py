"""Comparison of a catalog with the registry: added, changed and removed models by field, meter and tier, with guards.

This module decides nothing. Equal prices give no difference, so a second comparison after a catalog was applied is empty.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.pricing.meters import describe_conditions, label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.shared import money_text

ADDED, CHANGED, GONE = KINDS = ("added", "changed", "gone")
# Why a row needs a review.
GUARDS: Mapping[str, str] = {
    "pinned": "Entered by hand: a sync never replaces it",
    "thousand": "1,000 times more or less: is the unit right?",
    "zero": "To or from zero",
    "rise": "Rises by more than the limit",
    "fall": "Falls by more than the limit",
    "lost": "The source no longer knows a price",
    "disagree": "A second source says something else",
    "mass": "One of unusually many of its kind",
}
UNIT_ERROR_FACTOR = 1_000
MIN_MASS_CHANGES = 5  # Fewer changes are easy to review one by one.
RATE_TOLERANCE = Decimal("0.000001")
SECOND_SOURCE_TOLERANCE = Decimal("0.01")
# The fields that a catalog can change, in addition to the price. Staff own names, capabilities and types.
COMPARED_FIELDS = ("context_window", "max_output_tokens", "deprecated_on", "retires_on")


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Limits of the guards: a rate that changes by more than `percent`, and a share of models above `mass` percent."""

    percent: int = 50
    mass: int = 10


class ModelDiffLine(NamedTuple):
    """One field before and after, as text.

    `percent` is signed. `guard` is the reason for a review. `second_opinion` is the rate of a second source, if it differs.
    """

    field: str
    before: str | None
    after: str | None
    percent: str | None = None
    guard: str | None = None
    second_opinion: str | None = None


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """One model that differs. `price` is true if the catalog's price can be applied; `fields` has the new values of other fields."""

    kind: str
    ref: str
    lines: tuple[ModelDiffLine, ...] = ()
    price: bool = False
    fields: Mapping[str, object] = field(default_factory=dict)
    guards: tuple[str, ...] = ()

    @property
    def choosable(self) -> bool:
        """Whether there is something to apply. A difference to a pinned price alone is only reported."""
        return self.kind != CHANGED or self.price or bool(self.fields)


@dataclass(frozen=True, slots=True)
class CatalogComparison:
    """Both sides of a comparison.

    `known_names` holds all names of models in the registry. `source` is the source name that prices from this catalog carry.
    """

    registry: Mapping[str, ModelInfo]
    known_names: Container[str]
    offered: Mapping[str, ModelInfo]
    source: str
    at: datetime
    second_source: Mapping[str, ModelInfo] | None = None


def compare(sides: CatalogComparison, limits: GuardLimits) -> list[ModelDiff]:
    """Return every model that differs, sorted by ref. A model missing from the source counts only if its price came from there."""
    differences = [*_added_models(sides), *_changed_models(sides, limits), *_removed_models(sides)]
    return sorted(_mark_mass_changes(differences, sides, limits), key=lambda difference: difference.ref)


def _added_models(sides: CatalogComparison) -> Iterator[ModelDiff]:
    for ref, model in sides.offered.items():
        if ref not in sides.registry and ref not in sides.known_names:
            price = model.price_at(sides.at)
            rates = price.rates if price else ()
            lines = [
                ModelDiffLine(_rate_label(rate), None, _format_rate(rate, price), second_opinion=_second_opinion(sides, ref, rate))
                for rate in rates
                if price
            ]
            guards = _guards_of(lines, sides, ref, price)
            yield ModelDiff(
                ADDED, ref, tuple(lines or [ModelDiffLine("Price", None, price.state if price else "unknown")]), True, {}, guards
            )


def _changed_models(sides: CatalogComparison, limits: GuardLimits) -> Iterator[ModelDiff]:
    for ref, model in sides.registry.items():
        offered = sides.offered.get(ref)
        if offered is not None:
            difference = _diff_model(model, offered, sides, limits)
            if difference.lines:
                yield difference


def _diff_model(model: ModelInfo, offered: ModelInfo, sides: CatalogComparison, limits: GuardLimits) -> ModelDiff:
    ref = model.ref
    before, after = model.price_at(sides.at), offered.price_at(sides.at)
    lines = _price_lines(before, after, sides, ref, limits)
    pinned = bool(lines) and before is not None and before.source.kind == "manual"
    fields = {name: getattr(offered, name) for name in COMPARED_FIELDS if getattr(offered, name) not in (None, getattr(model, name))}
    field_lines = [
        ModelDiffLine(name.replace("_", " ").capitalize(), _format_value(getattr(model, name)), _format_value(value))
        for name, value in fields.items()
    ]
    guards = ("pinned",) if pinned else _guards_of(lines, sides, ref, after)
    return ModelDiff(CHANGED, ref, (*lines, *field_lines), bool(lines) and not pinned, fields, guards)


def _removed_models(sides: CatalogComparison) -> Iterator[ModelDiff]:
    providers = {model.provider for model in sides.offered.values()}
    for ref, model in sides.registry.items():
        price = model.price_at(sides.at)
        is_from_source = price is not None and price.source.name == sides.source and price.source.kind != "manual"
        if is_from_source and model.active and model.provider in providers and ref not in sides.offered:
            yield ModelDiff(GONE, ref, (ModelDiffLine("Model", "in the source before", None),))


# Prices.


def _price_lines(before: Price | None, after: Price | None, sides: CatalogComparison, ref: str, limits: GuardLimits) -> list[ModelDiffLine]:
    """Return the differences of the price. A missing price removes a known one only if that price came from this source."""
    old_state, new_state = (before.state if before else "unknown"), (after.state if after else "unknown")
    if new_state == "unknown":
        is_from_source = before is not None and before.source.name == sides.source
        return [ModelDiffLine("Price", old_state, new_state, guard="lost")] if old_state != new_state and is_from_source else []
    if old_state != new_state:
        guard = "zero" if "unknown" not in (old_state, new_state) else None
        rates = [
            ModelDiffLine(_rate_label(rate), None, _format_rate(rate, after), second_opinion=_second_opinion(sides, ref, rate))
            for rate in (after.rates if after else ())
        ]
        return [ModelDiffLine("Price", old_state, new_state, guard=guard), *rates]
    old, new = _rates_by_key(before), _rates_by_key(after)
    currency = (
        [ModelDiffLine("Currency", before.currency, after.currency)] if before and after and before.currency != after.currency else []
    )
    keys = dict.fromkeys([*new, *old])
    pairs = ((old.get(key), new.get(key)) for key in keys)
    lines = (_rate_line(pair, (before, after), _second_opinion(sides, ref, pair[1]), limits) for pair in pairs)
    return currency + [line for line in lines if line]


RatePair = tuple[Rate | None, Rate | None]
PricePair = tuple[Price | None, Price | None]


def _rate_line(pair: RatePair, prices: PricePair, second_opinion: str | None, limits: GuardLimits) -> ModelDiffLine | None:
    old, new = pair
    if old and new and _is_same_rate(old.unit, new.unit):
        return None
    percent, guard = _percent_change(old.unit, new.unit, limits) if old and new else (None, None)
    before, after = prices
    rate = new or old
    return rate and ModelDiffLine(_rate_label(rate), _format_rate(old, before), _format_rate(new, after), percent, guard, second_opinion)


def _percent_change(old: Decimal, new: Decimal, limits: GuardLimits) -> tuple[str | None, str | None]:
    """Return the change in percent, and the guard if the change is large."""
    if not old or not new:
        return None, "zero"
    factor = money_text.quotient(max(old, new), min(old, new))
    percent = (money_text.quotient(new, old) - 1) * 100
    text = f"{'+' if percent > 0 else '−'}{abs(percent):,.1f} %"
    if factor >= UNIT_ERROR_FACTOR:
        return text, "thousand"
    if abs(percent) > limits.percent:
        return text, "rise" if percent > 0 else "fall"
    return text, None


def _is_same_rate(old: Decimal, new: Decimal) -> bool:
    return abs(old - new) <= RATE_TOLERANCE * max(old, new)


def _second_opinion(sides: CatalogComparison, ref: str, rate: Rate | None) -> str | None:
    """Return the rate in the second source, if it differs."""
    model = sides.second_source.get(ref) if sides.second_source else None
    price = model.price_at(sides.at) if model else None
    other_rate = _rates_by_key(price).get(_rate_key(rate)) if price and rate else None
    if rate is None or other_rate is None or abs(other_rate.unit - rate.unit) <= SECOND_SOURCE_TOLERANCE * max(other_rate.unit, rate.unit):
        return None
    return _format_rate(other_rate, price)


def _guards_of(lines: Iterable[ModelDiffLine], sides: CatalogComparison, ref: str, price: Price | None) -> tuple[str, ...]:
    guards = {line.guard for line in lines if line.guard}
    if any(line.second_opinion for line in lines):
        guards.add("disagree")
    return tuple(guard for guard in GUARDS if guard in guards)


def _mark_mass_changes(differences: list[ModelDiff], sides: CatalogComparison, limits: GuardLimits) -> Iterator[ModelDiff]:
    """Mark all changed or all removed models if their share is too large. A source that lost half its models is broken, not cheaper."""
    shared = sum(ref in sides.registry for ref in sides.offered) + sum(difference.kind == GONE for difference in differences)
    counts = {kind: sum(difference.kind == kind for difference in differences) for kind in (CHANGED, GONE)}
    mass_kinds = {kind for kind, count in counts.items() if count >= MIN_MASS_CHANGES and count * 100 > limits.mass * shared}
    for difference in differences:
        if difference.kind in mass_kinds:
            yield ModelDiff(
                difference.kind, difference.ref, difference.lines, difference.price, difference.fields, (*difference.guards, "mass")
            )
        else:
            yield difference


def _rates_by_key(price: Price | None) -> dict[tuple[object, ...], Rate]:
    return {_rate_key(rate): rate for rate in price.rates} if price else {}


def _rate_key(rate: Rate) -> tuple[object, ...]:
    return rate[:1] + rate[3:]


def _rate_label(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter), *describe_conditions(rate)])


def _format_rate(rate: Rate | None, price: Price | None) -> str | None:
    if rate is None:
        return None
    return f"{money_text.format_amount(rate.amount, price.currency if price else 'USD')} per {unit_of(rate.meter, rate.per)}"


def _format_value(value: object) -> str | None:
    return None if value is None else f"{value:,}" if isinstance(value, int) else str(value)
