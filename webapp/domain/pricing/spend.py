"""What calls of providers cost, and sums of it. An unknown cost is a count of calls, and never zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from webapp.domain.shared import money_text
from webapp.domain.shared.money import add_to

# The states of a cost. A call that was not sent has no cost, which is neither unknown nor zero.
NO_COST, KNOWN, PARTIAL, UNKNOWN = "none", "known", "partial", "unknown"
COST_STATES = (NO_COST, KNOWN, PARTIAL, UNKNOWN)

DEFAULT_CURRENCY = "USD"


def known_amount(total: Decimal | None, *, complete: bool) -> Decimal | None:
    """Return the known part of a cost, or None if nothing of it is known. A zero from which a rate is missing is not known."""
    return total if total or complete else None


class CallCost(NamedTuple):
    """The cost of one call. `total` is None if it is unknown, and `complete` is false if only a part of it is known."""

    total: Decimal | None
    currency: str | None
    complete: bool
    sent: bool = True

    @property
    def amount(self) -> Decimal | None:
        """The amount that counts in sums, or None."""
        return known_amount(self.total, complete=self.complete) if self.sent else None

    @property
    def state(self) -> str:
        if not self.sent:
            return NO_COST
        if self.amount is None:
            return UNKNOWN
        return KNOWN if self.complete else PARTIAL


NOT_SENT = CallCost(None, None, complete=True, sent=False)
UNKNOWN_COST = CallCost(None, None, complete=False)


@dataclass(slots=True)
class SpendTotals:
    """Sums of known amounts by currency. `unknown` and `partial` count the calls whose cost is unknown, or only partly known."""

    amounts: dict[str, Decimal] = field(default_factory=dict)
    known: int = 0
    unknown: int = 0
    partial: int = 0

    @property
    def complete(self) -> bool:
        return not (self.unknown or self.partial)

    @property
    def is_unknown(self) -> bool:
        """Whether no amount is known. Without any call the sum is zero, which is known."""
        return not self.complete and not any(self.amounts.values())

    def add(self, call: CallCost) -> None:
        amount = call.amount
        if amount is None:
            self.unknown += call.sent
            return
        self.known += 1
        self.partial += not call.complete
        add_to(self.amounts, call.currency or DEFAULT_CURRENCY, amount)


def total_spend(calls: Iterable[CallCost]) -> SpendTotals:
    totals = SpendTotals()
    for call in calls:
        totals.add(call)
    return totals


def format_spend(spend: SpendTotals, amounts: Mapping[str, Decimal] | None = None) -> str:
    """Return the sums as text: `$0.12`, `at least $0.12`, or `unknown (6 calls)`. `amounts` selects some of the currencies."""
    shown = spend.amounts if amounts is None else amounts
    if not spend.complete and not any(shown.values()):
        return f"unknown ({_calls(spend.unknown + spend.partial)})"
    text = " and ".join(money_text.format_amounts(shown))
    return text if spend.complete else f"at least {text}"


def describe_unknown(spend: SpendTotals) -> str | None:
    """Return what the sums do not contain, such as `2 calls with unknown cost`, or None if they are complete."""
    notes = [(spend.unknown, "with unknown cost"), (spend.partial, "with partly unknown cost")]
    return ", ".join(f"{_calls(count)} {note}" for count, note in notes if count) or None


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"
