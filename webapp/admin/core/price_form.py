"""The price form: converts its fields to the entry that the services validate, and assigns error messages to fields.

Amounts stay text or exact decimals. A price per token is stored per million by moving the decimal point, never by dividing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from werkzeug.datastructures import MultiDict

from webapp.admin.core import price_start
from webapp.admin.core.fields import parse_whole_number
from webapp.admin.core.rate_rows import BLANK_ROW, HOUR_FIELDS, ROW_FIELDS, ROW_LABELS, is_blank, rate_from_row, row_from_rate
from webapp.domain.catalog.input_schemas import PriceEntry, validate_price
from webapp.domain.catalog.rate_schemas import MAX_RATES
from webapp.domain.pricing.meters import METER_GROUPS, METER_TABLE, METERS, TEXT_TOKENS, TOKEN, TOKEN_METERS, label_of, unit_of
from webapp.domain.pricing.pricing import MILLION, Price, Rate
from webapp.domain.pricing.service_tiers import SERVICE_TIERS, STANDARD
from webapp.domain.shared.errors import Conflict, FieldError, Invalid
from webapp.domain.shared.money import EXACT, format_decimal, parse_amount

UNIT_CHOICES = (("1000000", "per 1M tokens"), ("1000", "per 1K tokens"), ("1", "per token"))
COUNT_SIZES = (1, 1_000, 1_000_000)
ROW_SIZES = (1, 60, 1_000, 3_600, 1_000_000)
TIME_ZONES = ("UTC", "America/Los_Angeles", "America/New_York", "Asia/Shanghai", "Asia/Tokyo", "Europe/Berlin", "Europe/London")
FIELD_LABELS: Mapping[str, str] = {
    "at": "Start",
    "confirm_past": "Start",
    "confirm_price": "Rates",
    "minimum": "Minimum of a line",
    "source_url": "Address",
    "surcharge_percent": "Surcharge",
}
BASIC_METERS = tuple(sorted(METER_GROUPS[TEXT_TOKENS], key=lambda meter: bool(METER_TABLE[meter].parents)))  # Wholes first.
FIELD_METERS = (*BASIC_METERS, *(meter for meter in METERS if meter not in BASIC_METERS))
PRICE_FIELDS = ("minimum", "surcharge_percent")
BLANK_ROWS, MAX_ROWS = 2, MAX_RATES + 10


@dataclass(frozen=True, slots=True)
class PriceFormData:
    """The contents of the form: single fields, and the rows of rates with conditions. `errors` are messages by field."""

    values: Mapping[str, str]
    rows: Sequence[Mapping[str, str]] = ()
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_rates(self) -> bool:
        return bool(self.rows) or any(name.startswith("rate_") for name in self.values)

    def rows_with_blanks(self) -> list[Mapping[str, str]]:
        return [*self.rows, *(BLANK_ROW for _ in range(BLANK_ROWS))]

    def has_rates_of(self, meters: Iterable[str]) -> bool:
        """Return whether one of these meters has a rate or an error, so that its group must be open."""
        return any(self.values.get(f"rate_{meter}") or f"rate_{meter}" in self.errors for meter in meters)

    def per_choices(self, meter: str) -> list[tuple[str, str]]:
        """Return the quantities that the rate of a meter can be entered for, with their names. An unusual one stays a choice."""
        sizes = {1: "", **dict(METER_TABLE[meter].multiples)} if METER_TABLE[meter].multiples else dict.fromkeys(COUNT_SIZES)
        return [(str(size), f"per {unit_of(meter, size)}") for size in _with_entered(sizes, self.values.get(f"per_{meter}", ""))]


def row_per_choices(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the quantities that a row can be entered for, with their names. Empty is the usual one of the meter."""
    words = {60: "60 (minute)", 3_600: "3,600 (hour)", MILLION: "1M"}
    sizes = _with_entered(ROW_SIZES, row["more_per"])
    return [("", "usual"), *((str(size), words.get(size, f"{size:,}")) for size in sizes)]


def choices() -> dict[str, Any]:
    """Return the choices that the rates of the form offer, for its template."""
    return {
        "meters": METER_TABLE,
        "basic_meters": BASIC_METERS,
        "meter_groups": {group: names for group, names in METER_GROUPS.items() if group != TEXT_TOKENS},
        "row_meters": METER_GROUPS,
        "units": UNIT_CHOICES,
        "row_per_choices": row_per_choices,
        "hour_fields": HOUR_FIELDS,
        "service_tiers": SERVICE_TIERS,
        "time_zones": TIME_ZONES,
        "field_label": field_label,
    }


def field_label(name: str) -> str:
    """Return the name of a field in the list of errors."""
    kind, _, rest = name.partition("_")
    if kind == "rate":
        return label_of(rest)
    if kind == "row":
        return f"Rate with conditions {int(rest) + 1}"
    return FIELD_LABELS.get(name) or name.replace("_", " ").capitalize()


def _with_entered(sizes: Iterable[int], entered: str) -> list[int]:
    return list(dict.fromkeys([*sizes, *([int(entered)] if PER.fullmatch(entered) else [])]))


def read_form(form: MultiDict[str, str]) -> PriceFormData:
    """Return the contents without blank rows."""
    values = {name: text.strip()[:2_000] for name, text in form.items() if name not in ROW_FIELDS}
    columns = [(name, form.getlist(name)) for name in ROW_FIELDS]
    rows = [
        {name: cells[index].strip()[:2_000] if index < len(cells) else BLANK_ROW[name] for name, cells in columns}
        for index in range(min(MAX_ROWS, max(len(cells) for _, cells in columns)))
    ]
    return PriceFormData(values, [row for row in rows if not is_blank(row)])


def prefill_form(price: Price | None, **more: str) -> PriceFormData:
    """Return the initial form: empty, or with the rates of the price to replace or correct."""
    values = {"state": "priced", "unit": "1000000", "currency": "USD", "when": "now", **more}
    if price is None:
        return PriceFormData(values)
    values |= {"currency": price.currency} | _price_fields(price)
    if "corrects" in more:
        values |= {"state": price.state, "source_url": price.source.url or ""}
    rows = []
    for rate in price.rates:
        fields = _basic_fields(rate)
        rows += [] if fields else [row_from_rate(rate)]
        values |= fields
    return PriceFormData(values, rows)


def _price_fields(price: Price) -> dict[str, str]:
    amounts = {name: getattr(price, name) for name in PRICE_FIELDS}
    media = {"media_at_text_rate": "on"} if price.media_at_text_rate else {}
    return {name: format_decimal(amount) for name, amount in amounts.items() if amount is not None} | media


def _basic_fields(rate: Rate) -> dict[str, str]:
    """Return the fields that hold a rate, or an empty mapping if only a row can hold it exactly."""
    if not rate.is_plain or rate.service_tier != STANDARD:
        return {}
    if METER_TABLE[rate.meter].unit != TOKEN:
        return {f"rate_{rate.meter}": format_decimal(rate.amount), f"per_{rate.meter}": str(rate.per)}
    amount = "" if rate.per_million is None else format_decimal(rate.per_million)
    return {f"rate_{rate.meter}": amount} if parse_amount(amount) is not None else {}


class PriceInput(NamedTuple):
    """What a form holds: the values for the services, the form field of each rate, and what could not be read."""

    values: dict[str, Any]
    field_names: list[str]
    unreadable: tuple[FieldError, ...] = ()

    def validate(self, form: PriceFormData) -> PriceEntry:
        """Return the price. Raises `Invalid` for everything that is wrong with it."""
        errors = list(self.unreadable)
        entry = None
        try:
            price_start.require_one_start(form.values)
        except Invalid as error:
            errors += error.errors
        try:
            entry = validate_price(self.values)
        except Invalid as error:
            errors += error.errors
        if entry is None or errors:
            raise Invalid.of(errors)
        return entry


def build_entry(form: PriceFormData, now: datetime) -> PriceInput:
    """Return the input for the services from the form."""
    values = form.values
    rates, field_names, unreadable = _build_rates(form) if values.get("state", "priced") == "priced" else ([], [], [])
    entry: dict[str, Any] = {
        "state": values.get("state", ""),
        "currency": values.get("currency") or "USD",
        "rates": rates,
        "media_at_text_rate": bool(values.get("media_at_text_rate")),
        **{name: values.get(name) or None for name in PRICE_FIELDS},
        "effective_from": price_start.effective_from(values, now),
        "source": {"kind": "manual", "url": values.get("source_url") or None},
        "note": values.get("note", ""),
    }
    if values.get("corrects"):
        entry["corrects"] = parse_whole_number(values["corrects"])
    return PriceInput(entry, field_names, tuple(unreadable))


def _build_rates(form: PriceFormData) -> tuple[list[dict[str, Any]], list[str], list[FieldError]]:
    unit = form.values.get("unit", "1000000")
    rates: list[dict[str, Any]] = []
    field_names: list[str] = []
    unreadable: list[FieldError] = []
    for meter in FIELD_METERS:
        if amount := form.values.get(f"rate_{meter}", ""):
            per = unit if METER_TABLE[meter].unit == TOKEN else form.values.get(f"per_{meter}") or "1"
            rates.append(_build_rate(meter, amount, per))
            field_names.append(f"rate_{meter}")
    for index, row in enumerate(form.rows):
        rate = {"meter": row["more_meter"], "amount": row["more_amount"], "per": _row_per(row)}
        try:
            rate |= rate_from_row(row)
        except Invalid as error:
            unreadable += [FieldError(f"rates[{len(rates)}].{problem.field}", problem.message) for problem in error.errors]
        rates.append(rate)
        field_names.append(f"row_{index}")
    return rates, field_names, unreadable


def _row_per(row: Mapping[str, str]) -> object:
    """Return the quantity that the row names, or the usual one: a million tokens, or one of anything else."""
    usual = MILLION if row["more_meter"] in TOKEN_METERS else 1
    return parse_whole_number(row["more_per"]) if row["more_per"] else usual


def _build_rate(meter: str, amount: str, per: str) -> dict[str, Any]:
    """Return a rate. Token rates are stored per million for easy comparison; an amount that does not fit stays as entered."""
    divisor = parse_whole_number(per)
    exact = parse_amount(amount)
    if exact is not None and divisor in (1, 1_000) and METER_TABLE[meter].unit == TOKEN:
        moved = format_decimal(EXACT.multiply(exact, MILLION // int(per)))
        if parse_amount(moved) is not None:
            return {"meter": meter, "amount": moved, "per": MILLION}
    return {"meter": meter, "amount": amount, "per": divisor}


CONFIRMATIONS = ("confirm_past", "confirm_price")
OWN_FIELDS = ("state", "currency", "note", *PRICE_FIELDS, *CONFIRMATIONS)
RATE_PATH = re.compile(r"rates\[([0-9]+)\]\.?(.*)")
PER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
ERROR_FIELDS = {"effective_from": "at", "source.url": "source_url", "source": "source_url", "rates": "rates"}


def errors_by_field(error: Invalid | Conflict, field_names: Sequence[str]) -> dict[str, str]:
    """Return the messages by form field. Messages that belong to no field have an empty key."""
    messages: dict[str, str] = {}
    for problem in error.errors:
        field_name = _error_field(problem.field, field_names)
        message = _error_text(problem, field_name)
        messages[field_name] = f"{messages[field_name]}; {message}" if field_name in messages else message
    return messages or {"": error.detail}


def _error_field(name: str, field_names: Sequence[str]) -> str:
    rate_match = RATE_PATH.match(name)
    if rate_match and int(rate_match[1]) < len(field_names):
        return field_names[int(rate_match[1])]
    return ERROR_FIELDS.get(name, name if name in OWN_FIELDS else "rates" if name.startswith("rates") else "")


def _error_text(problem: FieldError, field_name: str) -> str:
    """Return the message. In a row, it names the field of the row."""
    path = RATE_PATH.match(problem.field)
    label = next((label for name, label in ROW_LABELS.items() if path and (path[2] + ".").startswith(f"{name}.")), "")
    return f"{label} {problem.message}" if label and field_name.startswith("row_") else problem.message


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
