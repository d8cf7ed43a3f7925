"""Replacement of a model by its successor on a date. Like a scheduled price it depends only on the clock, so no job runs at midnight.

From `switches_on` (UTC), the successor gets the model's aliases and its place as the default of its type. The model keeps its own ref.
Nothing changes while the successor is unusable (unknown, inactive, retired), so that every name still resolves to a usable model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.shared.timestamps import start_of_day


def apply_successions(models: Sequence[ModelInfo], now: datetime) -> tuple[ModelInfo, ...]:
    """Return the models as of `now`, in the same order. They are usually unchanged, because few models switch."""
    due = [model for model in models if model.switches_on and start_of_day(model.switches_on) <= now]
    if not due:
        return tuple(models)
    by_ref = {model.ref: model for model in models}
    for model in due:
        successor = successor_of(model, by_ref)
        if successor is not None:
            _transfer_names(by_ref, by_ref[model.ref], successor)
    return tuple(by_ref[model.ref] for model in models)


def successor_of(model: ModelInfo, known: Mapping[str, ModelInfo]) -> ModelInfo | None:
    """Return the successor, or the end of the chain if the successor has switched too. None if no successor is usable."""
    seen = {model.ref}
    name = model.successor or ""
    successor = known.get(name) or known.get(f"{model.provider}/{name}")
    while successor is not None and not successor.supported and successor.successor and successor.ref not in seen:
        seen.add(successor.ref)
        successor = known.get(successor.successor) or known.get(f"{successor.provider}/{successor.successor}")
    return successor if successor is not None and successor.supported and successor.ref not in seen else None


def _transfer_names(by_ref: dict[str, ModelInfo], model: ModelInfo, successor: ModelInfo) -> None:
    default = model.default and successor.type == model.type
    aliases = tuple(dict.fromkeys((*successor.aliases, *model.aliases, *_qualified_aliases(model, successor))))
    by_ref[successor.ref] = replace(by_ref[successor.ref], aliases=aliases, default=successor.default or default)
    by_ref[model.ref] = replace(model, aliases=(), default=model.default and not default)


def _qualified_aliases(model: ModelInfo, successor: ModelInfo) -> list[str]:
    """Return `provider/alias` names, so that `openai/old-name` still resolves if the successor has another provider."""
    return [f"{model.provider}/{alias}" for alias in model.aliases] if successor.provider != model.provider else []
