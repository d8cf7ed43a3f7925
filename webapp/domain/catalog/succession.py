"""Switching over to a successor on a day: decided by the clock alone, like a scheduled price, so nothing has to run at midnight.

From `switches_on` (UTC) on, the model's place as the default of its type and its other names belong to its successor. Its own ref stays its
own. Nothing happens while the successor cannot answer (unknown, inactive, retired): a name that leads nowhere helps nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.shared.timestamps import start_of_day


def apply_successions(models: Sequence[ModelInfo], now: datetime) -> tuple[ModelInfo, ...]:
    """The models as they are at `now`, in the same order. Nearly always the very same: few models switch."""
    due = [model for model in models if model.switches_on and start_of_day(model.switches_on) <= now]
    if not due:
        return tuple(models)
    found = {model.ref: model for model in models}
    for model in due:
        heir = successor_of(model, found)
        if heir is not None:
            _transfer_names(found, found[model.ref], heir)
    return tuple(found[model.ref] for model in models)


def successor_of(model: ModelInfo, known: Mapping[str, ModelInfo]) -> ModelInfo | None:
    """The model that takes over, at the end of the chain if it has switched itself; None while there is none that can answer."""
    seen = {model.ref}
    name = model.successor or ""
    heir = known.get(name) or known.get(f"{model.provider}/{name}")
    while heir is not None and not heir.supported and heir.successor and heir.ref not in seen:
        seen.add(heir.ref)
        heir = known.get(heir.successor) or known.get(f"{heir.provider}/{heir.successor}")
    return heir if heir is not None and heir.supported and heir.ref not in seen else None


def _transfer_names(found: dict[str, ModelInfo], model: ModelInfo, heir: ModelInfo) -> None:
    default = model.default and heir.type == model.type
    aliases = tuple(dict.fromkeys((*heir.aliases, *model.aliases, *_qualified_aliases(model, heir))))
    found[heir.ref] = replace(found[heir.ref], aliases=aliases, default=heir.default or default)
    found[model.ref] = replace(model, aliases=(), default=model.default and not default)


def _qualified_aliases(model: ModelInfo, heir: ModelInfo) -> list[str]:
    """`openai/old-name` has to lead somewhere too when the successor is another seller's."""
    return [f"{model.provider}/{alias}" for alias in model.aliases] if heir.provider != model.provider else []
