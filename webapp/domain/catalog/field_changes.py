"""Changes as text for users: each field before and after."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.catalog.source_scope import PRICE_FIELDS
from webapp.domain.pricing.meters import label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.pricing.rate_text import describe_conditions
from webapp.domain.shared import money_text
from webapp.domain.shared.money import format_decimal


class FieldChange(NamedTuple):
    """One field before and after. None means no value."""

    field: str
    before: str | None
    after: str | None


def format_value(value: object) -> str | None:
    """Return a JSON value as text, or None if it is empty."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {format_value(item)}" for name, item in value.items() if format_value(item) is not None)
    if isinstance(value, list):
        separator = "\n" if any(isinstance(item, dict) for item in value) else ", "
        return separator.join(format_value(item) or "" for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe_fields(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> tuple[FieldChange, ...]:
    """Return the changes of these fields as text."""
    return tuple(FieldChange(name, format_value(before.get(name)), format_value(after.get(name))) for name in names)


def describe_price(before: Price | None, after: Price) -> tuple[FieldChange, ...]:
    """Return the changes by rate and field from `before`, the price in force at that time. Without any, return the state alone."""
    old, new = _format_price(before), _format_price(after)
    rate_changes = [
        FieldChange(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)
    ]
    old_state = before.state if before else None
    return (
        (FieldChange("price", old_state, after.state), *rate_changes)
        if old_state != after.state or not rate_changes
        else tuple(rate_changes)
    )


def _format_price(price: Price | None) -> dict[str, str]:
    if price is None or price.state != "priced":
        return {}
    rates = {_rate_label(rate): _format_rate(rate, price.currency) for rate in price.rates}
    fields = {label.lower(): _format_field(getattr(price, name)) for name, label in PRICE_FIELDS.items()}
    return rates | {label: text for label, text in fields.items() if text}


def _format_field(value: Decimal | bool | None) -> str | None:
    return format_decimal(value) if isinstance(value, Decimal) else format_value(value or None)


def _rate_label(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter).lower(), *describe_conditions(rate)])


def _format_rate(rate: Rate, currency: str) -> str:
    return f"{money_text.format_amount(rate.amount, currency)} per {unit_of(rate.meter, rate.per)}"
