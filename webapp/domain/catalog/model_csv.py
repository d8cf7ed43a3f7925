"""Models as CSV: one row a model, with the price that holds now. What each column means, and how a row reads back.

Rates are exact, for a million units (tokens, characters) or for one (images, requests ...). What those columns cannot say, such as
tiers, goes to `more_rates` as JSON, so that nothing is lost. A column that is left out leaves things as they are.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.catalog import input_schemas
from webapp.domain.catalog.input_schemas import MODEL_CHECKS, MODEL_DEFAULTS
from webapp.domain.catalog.serializers import rate_document
from webapp.domain.pricing.pricing import PRICE_STATES, STANDARD, Price, Rate
from webapp.domain.pricing.usage import METERS, TOKEN_METERS
from webapp.domain.shared.errors import FieldError, Invalid
from webapp.domain.shared.money import AMOUNT, AMOUNT_RULE, EXACT, parse_amount, plain
from webapp.domain.shared.timestamps import shown_moment

MILLION = 1_000_000
BY_MILLION = (*TOKEN_METERS, "character")
RATES: Mapping[str, str] = {f"{meter}_per_1m" if meter in BY_MILLION else f"{meter}_each": meter for meter in METERS}
PRICE = ("price_state", "price_from", "currency", *RATES, "more_rates")
COLUMNS = (*MODEL_CHECKS, *PRICE)
KEYS = ("provider", "model_id")
_LISTS, _NUMBERS, _TRUTHS = ("capabilities", "aliases"), ("context_window", "max_output_tokens", "sort_order"), ("active", "default")
_WORDS: Mapping[str, bool] = {"true": True, "false": False}


class StatedPrice(NamedTuple):
    """The price that a row states."""

    state: str
    currency: str
    rates: tuple[Rate, ...]

    def equals(self, price: Price | None) -> bool:
        """Whether that price charges exactly the same, however its rates are written."""
        return price is not None and (self.state, self.currency, _charged(self.rates)) == (
            price.state,
            price.currency,
            _charged(price.rates),
        )

    def spelled_like(self, price: Price | None) -> tuple[Rate, ...]:
        """The rates; those that charge what they did are written as they were."""
        present = {rate[:1] + rate[3:]: rate for rate in price.rates} if price else {}
        pairs = ((rate, present.get(rate[:1] + rate[3:])) for rate in self.rates)
        return tuple(was if was and was.unit == rate.unit else rate for rate, was in pairs)


def _charged(rates: Sequence[Rate]) -> dict[tuple[object, ...], Decimal]:
    return {rate[:1] + rate[3:]: rate.unit for rate in rates}


# Out.


def cells_of(entry: Mapping[str, Any], price: Price | None) -> dict[str, str]:
    """The cells of a model whose fields are given as JSON values."""
    return {name: _cell(name, entry[name]) for name in MODEL_CHECKS} | _price_cells(price)


def blank() -> dict[str, str]:
    """What a new model has where its row says nothing."""
    return {name: _cell(name, MODEL_DEFAULTS.get(name)) for name in MODEL_CHECKS} | _price_cells(None)


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in _LISTS and isinstance(value, list | tuple):
        return " ".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return _json(value) if value else ""
    return str(value)


def _price_cells(price: Price | None) -> dict[str, str]:
    cells = dict.fromkeys(PRICE, "")
    if price is None:
        return cells
    cells |= {"price_state": price.state, "price_from": shown_moment(price.effective_from), "currency": price.currency}
    more = []
    for rate in price.rates:
        column, amount = _place(rate)
        if column:
            cells[column] = amount
        else:
            more.append({name: value for name, value in rate_document(rate).items() if value is not None})
    return cells | ({"more_rates": _json(sorted(more, key=_json))} if more else {})


def _place(rate: Rate) -> tuple[str, str]:
    """The column and the amount of a plain rate, or two empty texts if no column can say it exactly."""
    column = f"{rate.meter}_per_1m" if rate.meter in BY_MILLION else f"{rate.meter}_each"
    amount = plain(EXACT.multiply(rate.unit, MILLION if rate.meter in BY_MILLION else 1))
    is_plain = rate.above is None and rate.service_tier == STANDARD and rate.window is None
    return (column, amount) if is_plain and AMOUNT.fullmatch(amount) else ("", "")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


# In.


def entry_of(cells: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a model as the services take them: they check the values. Raises `Invalid` for what is no value of its kind."""
    found: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name in MODEL_CHECKS:
        try:
            found[name] = _value(name, cells[name])
        except Invalid as error:
            errors.extend(error.errors)
    if errors:
        raise Invalid.of(errors)
    return found


def _value(name: str, text: str) -> object:
    if name in _LISTS:
        return text.split()
    if name == "quirks":
        return _parsed(text, name) if text.strip() else {}
    if name in _TRUTHS:
        return _truth(text, name)
    if name in _NUMBERS:
        return _number(text, name)
    return text


def _truth(text: str, name: str) -> bool:
    if text.strip().lower() not in _WORDS:
        raise Invalid.field(name, "must be true or false")
    return _WORDS[text.strip().lower()]


def _number(text: str, name: str) -> int | None:
    clean = text.strip()
    if not clean:
        return None
    if not (clean.isascii() and clean.removeprefix("-").isdigit() and len(clean) <= 16):
        raise Invalid.field(name, "must be a whole number in digits, such as 128000")
    return int(clean)


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text, parse_float=_refused, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise Invalid.field(name, "must be JSON without floats, as an export has it") from None


def _refused(text: str) -> None:
    raise ValueError(text)


def price_of(cells: Mapping[str, str]) -> StatedPrice | None:
    """The price that these cells state, or None if they state none. Raises `Invalid` at its columns."""
    state, currency = cells["price_state"].strip(), cells["currency"].strip()
    rates, errors = _rates(cells)
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
    errors += _repeated(rates)
    if errors:
        raise Invalid.of(errors)
    return StatedPrice(state, currency, tuple(rates))


def _rates(cells: Mapping[str, str]) -> tuple[list[Rate], list[FieldError]]:
    rates: list[Rate] = []
    errors: list[FieldError] = []
    for column, meter in RATES.items():
        text = cells[column].strip()
        amount = parse_amount(text)
        if amount is not None:
            rates.append(Rate(meter, amount, MILLION if meter in BY_MILLION else 1))
        elif text:
            errors.append(FieldError(column, AMOUNT_RULE))
    if cells["more_rates"].strip():
        try:
            rates += input_schemas.rates(_parsed(cells["more_rates"], "more_rates"), "more_rates")
        except Invalid as error:
            errors.extend(error.errors)
    return rates, errors


def _repeated(rates: Sequence[Rate]) -> list[FieldError]:
    places = [rate[:1] + rate[3:] for rate in rates]
    twice = dict.fromkeys(str(place[0]) for place in places if places.count(place) > 1)
    return [FieldError("more_rates", f"gives {meter} twice for the same conditions") for meter in twice]
