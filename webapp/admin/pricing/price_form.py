"""The form of a price: what was typed as the entry that the services check, and their complaints back at the fields.

Amounts stay text or exact decimals all the way. A price per token is stored per million by moving the point, never by dividing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from werkzeug.datastructures import MultiDict

from webapp.admin.core.fields import parse_whole_number
from webapp.admin.core.formatters import format_rate
from webapp.domain.catalog.input_schemas import PriceEntry, validate_price
from webapp.domain.costing.price_sanity import SanityQuestion
from webapp.domain.pricing.meters import describe_conditions, label_of, unit_of
from webapp.domain.pricing.pricing import STANDARD, Cost, Price, Rate, cost_of, price_at
from webapp.domain.pricing.usage import Usage
from webapp.domain.shared import money_text
from webapp.domain.shared.errors import Conflict, Invalid
from webapp.domain.shared.money import EXACT, format_decimal, parse_amount
from webapp.domain.shared.timestamps import EPOCH, format_timestamp, parse_timestamp

BASIC_METERS = ("input", "output", "cache_read", "cache_write", "image", "request")
UNIT_CHOICES = (("1000000", "per 1M tokens"), ("1000", "per 1K tokens"), ("1", "per token"))
PER_CHOICES = (("1000000", "1M"), ("1000", "1,000"), ("1", "1"))
ROW_FIELDS = ("more_meter", "more_amount", "more_per", "more_above", "more_tier")
BLANK_ROWS, MAX_ROWS = 2, 60
MILLION = 1_000_000
SAMPLE_USAGE = Usage(input=1_000, output=500)
NOW_TOLERANCE = timedelta(minutes=1)
LOCAL_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PriceFormData:
    """What stands in the form: single fields, and the rows of further rates."""

    values: Mapping[str, str]
    rows: Sequence[Mapping[str, str]] = ()
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_rates(self) -> bool:
        return bool(self.rows) or any(name.startswith("rate_") for name in self.values)

    def rows_with_blanks(self) -> list[Mapping[str, str]]:
        """The rows that hold something, and some blank ones."""
        kept = [row for row in self.rows if row["more_amount"] or row["more_meter"]]
        return [*kept, *({"more_per": "1000000", "more_tier": STANDARD} for _ in range(BLANK_ROWS))]


def read_form(form: MultiDict[str, str]) -> PriceFormData:
    values = {name: text.strip()[:2_000] for name, text in form.items() if name not in ROW_FIELDS}
    columns = [form.getlist(name)[:MAX_ROWS] for name in ROW_FIELDS]
    rows = [dict(zip(ROW_FIELDS, (cell.strip() for cell in cells), strict=True)) for cells in zip(*columns, strict=False)]
    return PriceFormData(values, rows)


def prefill_form(price: Price | None, **more: str) -> PriceFormData:
    """The form as it is opened: empty, or with the rates of the price that is to be followed or corrected."""
    values = {"state": "priced", "unit": "1000000", "currency": "USD", "when": "now", **more}
    if price is None:
        return PriceFormData(values)
    usual = [rate for rate in price.rates if _is_basic(rate)]
    values |= {"currency": price.currency}
    if "corrects" in more:
        values |= {"state": price.state, "source_url": price.source.url or ""}
    values |= {f"rate_{rate.meter}": _amount_per_unit(rate) for rate in usual}
    # The form has no fields for hours: a rate for some of them is left out, and the echo says that it ends.
    return PriceFormData(values, [_rate_row(rate) for rate in price.rates if rate not in usual and rate.window is None])


def _is_basic(rate: Rate) -> bool:
    plain_one = not describe_conditions(rate)
    return plain_one and rate.meter in BASIC_METERS and (unit_of(rate.meter, 1) == "token" or rate.per == 1)


def _amount_per_unit(rate: Rate) -> str:
    return format_decimal(EXACT.multiply(rate.unit, MILLION)) if unit_of(rate.meter, 1) == "token" else format_decimal(rate.amount)


def _rate_row(rate: Rate) -> dict[str, str]:
    above = "" if rate.above is None else f"{rate.above:,}"
    per = str(rate.per)
    amount, per = (format_decimal(rate.amount), per) if per in dict(PER_CHOICES) else (format_decimal(rate.unit), "1")
    cells = (rate.meter, amount, per, above, rate.service_tier)
    return dict(zip(ROW_FIELDS, cells, strict=True))


def build_entry(typed: PriceFormData, now: datetime) -> tuple[dict[str, Any], list[str]]:
    """The values for the services, and for each rate the field that it was typed in."""
    values = typed.values
    rates, places = _build_rates(typed) if values.get("state", "priced") == "priced" else ([], [])
    entry: dict[str, Any] = {
        "state": values.get("state", ""),
        "currency": values.get("currency") or "USD",
        "rates": rates,
        "effective_from": _effective_from(values, now),
        "source": {"kind": "manual", "url": values.get("source_url") or None},
        "note": values.get("note", ""),
    }
    if values.get("corrects"):
        entry["corrects"] = parse_whole_number(values["corrects"])
    return entry, places


def _build_rates(typed: PriceFormData) -> tuple[list[dict[str, Any]], list[str]]:
    unit = typed.values.get("unit", "1000000")
    rates, places = [], []
    for meter in BASIC_METERS:
        if amount := typed.values.get(f"rate_{meter}", ""):
            per = unit if unit_of(meter, 1) == "token" else "1"
            rates.append(_build_rate(meter, amount, per))
            places.append(f"rate_{meter}")
    for number, row in enumerate(typed.rows):
        if row["more_amount"] or row["more_meter"]:
            conditions = {"above": parse_whole_number(row["more_above"]), "service_tier": row["more_tier"] or STANDARD}
            rates.append(_build_rate(row["more_meter"], row["more_amount"], row["more_per"]) | conditions)
            places.append(f"row_{number}")
    return rates, places


def _build_rate(meter: str, amount: str, per: str) -> dict[str, Any]:
    """Token rates are kept per million, so that they can be compared at a glance; whatever does not fit stays as it was typed."""
    divisor = parse_whole_number(per)
    exact = parse_amount(amount)
    if exact is not None and divisor in (1, 1_000) and unit_of(meter, 1) == "token":
        moved = format_decimal(EXACT.multiply(exact, MILLION // int(per)))
        if parse_amount(moved) is not None:
            return {"meter": meter, "amount": moved, "per": MILLION}
    return {"meter": meter, "amount": amount, "per": divisor}


def _effective_from(values: Mapping[str, str], now: datetime) -> str:
    """In whole seconds, so that a form that is sent twice is refused the second time."""
    at = values.get("at", "")
    if values.get("corrects"):
        return values.get("starts", "")
    if values.get("when", "now") == "now":
        return format_timestamp(now.replace(microsecond=0))
    return f"{at}:00Z" if LOCAL_DATETIME.fullmatch(at) else at


def parse_start(typed: PriceFormData, now: datetime) -> datetime | None:
    """The start that was typed, if it is one."""
    try:
        return parse_timestamp(_effective_from(typed.values, now), "at")
    except Invalid:
        return None


CONFIRMATIONS = ("confirm_past", "confirm_price")
ERROR_FIELDS = {"effective_from": "at", "source.url": "source_url", "source": "source_url", "rates": "rates"}


def errors_by_field(error: Invalid | Conflict, places: Sequence[str]) -> dict[str, str]:
    """What is wrong, by the field it was typed in; what belongs to none stands under the empty name."""
    found: dict[str, str] = {}
    for problem in error.errors:
        place, said = _error_field(problem.field, places), problem.message
        found[place] = f"{found[place]}; {said}" if place in found else said
    return found or {"": error.detail}


def _error_field(name: str, places: Sequence[str]) -> str:
    inside = re.match(r"rates\[([0-9]+)\]", name)
    if inside and int(inside[1]) < len(places):
        return places[int(inside[1])]
    return ERROR_FIELDS.get(
        name, name if name in ("state", "currency", "note", *CONFIRMATIONS) else "rates" if name.startswith("rates") else ""
    )


@dataclass(frozen=True, slots=True)
class PricePreview:
    """What the typed price means: each rate with its unit, what a usual call costs, and what somebody should know before saving."""

    rates: Sequence[tuple[str, str]] = ()
    sample: str = ""
    warnings: Sequence[str] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


def preview_price(
    typed: PriceFormData, history: Sequence[Price], now: datetime, ask: Callable[[Price], Sequence[SanityQuestion]] = lambda _: ()
) -> PricePreview:
    """`history` is the timeline of the model, `ask` what there is to ask about a price before it is saved."""
    entry, places = build_entry(typed, now)
    try:
        checked = validate_price(entry)
    except Invalid as error:
        return PricePreview(errors=errors_by_field(error, places))
    price, present = as_price(checked), price_at(history, now)
    shown = [(label_of(rate.meter), _format_conditional_rate(rate, price.currency)) for rate in price.rates]
    change = None if checked.corrects else past_change(history, price.effective_from, now)
    ending = "" if checked.corrects else _ending_rates_warning(price, present)
    warnings = [change.warning if change else "", *(question.text for question in ask(price)), ending]
    return PricePreview(
        shown, _sample_cost_text(cost_of(price, SAMPLE_USAGE, at=None), price), [warning for warning in warnings if warning]
    )


@dataclass(frozen=True, slots=True)
class PastChange:
    """A span of the past, for which another price is in force until now. `key` is what somebody confirms: this span and no other."""

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
    """What a price that starts then would change of the past; None where it starts now or later, or where there was no price."""
    if start > now - NOW_TOLERANCE or price_at(history, start) is None:
        return None
    return PastChange(start, next((price.effective_from for price in history if start < price.effective_from <= now), None))


def format_span(price: Price, now: datetime) -> str:
    """When a price holds: `From 1 Jan 2025 to 12 Oct 2026`, `From now on`."""
    is_new = now - NOW_TOLERANCE <= price.effective_from <= now
    start = "Since always" if price.effective_from == EPOCH else f"From {'now' if is_new else format_time(price.effective_from)}"
    if price.effective_to:
        return f"{start} to {format_time(price.effective_to)}"
    return start if price.effective_from == EPOCH else f"{start} on"


def format_time(moment: datetime) -> str:
    """The day, and the time where it is not midnight."""
    day = f"{moment.day} {moment:%b %Y}"
    return day if moment.time().replace(second=0, microsecond=0) == time() else f"{day}, {moment:%H:%M} UTC"


def _ending_rates_warning(price: Price, present: Price | None) -> str:
    """A price replaces all rates, also those that were not typed again."""
    if price.state != "priced" or present is None:
        return ""
    kept = {rate[:1] + rate[3:] for rate in price.rates}
    names = [
        ", ".join([label_of(rate.meter).lower(), *describe_conditions(rate)]) for rate in present.rates if rate[:1] + rate[3:] not in kept
    ]
    if not names:
        return ""
    return f"{len(names)} rate{' of the current price ends' if len(names) == 1 else 's of the current price end'}: {'; '.join(names)}."


def as_price(entry: PriceEntry) -> Price:
    """What was typed as a price that is not stored yet."""
    return Price(entry.state, entry.effective_from, entry.currency, entry.rates, corrects=entry.corrects)


def _format_conditional_rate(rate: Rate, currency: str) -> str:
    return ", ".join([format_rate(rate, currency), *describe_conditions(rate)])


def _sample_cost_text(cost: Cost, price: Price) -> str:
    if price.state != "priced":
        return "Every call costs nothing." if price.state == "free" else "Costs are reported as unknown, never as zero."
    if not cost.lines or cost.total is None:
        return ""
    total = money_text.format_amount(cost.total, price.currency)
    return f"A call of 1,000 input and 500 output tokens costs {'' if cost.complete else 'at least '}{total}."
