"""Explains an answer: ref -> alias -> model -> price -> rates, or why not."""

from dataclasses import dataclass
from datetime import datetime

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.resolution import NameIndex, ResolutionStep, suggest_refs, trace
from webapp.domain.pricing.pricing import Price


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a ref led to. `model` is None when nothing or several models answer to it; `reason` then says which, in one word."""

    ref: str
    at: datetime
    steps: tuple[ResolutionStep, ...]
    model: ModelInfo | None
    reason: str | None
    candidates: tuple[str, ...]
    suggestions: tuple[str, ...]
    price: Price | None
    supported: bool


def explain(names: NameIndex, ref: str, at: datetime) -> Explanation:
    """Follows the ref through every step of the resolution to the price in force at that moment."""
    found, steps = trace(names, ref)
    if len(found) == 1:
        model = found[0]
        return Explanation(ref, at, steps, model, model.unsupported_because, (), (), model.price_at(at), model.supported)
    if found:
        return Explanation(ref, at, steps, None, "ambiguous", tuple(sorted(model.ref for model in found)), (), None, False)
    return Explanation(ref, at, steps, None, "unknown", (), tuple(suggest_refs(names, ref)), None, False)
