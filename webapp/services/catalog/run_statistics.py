"""Statistics of a model's runs: success rate, latency and cost. A run answered by the built-in rules as a fallback counts as failed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.incidents.evaluation import percentile
from webapp.domain.shared.money import ROUNDED, add_to
from webapp.models import Run

STATISTICS_PERIOD = timedelta(days=30)
MAX_RUNS = 5_000  # Only the newest runs are evaluated.


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """Statistics of a model's last 30 days. Latencies are in milliseconds.

    `costs` are exact totals of the priced runs, and `priced` counts those runs, both by currency.
    """

    runs: int
    succeeded: int
    p50: int | None
    p95: int | None
    costs: Mapping[str, Decimal]
    priced: Mapping[str, int]

    @property
    def success_percent(self) -> int | None:
        """The percentage of runs that succeeded."""
        return round(100 * self.succeeded / self.runs) if self.runs else None

    @property
    def mean_costs(self) -> Mapping[str, Decimal]:
        """The mean cost of a run by currency, rounded."""
        means = {currency: ROUNDED.divide(total, Decimal(self.priced[currency])) for currency, total in self.costs.items()}
        return {currency: mean.quantize(Decimal("0.0000001"), context=ROUNDED) for currency, mean in means.items()}

    @property
    def unpriced(self) -> int:
        """The number of runs without a known cost."""
        return self.runs - sum(self.priced.values())


def model_statistics(session: Session, ref: str, now: datetime | None = None) -> RunStatistics:
    """Return the statistics of the runs on this model. Cached responses are left out, because no model call was made."""
    since = (now or datetime.now(UTC)) - STATISTICS_PERIOD
    query = select(Run.status, Run.latency_ms, Run.cost_total, Run.currency)
    query = query.where(Run.model_ref == ref, Run.created_at >= since, Run.cached.is_(False))
    rows = session.execute(query.order_by(Run.created_at.desc()).limit(MAX_RUNS)).all()
    latencies = [row.latency_ms for row in rows if row.status == "succeeded"]
    costs: dict[str, Decimal] = {}
    priced: Counter[str] = Counter()
    for row in rows:
        if row.cost_total is not None:
            currency = row.currency or "USD"
            add_to(costs, currency, row.cost_total)
            priced[currency] += 1
    return RunStatistics(len(rows), len(latencies), percentile(latencies, 50), percentile(latencies, 95), costs, priced)
