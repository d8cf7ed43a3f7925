"""Evaluations: the same incidents on several models. Validates the input, enforces the spend cap and summarizes the results."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from typing import Any

from webapp.domain.incidents import parsing
from webapp.domain.incidents.alertmanager import incident_from_payload
from webapp.domain.incidents.incidents import Incident
from webapp.domain.pricing.spend import CallCost, SpendTotals, total_spend
from webapp.domain.shared.errors import FieldError, Invalid
from webapp.domain.shared.money import EXACT, ROUNDED, ZERO, sort_sums

MAX_INCIDENTS, MAX_MODELS, MAX_REPEATS = 20, 8, 5
LOCAL = "@local"
PROJECTED_INCIDENTS = 1_000  # Costs are projected to a thousand incidents.
CAP_CURRENCY = "USD"  # The currency of the spend cap. Costs in other currencies cannot be compared with it.


def parse_incidents(text: str) -> list[Incident]:
    """Return the incidents in a text: one in any form that the try-it page accepts, or a JSON list. Raises `Invalid`."""
    clean = text.strip()
    if clean.startswith("["):
        try:
            parsed = json.loads(clean)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, list) and parsed and all(isinstance(item, dict) for item in parsed):
            if len(parsed) > MAX_INCIDENTS:
                raise Invalid.field("incident", f"holds {len(parsed)} incidents; a bench takes at most {MAX_INCIDENTS}")
            return [incident_from_payload(item) for item in parsed]
    return [parsing.parse_incident(text).incident]


def require_valid_selection(incidents: int, models: Sequence[str], repeats: int) -> None:
    """Raise `Invalid` that names every count out of range. Its code is `nothing_chosen` while the selection is empty."""
    rules = [
        ("incidents", f"Choose 1 to {MAX_INCIDENTS} incidents", 1 <= incidents <= MAX_INCIDENTS),
        ("models", f"Choose 1 to {MAX_MODELS} models", 1 <= len(models) <= MAX_MODELS),
        ("repeats", f"Repeat 1 to {MAX_REPEATS} times", 1 <= repeats <= MAX_REPEATS),
    ]
    errors = [FieldError(field, message) for field, message, valid in rules if not valid]
    if errors:
        detail = " ".join(f"{error.message}." for error in errors)
        raise Invalid(detail, errors, code=None if incidents and models else NO_SELECTION)


def cell_order(incidents: int, models: Sequence[str], repeats: int) -> Iterator[tuple[int, str, int]]:
    """Yield the cells in the order in which they run. The order covers every model early."""
    return ((incident, model, repeat) for repeat in range(repeats) for incident in range(incidents) for model in models)


NO_SELECTION = "nothing_chosen"
START, WAIT, SKIP = "start", "wait", "skip"


def decide_start(cap: Decimal | None, spent: Decimal, running: Iterable[Decimal | None], max_cost: Decimal | None) -> str:
    """Return whether another call can start under the spend cap: START, WAIT or SKIP.

    A running call can cost up to its estimate. Returns WAIT when only running calls' estimates exceed the cap. A call with an unknown
    price, or in another currency than the cap, cannot be counted: it starts while the cap is not reached.
    """
    if cap is None:
        return START
    call_cost = max_cost if max_cost is not None else ZERO
    if EXACT.add(spent, call_cost) > cap or (max_cost is None and spent >= cap):
        return SKIP
    total = EXACT.add(spent, call_cost)
    for cost in running:
        total = EXACT.add(total, cost if cost is not None else ZERO)
    return START if total <= cap else WAIT


@dataclass(frozen=True, slots=True)
class CellResult:
    """The result of one cell. `tokens` is None if they are unknown; `type` and `priority` are those of the first recommendation."""

    incident: int
    model: str
    ok: bool
    latency_ms: int
    cost: CallCost
    tokens: int | None = 0
    type: str | None = None
    priority: str | None = None
    scores: tuple[int, ...] = ()


@dataclass(slots=True)
class ModelResults:
    """The summed results of one model. Latencies are in milliseconds and cover successful runs only.

    `spend` covers all its calls. `shown_spend` covers the runs that the evaluation shows; projections use it. `tokens` are those of the
    calls that reported them, and `unknown_usage` counts the other ones.
    """

    model: str
    answered: int = 0
    failed: int = 0
    latencies: list[int] = field(default_factory=list)
    tokens: int = 0
    unknown_usage: int = 0
    spend: SpendTotals = field(default_factory=SpendTotals)
    shown_spend: SpendTotals = field(default_factory=SpendTotals)
    scores: list[int] = field(default_factory=list)

    def add(self, cell: CellResult) -> None:
        self.answered += cell.ok
        self.failed += not cell.ok
        if cell.ok:
            self.latencies.append(cell.latency_ms)
        self.tokens += cell.tokens or 0
        self.unknown_usage += cell.tokens is None
        self.scores += cell.scores
        self.shown_spend.add(cell.cost)
        self.spend.add(cell.cost)

    @property
    def p50(self) -> int | None:
        return percentile(self.latencies, 50)

    @property
    def p95(self) -> int | None:
        return percentile(self.latencies, 95)

    @property
    def rating(self) -> Decimal | None:
        """The mean of all scores, to one decimal."""
        return Decimal(round(10 * sum(self.scores) / len(self.scores))) / 10 if self.scores else None

    @property
    def per_thousand(self) -> tuple[str, Decimal] | None:
        """The projected cost of a thousand incidents, with its currency.

        It is None if there is no response, if a cost is not completely known, or if the costs are in several currencies.
        """
        sums = sort_sums(self.shown_spend.amounts) or [(CAP_CURRENCY, ZERO)]
        if not self.answered or not self.spend.complete or len(sums) != 1:
            return None
        currency, total = sums[0]
        per = ROUNDED.divide(ROUNDED.multiply(total, Decimal(PROJECTED_INCIDENTS)), Decimal(self.answered))
        return currency, per.quantize(Decimal("0.0001"), context=ROUNDED)


def percentile(values: Sequence[int], percent: int) -> int | None:
    """Return the nearest-rank percentile, which is always one of the values."""
    if not values:
        return None
    rank = max(1, -(-percent * len(values) // 100))
    return sorted(values)[rank - 1]


def summarize_by_model(models: Sequence[str], results: Iterable[CellResult], late: Iterable[CellResult] = ()) -> list[ModelResults]:
    """Return the sums by model, in the order of `models`. For `late` results, which are not shown, only the cost counts."""
    by_model = {model: ModelResults(model) for model in models}
    for cell in results:
        by_model[cell.model].add(cell)
    for cell in late:
        if cell.model in by_model:
            by_model[cell.model].spend.add(cell.cost)
    return list(by_model.values())


def total_costs(results: Iterable[CellResult]) -> SpendTotals:
    """Return the sums of what all the calls cost."""
    return total_spend(cell.cost for cell in results)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two models: of `compared` incidents, how many have the same type and the same priority."""

    first_model: str
    second_model: str
    compared: int
    same_type: int
    same_priority: int


def compare_recommendations(models: Sequence[str], results: Iterable[CellResult]) -> list[Agreement]:
    """Return the agreement of every two models, by the most frequent recommendation over the repeats of an incident."""
    recommendations = _usual_recommendations(results)
    agreements = []
    for left, right in combinations(models, 2):
        both = [
            (recommendations[left, incident], recommendations[right, incident])
            for model, incident in recommendations
            if model == left and (right, incident) in recommendations
        ]
        types = sum(first[0] == second[0] for first, second in both)
        priorities = sum(first[1] == second[1] for first, second in both)
        agreements.append(Agreement(left, right, len(both), types, priorities))
    return agreements


def _usual_recommendations(results: Iterable[CellResult]) -> Mapping[tuple[str, int], tuple[str | None, str | None]]:
    types: dict[tuple[str, int], Counter[str]] = {}
    priorities: dict[tuple[str, int], Counter[str]] = {}
    for cell in results:
        if cell.ok and cell.type and cell.priority:
            types.setdefault((cell.model, cell.incident), Counter())[cell.type] += 1
            priorities.setdefault((cell.model, cell.incident), Counter())[cell.priority] += 1
    return {key: (_most_frequent(types[key]), _most_frequent(priorities[key])) for key in types}


def _most_frequent(counts: Counter[str]) -> str | None:
    """Return the most frequent word. A tie goes to the first by name, so the result is deterministic."""
    return min(counts, key=lambda word: (-counts[word], word)) if counts else None


def latency_bars(results: Sequence[ModelResults]) -> list[dict[str, Any]]:
    """Return the latencies as lengths from 0 to 100 percent of the longest, for a chart."""
    maximum = max((result.p95 or 0 for result in results), default=0) or 1
    return [
        {
            "model": result.model,
            "p50": result.p50,
            "p95": result.p95,
            "short": round(100 * (result.p50 or 0) / maximum, 1),
            "long": round(100 * (result.p95 or 0) / maximum, 1),
        }
        for result in results
    ]
