"""Models as CSV: one row per model with its current price. Defines the columns, and how rows are written and parsed.

Rates are exact, per million units (tokens, characters) or per unit (images, requests, ...). Rates that these columns cannot hold, such
as tiers, go to `more_rates` as JSON, so nothing is lost. A missing column leaves the values unchanged. `OLD_CELLS` are the cells of new
prices in files from before their columns existed.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.catalog.input_schemas import MODEL_CHECKS, MODEL_DEFAULTS
from webapp.domain.catalog.rate_schemas import validate_rates
from webapp.domain.pricing.meters import METERS, TOKEN_METERS
from webapp.domain.pricing.pricing import PRICE_STATES, Price, Rate
from webapp.domain.pricing.serializers import rate_document
from webapp.domain.pricing.service_tiers import STANDARD
from webapp.domain.shared.errors import FieldError, Invalid
from webapp.domain.shared.money import AMOUNT, AMOUNT_RULE, EXACT, format_decimal, parse_amount
from webapp.domain.shared.timestamps import format_timestamp

MILLION = 1_000_000
PER_MILLION_METERS = (*TOKEN_METERS, "character")
RATE_COLUMNS: Mapping[str, str] = {f"{meter}_per_1m" if meter in PER_MILLION_METERS else f"{meter}_each": meter for meter in METERS}
FIELD_COLUMNS = ("media_at_text_rate", "minimum", "surcharge_percent")
AMOUNT_COLUMNS = (*RATE_COLUMNS, "minimum", "surcharge_percent")
PRICE_COLUMNS = ("price_state", "price_from", "currency", *RATE_COLUMNS, "more_rates", *FIELD_COLUMNS)
OLD_CELLS: Mapping[str, str] = {"media_at_text_rate": "true"}
COLUMNS = (*MODEL_CHECKS, *PRICE_COLUMNS)
KEY_COLUMNS = ("provider", "model_id")
_LIST_COLUMNS, _INTEGER_COLUMNS, _BOOLEAN_COLUMNS = (
    ("capabilities", "aliases"),
    ("context_window", "max_output_tokens", "sort_order"),
    ("active", "default"),
)
_DECIMAL_COMMA = re.compile(r"[0-9]+,[0-9]+", re.ASCII)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(\.[0-9]{3})+", re.ASCII)
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}


class StatedPrice(NamedTuple):
    """The price in a row."""

    state: str
    currency: str
    rates: tuple[Rate, ...]
    media_at_text_rate: bool = False
    minimum: Decimal | None = None
    surcharge_percent: Decimal | None = None

    def equals(self, price: Price | None) -> bool:
        """Return whether the other price charges exactly the same, even if its rates are written differently."""
        return price is not None and _billing(self) == _billing(price)

    def reuse_unchanged_rates(self, price: Price | None) -> tuple[Rate, ...]:
        """Return the rates. A rate with an unchanged unit price keeps its current notation."""
        current = {rate[:1] + rate[3:]: rate for rate in price.rates} if price else {}
        pairs = ((rate, current.get(rate[:1] + rate[3:])) for rate in self.rates)
        return tuple(old if old and old.exact_unit == rate.exact_unit else rate for rate, old in pairs)


def _billing(price: StatedPrice | Price) -> tuple[object, ...]:
    """Return everything that decides the cost of a call. The fields besides the rates mean nothing without rates."""
    fields = [getattr(price, name) for name in FIELD_COLUMNS] if price.state == "priced" else []
    return price.state, price.currency, {rate[:1] + rate[3:]: rate.exact_unit for rate in price.rates}, fields


# Export


def format_cells(entry: Mapping[str, Any], price: Price | None) -> dict[str, str]:
    """Return the cells of a model. `entry` holds its fields as JSON values."""
    return {name: _format_cell(name, entry[name]) for name in MODEL_CHECKS} | _price_cells(price)


def default_cells() -> dict[str, str]:
    """Return the cells of a new model, used for the columns that its row leaves out."""
    return {name: _format_cell(name, MODEL_DEFAULTS.get(name)) for name in MODEL_CHECKS} | _price_cells(None)


def _format_cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in _LIST_COLUMNS and isinstance(value, list | tuple):
        return " ".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return _dump_json(value) if value else ""
    return str(value)


def _price_cells(price: Price | None) -> dict[str, str]:
    cells = dict.fromkeys(PRICE_COLUMNS, "")
    if price is None:
        return cells
    cells |= {"price_state": price.state, "price_from": format_timestamp(price.effective_from), "currency": price.currency}
    extra_rates = []
    for rate in price.rates:
        column, amount = _plain_rate_cell(rate)
        if column:
            cells[column] = amount
        else:
            extra_rates.append({name: value for name, value in rate_document(rate).items() if value is not None})
    if price.state == "priced":
        cells |= {name: _format_field(getattr(price, name)) for name in FIELD_COLUMNS}
    return cells | ({"more_rates": _dump_json(sorted(extra_rates, key=_dump_json))} if extra_rates else {})


def _format_field(value: Decimal | bool | None) -> str:
    return format_decimal(value) if isinstance(value, Decimal) else _format_cell("", value)


def _plain_rate_cell(rate: Rate) -> tuple[str, str]:
    """Return the column and the amount of a plain rate, or two empty strings if no column can hold it exactly."""
    column = f"{rate.meter}_per_1m" if rate.meter in PER_MILLION_METERS else f"{rate.meter}_each"
    amount = format_decimal(EXACT.multiply(rate.unit, MILLION if rate.meter in PER_MILLION_METERS else 1))
    return (column, amount) if rate.is_plain and rate.service_tier == STANDARD and AMOUNT.fullmatch(amount) else ("", "")


def _dump_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


# Import


def parse_entry(cells: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a model for the services, which check the values. Raises `Invalid` for a value of the wrong kind."""
    entry: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name in MODEL_CHECKS:
        try:
            entry[name] = _parse_value(name, cells[name])
        except Invalid as error:
            errors.extend(error.errors)
    if errors:
        raise Invalid.of(errors)
    return entry


def _parse_value(name: str, text: str) -> object:
    if name in _LIST_COLUMNS:
        return text.split()
    if name == "quirks":
        return _parse_json(text, name) if text.strip() else {}
    if name in _BOOLEAN_COLUMNS:
        return _parse_boolean(text, name)
    if name in _INTEGER_COLUMNS:
        return _parse_integer(text, name)
    return text


def _parse_boolean(text: str, name: str) -> bool:
    if text.strip().lower() not in _BOOLEANS:
        raise Invalid.field(name, "must be true or false")
    return _BOOLEANS[text.strip().lower()]


def _parse_integer(text: str, name: str) -> int | None:
    clean = text.strip()
    if not clean:
        return None
    if not (clean.isascii() and clean.removeprefix("-").isdigit() and len(clean) <= 16):
        raise Invalid.field(name, "must be a whole number in digits, such as 128000")
    return int(clean)


def _parse_json(text: str, name: str) -> Any:
    try:
        return json.loads(text, parse_float=_reject_number, parse_constant=_reject_number)
    except (ValueError, RecursionError):
        raise Invalid.field(name, "must be JSON without floats, as an export has it") from None


def _reject_number(text: str) -> None:
    raise ValueError(text)


def has_decimal_commas(rows: Iterable[Mapping[str, str]]) -> bool:
    """Return whether any amount is written with a decimal comma, such as `2,5`."""
    return any("," in cells.get(column, "") for cells in rows for column in AMOUNT_COLUMNS)


def parse_price(cells: Mapping[str, str], *, decimal_comma: bool = False) -> StatedPrice | None:
    """Return the price in these cells, or None if there is none. Raises `Invalid` naming the columns.

    With `decimal_comma`, the amounts of the file can have one, and an amount that could have a thousands separator is rejected.
    """
    state, currency = cells["price_state"].strip(), cells["currency"].strip()
    rates, errors = _parse_rates(cells, decimal_comma=decimal_comma)
    fields = _parse_fields(cells, errors, decimal_comma=decimal_comma)
    if not (state or rates or errors):
        return None
    state = state or "priced"
    if state not in PRICE_STATES:
        errors.append(FieldError("price_state", f"must be one of {', '.join(PRICE_STATES)}"))
    elif (state == "priced") != bool(rates) and not errors:
        message = "needs at least one rate" if state == "priced" else f"is {state}, and that has no rates: empty the cells of the rates"
        errors.append(FieldError("price_state", message))
    if not currency:
        errors.append(FieldError("currency", "is required where there is a price"))
    errors += _duplicate_errors(rates)
    if errors:
        raise Invalid.of(errors)
    return StatedPrice(state, currency, tuple(rates), **fields)


def _parse_rates(cells: Mapping[str, str], *, decimal_comma: bool) -> tuple[list[Rate], list[FieldError]]:
    rates: list[Rate] = []
    errors: list[FieldError] = []
    for column, meter in RATE_COLUMNS.items():
        text = cells[column].strip()
        try:
            if text:
                amount = _require_amount(column, text, decimal_comma=decimal_comma)
                rates.append(Rate(meter, amount, MILLION if meter in PER_MILLION_METERS else 1))
        except Invalid as error:
            errors.extend(error.errors)
    if cells["more_rates"].strip():
        try:
            rates += validate_rates(_parse_json(cells["more_rates"], "more_rates"), "more_rates")
        except Invalid as error:
            errors.extend(error.errors)
    return rates, errors


def _parse_fields(cells: Mapping[str, str], errors: list[FieldError], *, decimal_comma: bool) -> dict[str, Any]:
    """Return the fields of a price besides its rates. An empty cell is the default of a new price. Errors are added to `errors`."""
    fields: dict[str, Any] = {}
    for name in FIELD_COLUMNS:
        text = cells[name].strip()
        try:
            if text and name in AMOUNT_COLUMNS:
                fields[name] = _require_amount(name, text, decimal_comma=decimal_comma)
            elif text:
                fields[name] = _parse_boolean(text, name)
        except Invalid as error:
            errors.extend(error.errors)
    return fields


def _require_amount(name: str, text: str, *, decimal_comma: bool) -> Decimal:
    amount = _parse_amount(text, decimal_comma=decimal_comma)
    if amount is None:
        raise Invalid.field(name, _amount_rule(text, decimal_comma=decimal_comma))
    return amount


def _parse_amount(text: str, *, decimal_comma: bool) -> Decimal | None:
    if not decimal_comma:
        return parse_amount(text)
    if _THOUSANDS.fullmatch(text):
        return None
    return parse_amount(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)


def _amount_rule(text: str, *, decimal_comma: bool) -> str:
    """Return the message for an amount that cannot be read."""
    if decimal_comma and _THOUSANDS.fullmatch(text):
        return (
            f"is {text[:40]}, which other amounts of this file make ambiguous: write {text[:40].replace('.', '')} for thousands, or a comma"
        )
    if "," in text and "." in text:
        return f"is {text[:40]}: leave out the thousands separator, as in 1250.00"
    if "," in text and not decimal_comma:
        return "has a decimal comma: write a point, or separate the cells of the file with semicolons or tabs"
    return AMOUNT_RULE


def _duplicate_errors(rates: Sequence[Rate]) -> list[FieldError]:
    keys = [rate[:1] + rate[3:] for rate in rates]
    duplicates = dict.fromkeys(str(key[0]) for key in keys if keys.count(key) > 1)
    return [FieldError("more_rates", f"gives {meter} twice for the same conditions") for meter in duplicates]
