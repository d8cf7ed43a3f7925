"""The price form: converts its fields to the entry that the services validate, and assigns error messages to fields.

Amounts stay text or exact decimals. A price per token is stored per million by moving the decimal point, never by dividing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from werkzeug.datastructures import MultiDict

from webapp.admin.core.fields import parse_whole_number
from webapp.admin.core.formatters import format_rate, format_time
from webapp.admin.pricing import price_start
from webapp.admin.pricing.price_start import NOW_TOLERANCE
from webapp.domain.catalog.input_schemas import PriceEntry, validate_price
from webapp.domain.costing.price_sanity import SanityQuestion
from webapp.domain.pricing.costs import Cost, cost_of
from webapp.domain.pricing.meters import label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate, price_at
from webapp.domain.pricing.rate_text import describe_conditions
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import Conflict, Invalid
from webapp.domain.shared.money import EXACT, format_decimal, parse_amount
from webapp.domain.shared.timestamps import EPOCH, format_timestamp

BASIC_METERS = ("input", "output", "cache_read", "cache_write", "image", "request")
UNIT_CHOICES = (("1000000", "per 1M tokens"), ("1000", "per 1K tokens"), ("1", "per token"))
PER_CHOICES = (("1000000", "1M"), ("1000", "1,000"), ("1", "1"))
ROW_FIELDS = ("more_meter", "more_amount", "more_per", "more_above", "more_tier")
BLANK_ROWS, MAX_ROWS = 2, 60
MILLION = 1_000_000
SAMPLE_USAGE = Usage(input=1_000, output=500)


@dataclass(frozen=True, slots=True)
class PriceFormData:
    """The contents of the form: single fields, and the rows of additional rates."""

    values: Mapping[str, str]
    rows: Sequence[Mapping[str, str]] = ()
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_rates(self) -> bool:
        return bool(self.rows) or any(name.startswith("rate_") for name in self.values)

    def rows_with_blanks(self) -> list[Mapping[str, str]]:
        """Return the rows with content, and some blank rows."""
        filled = [row for row in self.rows if row["more_amount"] or row["more_meter"]]
        return [*filled, *({"more_per": "1000000", "more_tier": STANDARD} for _ in range(BLANK_ROWS))]


def read_form(form: MultiDict[str, str]) -> PriceFormData:
    values = {name: text.strip()[:2_000] for name, text in form.items() if name not in ROW_FIELDS}
    columns = [form.getlist(name)[:MAX_ROWS] for name in ROW_FIELDS]
    rows = [dict(zip(ROW_FIELDS, (cell.strip() for cell in cells), strict=True)) for cells in zip(*columns, strict=False)]
    return PriceFormData(values, rows)


def prefill_form(price: Price | None, **more: str) -> PriceFormData:
    """Return the initial form: empty, or with the rates of the price to replace or correct."""
    values = {"state": "priced", "unit": "1000000", "currency": "USD", "when": "now", **more}
    if price is None:
        return PriceFormData(values)
    basic_rates = [rate for rate in price.rates if _is_basic(rate)]
    values |= {"currency": price.currency}
    if "corrects" in more:
        values |= {"state": price.state, "source_url": price.source.url or ""}
    values |= {f"rate_{rate.meter}": _amount_per_unit(rate) for rate in basic_rates}
    # The form has no fields for hours. A rate with a window is left out, and the preview warns that it ends.
    return PriceFormData(values, [_rate_row(rate) for rate in price.rates if rate not in basic_rates and rate.window is None])


def _is_basic(rate: Rate) -> bool:
    is_unconditional = not describe_conditions(rate)
    return is_unconditional and rate.meter in BASIC_METERS and (unit_of(rate.meter, 1) == "token" or rate.per == 1)


def _amount_per_unit(rate: Rate) -> str:
    return format_decimal(EXACT.multiply(rate.unit, MILLION)) if unit_of(rate.meter, 1) == "token" else format_decimal(rate.amount)


def _rate_row(rate: Rate) -> dict[str, str]:
    above = "" if rate.above is None else f"{rate.above:,}"
    per = str(rate.per)
    amount, per = (format_decimal(rate.amount), per) if per in dict(PER_CHOICES) else (format_decimal(rate.unit), "1")
    cells = (rate.meter, amount, per, above, rate.service_tier)
    return dict(zip(ROW_FIELDS, cells, strict=True))


def build_entry(form: PriceFormData, now: datetime) -> tuple[dict[str, Any], list[str]]:
    """Return the values for the services, and the form field of each rate."""
    values = form.values
    rates, field_names = _build_rates(form) if values.get("state", "priced") == "priced" else ([], [])
    entry: dict[str, Any] = {
        "state": values.get("state", ""),
        "currency": values.get("currency") or "USD",
        "rates": rates,
        "effective_from": price_start.effective_from(values, now),
        "source": {"kind": "manual", "url": values.get("source_url") or None},
        "note": values.get("note", ""),
    }
    if values.get("corrects"):
        entry["corrects"] = parse_whole_number(values["corrects"])
    return entry, field_names


def _build_rates(form: PriceFormData) -> tuple[list[dict[str, Any]], list[str]]:
    unit = form.values.get("unit", "1000000")
    rates, field_names = [], []
    for meter in BASIC_METERS:
        if amount := form.values.get(f"rate_{meter}", ""):
            per = unit if unit_of(meter, 1) == "token" else "1"
            rates.append(_build_rate(meter, amount, per))
            field_names.append(f"rate_{meter}")
    for index, row in enumerate(form.rows):
        if row["more_amount"] or row["more_meter"]:
            conditions = {"above": parse_whole_number(row["more_above"]), "service_tier": row["more_tier"] or STANDARD}
            rates.append(_build_rate(row["more_meter"], row["more_amount"], row["more_per"]) | conditions)
            field_names.append(f"row_{index}")
    return rates, field_names


def _build_rate(meter: str, amount: str, per: str) -> dict[str, Any]:
    """Return a rate. Token rates are stored per million for easy comparison; an amount that does not fit stays as entered."""
    divisor = parse_whole_number(per)
    exact = parse_amount(amount)
    if exact is not None and divisor in (1, 1_000) and unit_of(meter, 1) == "token":
        moved = format_decimal(EXACT.multiply(exact, MILLION // int(per)))
        if parse_amount(moved) is not None:
            return {"meter": meter, "amount": moved, "per": MILLION}
    return {"meter": meter, "amount": amount, "per": divisor}


CONFIRMATIONS = ("confirm_past", "confirm_price")
ERROR_FIELDS = {"effective_from": "at", "source.url": "source_url", "source": "source_url", "rates": "rates"}


def errors_by_field(error: Invalid | Conflict, field_names: Sequence[str]) -> dict[str, str]:
    """Return the messages by form field. Messages that belong to no field have an empty key."""
    messages: dict[str, str] = {}
    for problem in error.errors:
        field_name, message = _error_field(problem.field, field_names), problem.message
        messages[field_name] = f"{messages[field_name]}; {message}" if field_name in messages else message
    return messages or {"": error.detail}


def _error_field(name: str, field_names: Sequence[str]) -> str:
    rate_match = re.match(r"rates\[([0-9]+)\]", name)
    if rate_match and int(rate_match[1]) < len(field_names):
        return field_names[int(rate_match[1])]
    return ERROR_FIELDS.get(
        name, name if name in ("state", "currency", "note", *CONFIRMATIONS) else "rates" if name.startswith("rates") else ""
    )


@dataclass(frozen=True, slots=True)
class PricePreview:
    """The meaning of an entered price: each rate with its unit, the cost of a sample call, and warnings."""

    rates: Sequence[tuple[str, str]] = ()
    sample: str = ""
    start: str = ""
    warnings: Sequence[str] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


def preview_price(
    form: PriceFormData, history: Sequence[Price], now: datetime, list_questions: Callable[[Price], Sequence[SanityQuestion]] = lambda _: ()
) -> PricePreview:
    """Return the preview of a form. `history` is the model's timeline; `ask` returns the sanity questions about a price."""
    entry, field_names = build_entry(form, now)
    try:
        price_start.require_one_start(form.values)
        validated = validate_price(entry)
    except Invalid as error:
        return PricePreview(errors=errors_by_field(error, field_names))
    price, current = as_price(validated), price_at(history, now)
    rates = [(label_of(rate.meter), _format_conditional_rate(rate, price.currency)) for rate in price.rates]
    change = None if validated.corrects else past_change(history, price.effective_from, now)
    ending_warning = "" if validated.corrects else _ending_rates_warning(price, current)
    warnings = [change.warning if change else "", *(question.text for question in list_questions(price)), ending_warning]
    sample = _sample_cost_text(cost_of(price, SAMPLE_USAGE, at=None), price)
    start = f"It starts {price_start.format_start(price.effective_from, now)}."
    return PricePreview(rates, sample, start, [warning for warning in warnings if warning])


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
    new_rates = {rate[:1] + rate[3:] for rate in price.rates}
    names = [
        ", ".join([label_of(rate.meter).lower(), *describe_conditions(rate)])
        for rate in current.rates
        if rate[:1] + rate[3:] not in new_rates
    ]
    if not names:
        return ""
    return f"{len(names)} rate{' of the current price ends' if len(names) == 1 else 's of the current price end'}: {'; '.join(names)}."


def as_price(entry: PriceEntry) -> Price:
    """Return the entry as a price that is not stored yet."""
    return Price(
        state=entry.state,
        effective_from=entry.effective_from,
        currency=entry.currency,
        rates=entry.rates,
        corrects=entry.corrects,
        media_at_text_rate=entry.media_at_text_rate,
        minimum=entry.minimum,
        surcharge_percent=entry.surcharge_percent,
    )


def _format_conditional_rate(rate: Rate, currency: str) -> str:
    return ", ".join([format_rate(rate, currency), *describe_conditions(rate)])


def _sample_cost_text(cost: Cost, price: Price) -> str:
    if price.state != "priced":
        return "Every call costs nothing." if price.state == "free" else "Costs are reported as unknown, never as zero."
    if not cost.lines or cost.total is None:
        return ""
    total = money_text.format_amount(cost.total, price.currency)
    return f"A call of 1,000 input and 500 output tokens costs {'' if cost.complete else 'at least '}{total}."
