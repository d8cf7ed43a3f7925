"""Benches: the same incidents on several models. What may be asked, when to stop for the money, and what the answers come to."""

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
from webapp.domain.shared.errors import FieldError, Invalid
from webapp.domain.shared.money import EXACT, ROUNDED, ZERO, add_to, sort_sums

MAX_INCIDENTS, MAX_MODELS, MAX_REPEATS = 20, 8, 5
LOCAL = "@local"
PROJECTED_INCIDENTS = 1_000  # Costs are compared for a thousand incidents.
CAP_CURRENCY = "USD"  # Of the spend cap. What costs another one cannot be held against it.


def parse_incidents(text: str) -> list[Incident]:
    """The incidents in a text: one in any form that the try-it page takes, or a JSON list of them. Raises `Invalid`."""
    clean = text.strip()
    if clean.startswith("["):
        try:
            found = json.loads(clean)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
            if len(found) > MAX_INCIDENTS:
                raise Invalid.field("incident", f"holds {len(found)} incidents; a bench takes at most {MAX_INCIDENTS}")
            return [incident_from_payload(one) for one in found]
    return [parsing.parse_incident(text).incident]


def require_valid_selection(incidents: int, models: Sequence[str], repeats: int) -> None:
    """Raises `Invalid` that names everything that is too much or too little; its code is `nothing_chosen` while there is no choice yet."""
    wrong = [
        ("incidents", f"Choose 1 to {MAX_INCIDENTS} incidents", 1 <= incidents <= MAX_INCIDENTS),
        ("models", f"Choose 1 to {MAX_MODELS} models", 1 <= len(models) <= MAX_MODELS),
        ("repeats", f"Repeat 1 to {MAX_REPEATS} times", 1 <= repeats <= MAX_REPEATS),
    ]
    errors = [FieldError(field, message) for field, message, fine in wrong if not fine]
    if errors:
        detail = " ".join(f"{error.message}." for error in errors)
        raise Invalid(detail, errors, code=None if incidents and models else NO_SELECTION)


def cell_order(incidents: int, models: Sequence[str], repeats: int) -> Iterator[tuple[int, str, int]]:
    """The cells in the order in which they are asked: every model gets its turn early."""
    return ((incident, model, repeat) for repeat in range(repeats) for incident in range(incidents) for model in models)


NO_SELECTION = "nothing_chosen"
START, WAIT, SKIP = "start", "wait", "skip"


def decide_start(cap: Decimal | None, spent: Decimal, under_way: Iterable[Decimal | None], most: Decimal | None) -> str:
    """Whether another call may start under the spend cap.

    What runs just now may cost as much as was estimated at most; when that is what stands in the way, it is waited for. A call whose price
    is unknown, or in another currency than the cap, cannot be counted: it starts while the cap is not reached.
    """
    if cap is None:
        return START
    own = most if most is not None else ZERO
    if EXACT.add(spent, own) > cap or (most is None and spent >= cap):
        return SKIP
    total = EXACT.add(spent, own)
    for cost in under_way:
        total = EXACT.add(total, cost if cost is not None else ZERO)
    return START if total <= cap else WAIT


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell that was asked. `cost` is None where it is unknown; `type` and `priority` are those of the first recommendation."""

    incident: int
    model: str
    ok: bool
    latency_ms: int
    cost: Decimal | None = None
    currency: str = CAP_CURRENCY
    tokens: int = 0
    type: str | None = None
    priority: str | None = None
    scores: tuple[int, ...] = ()


@dataclass(slots=True)
class ModelResults:
    """What the answers of one model come to. Latencies in milliseconds, of the answers that came.

    `costs` are of all its runs, by currency; `own` of those that the bench shows, which is what a projection may go by.
    """

    model: str
    answered: int = 0
    failed: int = 0
    latencies: list[int] = field(default_factory=list)
    tokens: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict)
    shown_costs: dict[str, Decimal] = field(default_factory=dict)
    unknown: int = 0
    scores: list[int] = field(default_factory=list)

    def add(self, one: CellResult) -> None:
        self.answered += one.ok
        self.failed += not one.ok
        if one.ok:
            self.latencies.append(one.latency_ms)
        self.tokens += one.tokens
        self.scores += one.scores
        if one.cost is not None:
            add_to(self.shown_costs, one.currency, one.cost)
        self.add_cost(one)

    def add_cost(self, one: CellResult) -> None:
        """Counts only what it cost."""
        if one.cost is None:
            self.unknown += one.ok
        else:
            add_to(self.costs, one.currency, one.cost)

    @property
    def p50(self) -> int | None:
        return percentile(self.latencies, 50)

    @property
    def p95(self) -> int | None:
        return percentile(self.latencies, 95)

    @property
    def rating(self) -> Decimal | None:
        """The mean of all ratings, to one decimal."""
        return Decimal(round(10 * sum(self.scores) / len(self.scores))) / 10 if self.scores else None

    @property
    def per_thousand(self) -> tuple[str, Decimal] | None:
        """What a thousand incidents would cost, and in which currency.

        None while nothing was answered, a cost is unknown, or the answers cost several currencies.
        """
        sums = sort_sums(self.shown_costs)
        if not self.answered or self.unknown or len(sums) != 1:
            return None
        currency, total = sums[0]
        per = ROUNDED.divide(ROUNDED.multiply(total, Decimal(PROJECTED_INCIDENTS)), Decimal(self.answered))
        return currency, per.quantize(Decimal("0.0001"), context=ROUNDED)


def percentile(values: Sequence[int], percent: int) -> int | None:
    """The nearest-rank percentile: a value that really occurred."""
    if not values:
        return None
    rank = max(1, -(-percent * len(values) // 100))
    return sorted(values)[rank - 1]


def summarize_by_model(models: Sequence[str], results: Iterable[CellResult], late: Iterable[CellResult] = ()) -> list[ModelResults]:
    """The sums by model, in the order in which the models were chosen. Of `late` answers, which are not shown, only the cost counts."""
    found = {model: ModelResults(model) for model in models}
    for one in results:
        found[one.model].add(one)
    for one in late:
        if one.model in found:
            found[one.model].add_cost(one)
    return list(found.values())


def total_costs(results: Iterable[CellResult]) -> dict[str, Decimal]:
    """What they cost in all, by currency, as far as it is known."""
    sums: dict[str, Decimal] = {}
    for one in results:
        if one.cost is not None:
            add_to(sums, one.currency, one.cost)
    return sums


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two models said the same of an incident: of `compared` incidents, with the same type, the same priority."""

    first_model: str
    second_model: str
    compared: int
    same_type: int
    same_priority: int


def compare_recommendations(models: Sequence[str], results: Iterable[CellResult]) -> list[Agreement]:
    """Between every two models, by what each says most often of an incident over its repeats."""
    said = _usual_recommendations(results)
    found = []
    for one, other in combinations(models, 2):
        both = [(said[one, incident], said[other, incident]) for model, incident in said if model == one and (other, incident) in said]
        types = sum(first[0] == second[0] for first, second in both)
        priorities = sum(first[1] == second[1] for first, second in both)
        found.append(Agreement(one, other, len(both), types, priorities))
    return found


def _usual_recommendations(results: Iterable[CellResult]) -> Mapping[tuple[str, int], tuple[str | None, str | None]]:
    types: dict[tuple[str, int], Counter[str]] = {}
    priorities: dict[tuple[str, int], Counter[str]] = {}
    for one in results:
        if one.ok and one.type and one.priority:
            types.setdefault((one.model, one.incident), Counter())[one.type] += 1
            priorities.setdefault((one.model, one.incident), Counter())[one.priority] += 1
    return {place: (_most_frequent(types[place]), _most_frequent(priorities[place])) for place in types}


def _most_frequent(counted: Counter[str]) -> str | None:
    """The most frequent; of several the first by name, so that the same answers always agree alike."""
    return min(counted, key=lambda word: (-counted[word], word)) if counted else None


def latency_bars(found: Sequence[ModelResults]) -> list[dict[str, Any]]:
    """The latencies as lengths from 0 to 100 of the longest, for a chart."""
    longest = max((column.p95 or 0 for column in found), default=0) or 1
    return [
        {
            "model": column.model,
            "p50": column.p50,
            "p95": column.p95,
            "short": round(100 * (column.p50 or 0) / longest, 1),
            "long": round(100 * (column.p95 or 0) / longest, 1),
        }
        for column in found
    ]
