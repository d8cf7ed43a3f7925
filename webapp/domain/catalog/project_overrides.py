"""Overrides of a project: another default model, a list of allowed models or another price, each for a period.

A project's view of the registry is a registry too (`apply_overrides`), so the same code serves it. A model that is not allowed is inactive
for the project. A project price has its project as source and no id, because it is not a row of the price list.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from webapp.domain.catalog.entities import Catalog, ModelInfo, Override
from webapp.domain.pricing.pricing import Price, PriceSource, price_at, with_end
from webapp.domain.pricing.serializers import price_document, price_from
from webapp.domain.shared.timestamps import format_timestamp

DEFAULT, ALLOW, PRICE = KINDS = ("default", "allow", "price")


def overrides_of(overrides: Sequence[Override], project: str | None) -> tuple[Override, ...]:
    return tuple(override for override in overrides if override.project == project) if project else ()


def change_times(overrides: Sequence[Override]) -> Iterator[datetime]:
    """Yield the times at which results change without a change of the rows."""
    for override in overrides:
        yield override.starts
        if override.ends is not None:
            yield override.ends


class ActiveRules(NamedTuple):
    """The overrides of a project in force at a time.

    `allowed` are refs (empty: all), `defaults` are refs, and `types` are the model types that have such a default.
    """

    allowed: set[str]
    defaults: set[str]
    types: set[str]


def apply_overrides(catalog: Catalog, project: str, now: datetime) -> Catalog:
    """Return the catalog as this project sees it at `now`. Project prices apply in their own periods, including past ones."""
    overrides = overrides_of(catalog.overrides, project)
    allowed = {override.ref for override in overrides if override.kind == ALLOW and override.is_effective(now)}
    defaults = {override.ref for override in overrides if override.kind == DEFAULT and override.is_effective(now)}
    types = {model.type for model in catalog.models if model.ref in defaults}
    rules = ActiveRules(allowed, defaults, types)
    models = tuple(_apply_to_model(model, overrides, rules) for model in catalog.models)
    return replace(catalog, models=models, overrides=())


def _apply_to_model(model: ModelInfo, overrides: Sequence[Override], rules: ActiveRules) -> ModelInfo:
    active = model.active and (not rules.allowed or model.ref in rules.allowed)
    default = model.ref in rules.defaults if model.type in rules.types else model.default
    prices = [override for override in overrides if override.kind == PRICE and override.ref == model.ref and override.price is not None]
    if not prices and (active, default) == (model.active, model.default):
        return model
    history = model.prices
    for override in sorted(prices, key=lambda override: override.starts):
        history = overlay_price(history, override)
    return replace(model, active=active, default=default and active, prices=history)


def overlay_price(history: Sequence[Price], override: Override) -> tuple[Price, ...]:
    """Return the timeline with the project's price in its period. Before and after the period the base prices apply."""
    if override.price is None:
        return tuple(history)
    source = PriceSource("manual", f"project {override.project}")
    project_price = replace(
        override.price, effective_from=override.starts, effective_to=override.ends, source=source, id=None, corrects=None
    )
    before = [
        with_end(price, min(price.effective_to or override.starts, override.starts))
        for price in history
        if price.effective_from < override.starts
    ]
    after = [price for price in history if override.ends is not None and price.effective_from > override.ends]
    resumed = price_at(tuple(history), override.ends) if override.ends is not None else None
    resumed_prices = [replace(resumed, effective_from=override.ends)] if resumed is not None and override.ends is not None else []
    return (*before, project_price, *resumed_prices, *after)


def override_document(override: Override) -> dict[str, Any]:
    """Return the override for the last-good copy, which serves projects while the database is unreachable."""
    ends = format_timestamp(override.ends) if override.ends else None
    return {
        "project": override.project,
        "kind": override.kind,
        "ref": override.ref,
        "starts": format_timestamp(override.starts),
        "ends": ends,
        "price": price_document(override.price),
        "id": override.id,
    }


def override_from(document: Mapping[str, Any]) -> Override:
    ends, price = document["ends"], document["price"]
    return Override(
        document["project"],
        document["kind"],
        document["ref"],
        datetime.fromisoformat(document["starts"]),
        datetime.fromisoformat(ends) if ends else None,
        price_from(price) if price else None,
        document["id"],
    )
