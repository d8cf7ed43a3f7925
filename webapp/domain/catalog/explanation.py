"""Explanation of a resolution: ref -> alias -> model -> price -> rates, or the reason for a failure."""

from dataclasses import dataclass
from datetime import datetime

from webapp.domain.catalog.entities import ModelInfo
from webapp.domain.catalog.resolution import NameIndex, ResolutionStep, suggest_refs, trace_resolution
from webapp.domain.pricing.pricing import Price


@dataclass(frozen=True, slots=True)
class Explanation:
    """The resolution of a ref, step by step.

    `model` is None if no model or several models match. `reason` then is `unknown` or `ambiguous`.
    """

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
    """Follow the ref through every resolution step to the price in force at `at`."""
    models, steps = trace_resolution(names, ref)
    inactive = names.inactive.find(ref)
    if models and inactive and models[0] not in inactive:
        unused = ResolutionStep("inactive models with this name, not used", ref, tuple(model.ref for model in inactive))
        steps = (*steps[:-1], unused, steps[-1])
    if len(models) == 1:
        model = models[0]
        return Explanation(ref, at, steps, model, model.unsupported_because, (), (), model.price_at(at), model.supported)
    if models:
        return Explanation(ref, at, steps, None, "ambiguous", tuple(sorted(model.ref for model in models)), (), None, False)
    return Explanation(ref, at, steps, None, "unknown", (), tuple(suggest_refs(names, ref)), None, False)
