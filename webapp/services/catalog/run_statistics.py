"""Statistics of a model's runs: success rate, latency and cost. A run answered by the built-in rules as a fallback counts as failed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from webapp.domain.incidents.evaluation import percentile
from webapp.domain.pricing.spend import DEFAULT_CURRENCY, KNOWN, SpendTotals, total_spend
from webapp.domain.shared.money import ROUNDED
from webapp.models import Run

STATISTICS_PERIOD = timedelta(days=30)
MAX_RUNS = 5_000  # Only the newest runs are evaluated.


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """Statistics of a model's last 30 days. Latencies are in milliseconds.

    `spend` has the exact totals of all runs. `complete_costs` are those of the runs whose cost is completely known, and `priced` counts
    those runs, both by currency.
    """

    runs: int
    succeeded: int
    p50: int | None
    p95: int | None
    spend: SpendTotals
    complete_costs: Mapping[str, Decimal]
    priced: Mapping[str, int]

    @property
    def success_percent(self) -> int | None:
        """The percentage of runs that succeeded."""
        return round(100 * self.succeeded / self.runs) if self.runs else None

    @property
    def mean_costs(self) -> Mapping[str, Decimal]:
        """The mean of the completely known costs by currency, rounded."""
        means = {currency: ROUNDED.divide(total, Decimal(self.priced[currency])) for currency, total in self.complete_costs.items()}
        return {currency: mean.quantize(Decimal("0.0000001"), context=ROUNDED) for currency, mean in means.items()}


def model_statistics(session: Session, ref: str, now: datetime | None = None) -> RunStatistics:
    """Return the statistics of the runs on this model. Cached responses are left out, because no model call was made."""
    since = (now or datetime.now(UTC)) - STATISTICS_PERIOD
    query = select(Run).where(Run.model_ref == ref, Run.created_at >= since, Run.cached.is_(False))
    query = query.options(load_only(Run.status, Run.latency_ms, Run.cost, Run.cost_total, Run.currency, Run.sent))
    runs = session.execute(query.order_by(Run.created_at.desc()).limit(MAX_RUNS)).scalars().all()
    latencies = [run.latency_ms for run in runs if run.status == "succeeded"]
    costs = [run.call_cost for run in runs]
    complete = [cost for cost in costs if cost.state == KNOWN]
    priced = Counter(cost.currency or DEFAULT_CURRENCY for cost in complete)
    return RunStatistics(
        len(runs),
        len(latencies),
        percentile(latencies, 50),
        percentile(latencies, 95),
        total_spend(costs),
        total_spend(complete).amounts,
        priced,
    )
