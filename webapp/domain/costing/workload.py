"""A workload over all models that meet its requirements: what a month costs, cheapest first, and where another one takes the lead."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode

from webapp.domain.catalog.entities import MODEL_TYPES, ModelInfo
from webapp.domain.catalog.snapshot import Snapshot
from webapp.domain.costing.calculator import MAX_CALLS, Query, QueryReader
from webapp.domain.pricing.pricing import STANDARD, Cost, cost_of
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared.money import EXACT, ZERO
from webapp.domain.shared.money_text import quotient

DAYS_PER_MONTH = 30  # A month of a workload.
MAX_TOKENS = 10_000_000
SAMPLED_SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 64_000, 100_000, 128_000, 150_000, 200_000, 256_000, 300_000, 500_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Workload:
    """`calls` a day of `input` tokens (of which `cached` percent are read from a cache) and `output` tokens (`reasoning` of them)."""

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
        """One call, or the same with another number of input tokens."""
        total = self.input if size is None else size
        return Usage(input=total, cache_read=total * self.cached // 100, output=self.output, reasoning=min(self.reasoning, self.output))


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a model must be able to do to be compared."""

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
    """A workload with its requirements, as an address says it. `typed` are the texts as given, `errors` what is wrong with them."""

    workload: Workload
    requirements: Requirements
    at: datetime | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def query(self) -> str:
        """The query string that asks the same."""
        work, needs = self.workload, self.requirements
        numbers = {"calls": work.calls, "input": work.input, "output": work.output, "cached": work.cached, "reasoning": work.reasoning}
        pairs = [(name, str(value)) for name, value in numbers.items()] + ([("batch", "1")] if work.batch else [])
        pairs += [("type", needs.type), *(("capability", name) for name in needs.capabilities)]
        pairs += [("min_context", str(needs.min_context))] if needs.min_context else []
        pairs += [("provider", slug) for slug in needs.providers]
        return urlencode(pairs + ([("at", self.typed["at"])] if self.at else []), safe=":")


@dataclass(frozen=True, slots=True)
class WorkloadCost:
    """One model. `month` is None where the price is unknown; `ratio` says how many times the cheapest it costs."""

    model: ModelInfo
    call: Cost
    month: Decimal | None
    next_tier: int | None = None
    ratio: Decimal | None = None

    @property
    def complete(self) -> bool:
        return self.call.complete


@dataclass(frozen=True, slots=True)
class CheapestRange:
    """From this number of input tokens on, this model is the cheapest; `call` is what a call of that size costs."""

    size: int
    model: ModelInfo
    call: Cost


def parse_query(query: Query) -> WorkloadRequest:
    """Never raises: what makes no sense is told in `errors`, and its usual value stands."""
    reader, usual = QueryReader(query), Workload()
    work = Workload(
        calls=reader.number("calls", usual.calls, MAX_CALLS, "The number of calls a day"),
        input=reader.number("input", usual.input, MAX_TOKENS),
        output=reader.number("output", usual.output, MAX_TOKENS),
        cached=reader.number("cached", 0, 100, "The cached share"),
        reasoning=reader.number("reasoning", 0, MAX_TOKENS),
        batch=reader.text("batch") == "1",
    )
    kind = reader.text("type") or "text"
    listed = {name: tuple(dict.fromkeys(word for word in query.get(name, ()) if word))[:50] for name in ("capability", "provider")}
    needs = Requirements(
        kind if kind in MODEL_TYPES else "text",
        listed["capability"],
        reader.number("min_context", 0, MAX_TOKENS, "The least context"),
        listed["provider"],
    )
    if work.reasoning > work.output:
        reader.errors["reasoning"] = "Reasoning tokens are a part of the output: they cannot be more."
    return WorkloadRequest(work, needs, reader.timestamp(), reader.typed, reader.errors)


def compare_models(snapshot: Snapshot, asked: WorkloadRequest, at: datetime) -> list[WorkloadCost]:
    """All models that meet the requirements: the cheapest first, then those of which only a part is known, then unknown prices."""
    usage, work = asked.workload.usage(), asked.workload
    rows = [_workload_cost(model, usage, work, at) for model in snapshot.models if asked.requirements.accepts(model)]
    rows.sort(key=_sort_key)
    least = next((row.month for row in rows if row.complete and row.month), None)
    return [replace(row, ratio=quotient(row.month, least)) if least and row.month and row.month > least else row for row in rows]


def _workload_cost(model: ModelInfo, usage: Usage, work: Workload, at: datetime) -> WorkloadCost:
    price = model.price_at(at)
    cost = cost_of(price, usage, at=at, service_tier=work.tier, model=model.ref)
    unknown = cost.total is None or (not cost.lines and cost.price_state == "priced")
    month = None if unknown or cost.total is None else EXACT.multiply(cost.total, work.calls * DAYS_PER_MONTH)
    above = (rate.above for rate in price.rates if rate.above is not None and rate.above >= usage.input) if price else ()
    return WorkloadCost(model, cost, month, next_tier=min(above, default=None))


def _sort_key(row: WorkloadCost) -> tuple[int, str, Decimal, str]:
    """Currencies stay together; unknown is never cheap."""
    group = 2 if row.month is None else 0 if row.complete else 1
    return group, row.call.currency or "", row.month or ZERO, row.model.ref


def list_cheapest_ranges(rows: Sequence[WorkloadCost], work: Workload, at: datetime) -> list[CheapestRange]:
    """Which model is the cheapest at which size of the input, exact to the token where the lead changes between two sampled sizes.

    Only complete prices of the first row's currency take part, and only models whose context holds the call.
    """
    models = [row.model for row in rows if row.complete and rows[0].call.currency == row.call.currency]
    found: list[CheapestRange] = []
    before: Lead | None = None
    for size in SAMPLED_SIZES:
        leader = _cheapest_model(models, work, size, at)
        if leader is None:
            continue
        if before is None:
            found.append(_cheapest_range(size, leader, work, at))
        elif leader.ref != before.model.ref:
            found.append(_cheapest_range(_crossover_size(before, Lead(size, leader), work, at), leader, work, at))
        before = Lead(size, leader)
    return found


class Lead(NamedTuple):
    """The cheapest model at a size of the input."""

    size: int
    model: ModelInfo


def _crossover_size(before: Lead, after: Lead, work: Workload, at: datetime) -> int:
    """The first size from which on the second is ahead of the first."""
    (low, first), (high, second) = before, after
    while high - low > 1:
        middle = (low + high) // 2
        leader = _cheapest_model((first, second), work, middle, at)
        low, high = (low, middle) if leader is not None and leader.ref == second.ref else (middle, high)
    return high


def _cheapest_model(models: Iterable[ModelInfo], work: Workload, size: int, at: datetime) -> ModelInfo | None:
    best: tuple[Decimal, str] | None = None
    leader = None
    for model in models:
        if model.context_window is not None and size + work.output > model.context_window:
            continue
        total = cost_of(model.price_at(at), work.usage(size), at=at, service_tier=work.tier).total
        if total is not None and (best is None or (total, model.ref) < best):
            best, leader = (total, model.ref), model
    return leader


def _cheapest_range(size: int, model: ModelInfo, work: Workload, at: datetime) -> CheapestRange:
    return CheapestRange(size, model, cost_of(model.price_at(at), work.usage(size), at=at, service_tier=work.tier, model=model.ref))
