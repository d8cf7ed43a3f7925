"""Cost of a workload for all models that meet its requirements: the monthly cost, cheapest first, and where the cheapest model changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode

from webapp.domain.catalog.entities import MODEL_TYPES, ModelInfo
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.costing.calculator import MAX_CALLS, Query, QueryReader
from webapp.domain.pricing.cost_gaps import CostGaps, gaps_of
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.spend import known_amount
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import EXACT, ZERO
from webapp.domain.shared.money_text import quotient

DAYS_PER_MONTH = 30  # The length of a month in a workload.
MAX_TOKENS = 10_000_000
SAMPLED_SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 64_000, 100_000, 128_000, 150_000, 200_000, 256_000, 300_000, 500_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Workload:
    """A number of `calls` per day. Each has `input` tokens (`cached` percent from a cache) and `output` tokens (including `reasoning`)."""

    calls: int = 1_000
    input: int = 2_000
    output: int = 500
    cached: int = 0
    reasoning: int = 0
    batch: bool = False

    @property
    def tier(self) -> str:
        return "batch" if self.batch else STANDARD

    def usage(self, size: int | None = None) -> Usage:
        """Return the usage of one call, optionally with a different number of input tokens."""
        total = self.input if size is None else size
        return Usage(input=total, cache_read=total * self.cached // 100, output=self.output, reasoning=min(self.reasoning, self.output))


@dataclass(frozen=True, slots=True)
class Requirements:
    """The requirements that a model must meet to be compared."""

    type: str = "text"
    capabilities: tuple[str, ...] = ()
    min_context: int = 0
    providers: tuple[str, ...] = ()

    def accepts(self, model: ModelInfo) -> bool:
        return (
            model.supported
            and model.type == self.type
            and set(self.capabilities) <= set(model.capabilities)
            and (model.context_window or 0) >= self.min_context
            and (not self.providers or model.provider in self.providers)
        )


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """A workload and its requirements. `typed` holds the texts as entered, and `errors` the messages by field."""

    workload: Workload
    requirements: Requirements
    at: datetime | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def query(self) -> str:
        """Return the query string for the same request."""
        workload, requirements = self.workload, self.requirements
        numbers = {
            "calls": workload.calls,
            "input": workload.input,
            "output": workload.output,
            "cached": workload.cached,
            "reasoning": workload.reasoning,
        }
        pairs = [(name, str(value)) for name, value in numbers.items()] + ([("batch", "1")] if workload.batch else [])
        pairs += [("type", requirements.type), *(("capability", name) for name in requirements.capabilities)]
        pairs += [("min_context", str(requirements.min_context))] if requirements.min_context else []
        pairs += [("provider", slug) for slug in requirements.providers]
        return urlencode(pairs + ([("at", self.typed["at"])] if self.at else []), safe=":")


@dataclass(frozen=True, slots=True)
class WorkloadCost:
    """The cost of one model. `month` is None if the price is unknown; `ratio` is the multiple of the lowest monthly cost."""

    model: ModelInfo
    call: Cost
    month: Decimal | None
    gaps: CostGaps
    next_tier: int | None = None
    ratio: Decimal | None = None

    @property
    def complete(self) -> bool:
        return self.call.complete


@dataclass(frozen=True, slots=True)
class CheapestRange:
    """The cheapest model from an input size on, and the cost of a `call` of that size."""

    size: int
    model: ModelInfo
    call: Cost


def parse_query(query: Query) -> WorkloadRequest:
    """Return the request in a query string. Never raises: an invalid value is reported in `errors`, and its default applies."""
    reader, defaults = QueryReader(query), Workload()
    workload = Workload(
        calls=reader.number("calls", defaults.calls, MAX_CALLS, "The number of calls a day"),
        input=reader.number("input", defaults.input, MAX_TOKENS),
        output=reader.number("output", defaults.output, MAX_TOKENS),
        cached=reader.number("cached", 0, 100, "The cached share"),
        reasoning=reader.number("reasoning", 0, MAX_TOKENS),
        batch=reader.text("batch") == "1",
    )
    kind = reader.text("type") or "text"
    listed = {name: tuple(dict.fromkeys(word for word in query.get(name, ()) if word))[:50] for name in ("capability", "provider")}
    requirements = Requirements(
        kind if kind in MODEL_TYPES else "text",
        listed["capability"],
        reader.number("min_context", 0, MAX_TOKENS, "The least context"),
        listed["provider"],
    )
    if workload.reasoning > workload.output:
        reader.errors["reasoning"] = "Reasoning tokens are a part of the output: they cannot be more."
    return WorkloadRequest(workload, requirements, reader.timestamp(), reader.typed, reader.errors)


def compare_models(snapshot: Snapshot, request: WorkloadRequest, at: datetime) -> list[WorkloadCost]:
    """Return all models that meet the requirements: cheapest first, then partly known costs, then unknown prices."""
    usage, workload = request.workload.usage(), request.workload
    rows = [_workload_cost(model, usage, workload, at) for model in snapshot.models if request.requirements.accepts(model)]
    rows.sort(key=_sort_key)
    lowest = next((row.month for row in rows if row.complete and row.month), None)
    return [replace(row, ratio=quotient(row.month, lowest)) if lowest and row.month and row.month > lowest else row for row in rows]


def _workload_cost(model: ModelInfo, usage: Usage, workload: Workload, at: datetime) -> WorkloadCost:
    price = model.price_at(at)
    cost = cost_of(price, usage, at=at, service_tier=workload.tier, model=model.ref)
    amount = known_amount(cost.total, complete=cost.complete)
    month = None if amount is None else EXACT.multiply(amount, workload.calls * DAYS_PER_MONTH)
    above = (rate.above for rate in price.rates if rate.above is not None and rate.above >= usage.input) if price else ()
    return WorkloadCost(model, cost, month, gaps_of(cost, usage), next_tier=min(above, default=None))


def _sort_key(row: WorkloadCost) -> tuple[int, str, Decimal, str]:
    """Group by currency and sort by cost. Unknown prices come last."""
    group = 2 if row.month is None else 0 if row.complete else 1
    return group, row.call.currency or "", row.month or ZERO, row.model.ref


def list_cheapest_ranges(rows: Sequence[WorkloadCost], workload: Workload, at: datetime) -> list[CheapestRange]:
    """Return the cheapest model by input size. A change between two sampled sizes is located to the exact token.

    Only complete prices in the first row's currency count, and only models whose context window fits the call.
    """
    models = [row.model for row in rows if row.complete and rows[0].call.currency == row.call.currency]
    ranges: list[CheapestRange] = []
    previous: Lead | None = None
    for size in SAMPLED_SIZES:
        leader = _cheapest_model(models, workload, size, at)
        if leader is None:
            continue
        if previous is None:
            ranges.append(_cheapest_range(size, leader, workload, at))
        elif leader.ref != previous.model.ref:
            ranges.append(_cheapest_range(_crossover_size(previous, Lead(size, leader), workload, at), leader, workload, at))
        previous = Lead(size, leader)
    return ranges


class Lead(NamedTuple):
    """The cheapest model at one input size."""

    size: int
    model: ModelInfo


def _crossover_size(before: Lead, after: Lead, workload: Workload, at: datetime) -> int:
    """Return the first size at which the second model is cheaper than the first."""
    (low, first), (high, second) = before, after
    while high - low > 1:
        middle = (low + high) // 2
        leader = _cheapest_model((first, second), workload, middle, at)
        low, high = (low, middle) if leader is not None and leader.ref == second.ref else (middle, high)
    return high


def _cheapest_model(models: Iterable[ModelInfo], workload: Workload, size: int, at: datetime) -> ModelInfo | None:
    best: tuple[Decimal, str] | None = None
    leader = None
    for model in models:
        if model.context_window is not None and size + workload.output > model.context_window:
            continue
        total = cost_of(model.price_at(at), workload.usage(size), at=at, service_tier=workload.tier).total
        if total is not None and (best is None or (total, model.ref) < best):
            best, leader = (total, model.ref), model
    return leader


def _cheapest_range(size: int, model: ModelInfo, workload: Workload, at: datetime) -> CheapestRange:
    return CheapestRange(size, model, cost_of(model.price_at(at), workload.usage(size), at=at, service_tier=workload.tier, model=model.ref))
