"""What holds for one project only: another default, a list of allowed models, another price; each from one moment to another.

The registry as a project sees it is a registry like any other (`view`), so every question is answered by the same code. What a project is
not allowed is inactive for it; a price of its own has its name as source and no number, because it is no row of the price list.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from webapp.domain.catalog.entities import Catalog, ModelInfo, Override
from webapp.domain.catalog.serializers import price_document, price_from
from webapp.domain.pricing.pricing import Price, PriceSource, price_at, with_end
from webapp.domain.shared.timestamps import format_timestamp

DEFAULT, ALLOW, PRICE = KINDS = ("default", "allow", "price")


def overrides_of(overrides: Sequence[Override], project: str | None) -> tuple[Override, ...]:
    return tuple(override for override in overrides if override.project == project) if project else ()


def change_times(overrides: Sequence[Override]) -> Iterator[datetime]:
    """When answers change without any change of the rows."""
    for override in overrides:
        yield override.starts
        if override.ends is not None:
            yield override.ends


class ActiveRules(NamedTuple):
    """The overrides of a project in force at a time: allowed refs (none: all), default refs, and the types that have such a default."""

    allowed: set[str]
    defaults: set[str]
    types: set[str]


def apply_overrides(catalog: Catalog, project: str, now: datetime) -> Catalog:
    """The catalogue as this project sees it at `now`. Its own prices hold at the moments they were made for, past ones too."""
    mine = overrides_of(catalog.overrides, project)
    allowed = {override.ref for override in mine if override.kind == ALLOW and override.is_effective(now)}
    defaults = {override.ref for override in mine if override.kind == DEFAULT and override.is_effective(now)}
    types = {model.type for model in catalog.models if model.ref in defaults}
    rules = ActiveRules(allowed, defaults, types)
    models = tuple(_apply_to_model(model, mine, rules) for model in catalog.models)
    return replace(catalog, models=models, overrides=())


def _apply_to_model(model: ModelInfo, mine: Sequence[Override], rules: ActiveRules) -> ModelInfo:
    active = model.active and (not rules.allowed or model.ref in rules.allowed)
    default = model.ref in rules.defaults if model.type in rules.types else model.default
    prices = [override for override in mine if override.kind == PRICE and override.ref == model.ref and override.price is not None]
    if not prices and (active, default) == (model.active, model.default):
        return model
    history = model.prices
    for override in sorted(prices, key=lambda override: override.starts):
        history = overlay_price(history, override)
    return replace(model, active=active, default=default and active, prices=history)


def overlay_price(history: Sequence[Price], override: Override) -> tuple[Price, ...]:
    """The timeline with the project's price in its span; before and after it, what held without it."""
    if override.price is None:
        return tuple(history)
    source = PriceSource("manual", f"project {override.project}")
    own = replace(override.price, effective_from=override.starts, effective_to=override.ends, source=source, id=None, corrects=None)
    before = [
        with_end(price, min(price.effective_to or override.starts, override.starts))
        for price in history
        if price.effective_from < override.starts
    ]
    after = [price for price in history if override.ends is not None and price.effective_from > override.ends]
    resumed = price_at(tuple(history), override.ends) if override.ends is not None else None
    again = [replace(resumed, effective_from=override.ends)] if resumed is not None and override.ends is not None else []
    return (*before, own, *again, *after)


def override_document(override: Override) -> dict[str, Any]:
    """For the copy on this machine, which goes on answering projects while the database is away."""
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
