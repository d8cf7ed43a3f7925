"""Benchmarks of model lookups: compared with a plain dict and LiteLLM's cached lookup, and in a small and a huge registry."""

from collections.abc import Callable, Iterator
from itertools import cycle

from bench.harness import Pace, Row, at_most, local, medians, skipped, times_faster
from bench.litellm_process import LiteLLM
from bench.world import REF, registry_of
from webapp.domain.pricing.usage import Usage

SIZE, SMALL, HUGE = 3_000, 30, 100_000


def rows(pace: Pace, litellm: LiteLLM | None) -> Iterator[Row]:
    registry = registry_of(SIZE)
    plain = {model.ref: model for model in registry.snapshot.models}
    subjects = {
        "dict": local(lambda: plain[REF]),
        "get_model": local(lambda: registry.get_model(REF)),
        "is_model_supported": local(lambda: registry.is_model_supported(REF)),
    }
    if litellm:
        subjects["litellm"] = litellm.subject("get_model_info")
    seconds = medians(subjects, pace)
    for name in ("get_model", "is_model_supported"):
        yield at_most(f"{name}(ref), {SIZE:,} models", seconds[name], seconds["dict"], 2.5, named="plain dict")
    if litellm:
        yield times_faster("get_model(ref) and LiteLLM's", seconds["get_model"], seconds["litellm"], 1, named="get_model_info, cached")
    else:
        yield skipped("get_model(ref) and LiteLLM's", "litellm not installed", ">= 1x faster")


def growth_rows(pace: Pace) -> Iterator[Row]:
    """Look up the same 30 models in a small and a huge registry."""
    small, huge = registry_of(SMALL), registry_of(HUGE)
    refs = [model.ref for model in small.snapshot.models]
    usage = Usage(input=1200, output=350)
    functions: dict[str, Callable[[], object]] = {}
    for name, registry in (("small", small), ("huge", huge)):
        functions[f"get_model {name}"] = _each(refs, registry.get_model)
        functions[f"calculate_cost {name}"] = _each(refs, lambda ref, registry=registry: registry.calculate_cost(ref, usage=usage))  # type: ignore[misc]
    seconds = medians({name: local(function) for name, function in functions.items()}, pace)
    for name in ("get_model", "calculate_cost"):
        yield at_most(f"{name} in {HUGE:,} models", seconds[f"{name} huge"], seconds[f"{name} small"], 1.1, named=f"in {SMALL} models")


def _each(refs: list[str], function: Callable[[str], object]) -> Callable[[], object]:
    next_ref = cycle(refs).__next__
    return lambda: function(next_ref())
