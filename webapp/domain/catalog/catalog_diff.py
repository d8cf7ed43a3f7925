"""Comparison of a catalog with the registry: added, changed and removed models by field, meter and tier, with guards.

This module decides nothing. Equal prices give no difference, so a second comparison after a catalog was applied is empty.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from webapp.domain.catalog.catalog_guards import UNIT_ERROR_FACTOR, GuardLimits, exceeds, sort_guards
from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.price_diff import ModelDiffLine, PriceSides, new_rate_lines, price_lines, rewritten_lines
from webapp.domain.catalog.source_scope import FULL_SCOPE, SourceScope, find_unstated, with_unstated
from webapp.domain.pricing.pricing import Price, Rate

ADDED, CHANGED, GONE = KINDS = ("added", "changed", "gone")
# The fields that a catalog can change, in addition to the price. Staff own names, capabilities and types.
COMPARED_FIELDS = ("context_window", "max_output_tokens", "deprecated_on", "retires_on", "successor")


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """One model that differs. `price` is the price to apply, if there is one; `fields` has the new values of other fields."""

    kind: str
    ref: str
    lines: tuple[ModelDiffLine, ...] = ()
    price: Price | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    guards: tuple[str, ...] = ()

    @property
    def choosable(self) -> bool:
        """Whether there is something to apply. A pinned price, a past price and a moved alias are only reported."""
        return self.kind != CHANGED or self.price is not None or bool(self.fields)


@dataclass(frozen=True)
class CatalogComparison:
    """Both sides of a comparison.

    `known_names` holds all names of models in the registry. `source` is the source name that prices from this catalog carry, and
    `scope` is what it can state. `shrunk` is true if the source has much fewer records than its last version.
    """

    registry: Mapping[str, ModelInfo]
    known_names: Container[str]
    offered: Mapping[str, ModelInfo]
    source: str
    at: datetime
    second_source: Mapping[str, ModelInfo] | None = None
    scope: SourceScope = FULL_SCOPE
    shrunk: bool = False

    @cached_property
    def alias_owners(self) -> Mapping[str, str]:
        """The ref of the model that has an alias in the registry."""
        return {alias: ref for ref, model in self.registry.items() for alias in model.aliases}

    @cached_property
    def usual_units(self) -> Mapping[tuple[str, str], tuple[Decimal, Decimal]]:
        """The lowest and the highest unit price of a meter among a provider's models in the registry."""
        units: dict[tuple[str, str], list[Decimal]] = {}
        for model in self.registry.values():
            price = model.price_at(self.at)
            for rate in price.rates if price else ():
                if rate.unit:
                    units.setdefault((model.provider, rate.meter), []).append(rate.unit)
        return {key: (min(values), max(values)) for key, values in units.items()}

    def is_far_from_usual(self, provider: str, rate: Rate) -> bool:
        """Return whether nothing that the provider sells is within 1,000 times of the rate. The unit is then probably wrong."""
        lowest, highest = self.usual_units.get((provider, rate.meter), (rate.unit, rate.unit))
        return bool(rate.unit) and (rate.unit * UNIT_ERROR_FACTOR <= lowest or highest * UNIT_ERROR_FACTOR <= rate.unit)

    def second_price(self, ref: str) -> Price | None:
        model = self.second_source.get(ref) if self.second_source else None
        return model.price_at(self.at) if model else None

    def is_from_source(self, price: Price | None) -> bool:
        """Return whether the price came from this source. Prices of the seed name the catalog that the seed was made of."""
        return price is not None and self.source in (price.source.name, price.source.kind) and price.source.kind != "manual"


def compare(sides: CatalogComparison, limits: GuardLimits) -> list[ModelDiff]:
    """Return every model that differs, sorted by ref. A model missing from the source counts only if its price came from there."""
    differences = [*_added_models(sides), *_changed_models(sides, limits), *_removed_models(sides)]
    return sorted(_mark_unusual_numbers(differences, sides, limits), key=lambda difference: difference.ref)


def _added_models(sides: CatalogComparison) -> Iterator[ModelDiff]:
    for ref, model in sides.offered.items():
        if ref not in sides.registry and ref not in sides.known_names:
            price = model.price_at(sides.at)
            lines = new_rate_lines(price, sides.second_price(ref)) or [ModelDiffLine("Price", None, price.state if price else "unknown")]
            is_far = any(sides.is_far_from_usual(model.provider, rate) for rate in (price.rates if price else ()))
            yield ModelDiff(ADDED, ref, tuple(lines), price, {}, sort_guards([*_guards_of(lines), *(["thousand"] if is_far else [])]))


def _changed_models(sides: CatalogComparison, limits: GuardLimits) -> Iterator[ModelDiff]:
    for ref, model in sides.registry.items():
        offered = sides.offered.get(ref)
        if offered is not None:
            difference = _diff_model(model, offered, sides, limits)
            if difference.lines:
                yield difference


def _diff_model(model: ModelInfo, offered: ModelInfo, sides: CatalogComparison, limits: GuardLimits) -> ModelDiff:
    before, after = model.price_at(sides.at), offered.price_at(sides.at)
    unstated = find_unstated(before, after, sides.scope)
    proposed = with_unstated(after, unstated) if after else None
    prices = PriceSides(before, proposed, unstated, sides.second_price(model.ref))
    changes = price_lines(prices, sides.source, limits)
    pinned = bool(changes) and before is not None and before.source.kind == "manual"
    fields = {name: getattr(offered, name) for name in COMPARED_FIELDS if getattr(offered, name) not in (None, getattr(model, name))}
    reported = [*_history_lines(model, offered, sides), *_alias_lines(model, offered, sides)]
    lines = (*changes, *_field_lines(model, fields), *reported)
    guards = ("pinned", *_guards_of(reported)) if pinned else _guards_of(lines)
    return ModelDiff(CHANGED, model.ref, lines, proposed if changes and not pinned else None, fields, guards)


def _removed_models(sides: CatalogComparison) -> Iterator[ModelDiff]:
    providers = {model.provider for model in sides.offered.values()}
    for ref, model in sides.registry.items():
        is_from_source = sides.is_from_source(model.price_at(sides.at))
        if is_from_source and model.active and model.provider in providers and ref not in sides.offered:
            yield ModelDiff(GONE, ref, (ModelDiffLine("Model", "in the source before", None),))


def _field_lines(model: ModelInfo, fields: Mapping[str, object]) -> list[ModelDiffLine]:
    return [
        ModelDiffLine(name.replace("_", " ").capitalize(), _format_value(getattr(model, name)), _format_value(value))
        for name, value in fields.items()
    ]


def _format_value(value: object) -> str | None:
    return None if value is None else f"{value:,}" if isinstance(value, int) else str(value)


# Differences that are reported and never applied.


def _history_lines(model: ModelInfo, offered: ModelInfo, sides: CatalogComparison) -> list[ModelDiffLine]:
    """Return the differences of past prices: those of this source that ended there and start at the same time in the registry."""
    ended = {price.effective_from: price for price in offered.prices if price.effective_to and price.effective_to <= sides.at}
    lines: list[ModelDiffLine] = []
    for price in model.prices:
        rewritten = ended.get(price.effective_from)
        if rewritten and sides.is_from_source(price) and price.currency == rewritten.currency:
            lines += rewritten_lines(price, with_unstated(rewritten, find_unstated(price, rewritten, sides.scope)))
    return lines


def _alias_lines(model: ModelInfo, offered: ModelInfo, sides: CatalogComparison) -> list[ModelDiffLine]:
    """Return the aliases that belong to another model of the registry."""
    owners = ((alias, sides.alias_owners.get(alias)) for alias in offered.aliases)
    return [
        ModelDiffLine(f"Alias {alias}", owner, model.ref, guards=("alias",)) for alias, owner in owners if owner not in (None, model.ref)
    ]


# Guards.


def _guards_of(lines: Iterable[ModelDiffLine]) -> tuple[str, ...]:
    return sort_guards(guard for line in lines for guard in line.guards)


def _mark_unusual_numbers(differences: list[ModelDiff], sides: CatalogComparison, limits: GuardLimits) -> Iterator[ModelDiff]:
    """Mark rows if too many models changed, or too many are gone. A source that lost half its models is broken, not cheaper."""
    counts = Counter(difference.kind for difference in differences)
    shared = sum(ref in sides.registry for ref in sides.offered)
    from_source = sum(model.active and sides.is_from_source(model.price_at(sides.at)) for model in sides.registry.values())
    marks = {
        ADDED: {"shrink": sides.shrunk},
        CHANGED: {"shrink": sides.shrunk, "mass": exceeds(counts[CHANGED], shared, limits.mass)},
        GONE: {"shrink": sides.shrunk or exceeds(counts[GONE], from_source, limits.shrink)},
    }
    for difference in differences:
        names = [name for name, applies in marks[difference.kind].items() if applies]
        yield replace(difference, guards=sort_guards([*difference.guards, *names])) if names else difference
