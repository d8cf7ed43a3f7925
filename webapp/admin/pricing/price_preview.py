"""What an entered price means: its rates read back, its start, warnings, and the past that it changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from webapp.admin.core import price_start
from webapp.admin.core.formatters import format_time
from webapp.admin.core.price_form import PriceFormData, as_price, build_entry, errors_by_field
from webapp.admin.core.price_start import NOW_TOLERANCE
from webapp.domain.costing.price_sanity import SanityQuestion
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.meters import label_of
from webapp.domain.pricing.pricing import Price, Rate, price_at, rate_key
from webapp.domain.pricing.rate_text import describe_conditions, describe_terms, format_rate, label_with_conditions
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.timestamps import EPOCH, format_timestamp

SAMPLE_USAGE = Usage(input=1_000, output=500)


@dataclass(frozen=True, slots=True)
class PricePreview:
    """The meaning of an entered price: each rate with its unit, terms of the whole price, the cost of a sample call, and warnings."""

    rates: Sequence[tuple[str, str]] = ()
    terms: Sequence[str] = ()
    sample: str = ""
    start: str = ""
    warnings: Sequence[str] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


def preview_price(
    form: PriceFormData, history: Sequence[Price], now: datetime, list_questions: Callable[[Price], Sequence[SanityQuestion]] = lambda _: ()
) -> PricePreview:
    """Return the preview of a form. `history` is the model's timeline; `ask` returns the sanity questions about a price."""
    entered = build_entry(form, now)
    try:
        validated = entered.validate(form)
    except Invalid as error:
        return PricePreview(errors=errors_by_field(error, entered.field_names))
    price, current = as_price(validated), price_at(history, now)
    rates = [(label_of(rate.meter), _format_conditional_rate(rate, price.currency)) for rate in price.rates]
    change = None if validated.corrects else past_change(history, price.effective_from, now)
    ending_warning = "" if validated.corrects else _ending_rates_warning(price, current)
    warnings = [change.warning if change else "", *(question.text for question in list_questions(price)), ending_warning]
    sample = _sample_cost_text(cost_of(price, SAMPLE_USAGE, at=None), price)
    start = f"It starts {price_start.format_start(price.effective_from, now)}."
    return PricePreview(rates, describe_terms(price), sample, start, [warning for warning in warnings if warning])


@dataclass(frozen=True, slots=True)
class PastChange:
    """A past span whose price would change. A confirmation names its `key`, and so applies to exactly this span."""

    start: datetime
    end: datetime | None

    @property
    def key(self) -> str:
        return f"{format_timestamp(self.start)}/{format_timestamp(self.end) if self.end else ''}"

    @property
    def warning(self) -> str:
        span = f"between {format_time(self.start)} and {format_time(self.end) if self.end else 'now'}"
        return f"This changes what calls {span} cost. To correct a wrong price use “Correct” in the history."


def past_change(history: Sequence[Price], start: datetime, now: datetime) -> PastChange | None:
    """Return the past span that a price starting at `start` would change.

    Returns None if the price starts now or later, or if no price applied at `start`.
    """
    if start > now - NOW_TOLERANCE or price_at(history, start) is None:
        return None
    return PastChange(start, next((price.effective_from for price in history if start < price.effective_from <= now), None))


def format_span(price: Price, now: datetime) -> str:
    """Return the validity of a price, such as `From 1 Jan 2025 to 12 Oct 2026` or `From now on`."""
    is_new = now - NOW_TOLERANCE <= price.effective_from <= now
    start = "Since always" if price.effective_from == EPOCH else f"From {'now' if is_new else format_time(price.effective_from)}"
    if price.effective_to:
        return f"{start} to {format_time(price.effective_to)}"
    return start if price.effective_from == EPOCH else f"{start} on"


def _ending_rates_warning(price: Price, current: Price | None) -> str:
    """Return a warning about current rates that the new price lacks, or an empty string.

    A price replaces all rates, including those that were not entered again.
    """
    if price.state != "priced" or current is None:
        return ""
    new_rates = {rate_key(rate) for rate in price.rates}
    labels = [label_with_conditions(rate) for rate in current.rates if rate_key(rate) not in new_rates]
    names = [f"{label[:1].lower()}{label[1:]}" for label in labels]
    if not names:
        return ""
    return f"{len(names)} rate{' of the current price ends' if len(names) == 1 else 's of the current price end'}: {'; '.join(names)}."


def _format_conditional_rate(rate: Rate, currency: str) -> str:
    return ", ".join([format_rate(rate, currency), *describe_conditions(rate)])


def _sample_cost_text(cost: Cost, price: Price) -> str:
    if price.state != "priced":
        return "Every call costs nothing." if price.state == "free" else "Costs are reported as unknown, never as zero."
    if not cost.lines or cost.total is None:
        return ""
    total = money_text.format_amount(cost.total, price.currency)
    hours = " outside the hours of its rates" if any(rate.window for rate in price.rates) else ""
    return f"A call of 1,000 input and 500 output tokens{hours} costs {'' if cost.complete else 'at least '}{total}."
