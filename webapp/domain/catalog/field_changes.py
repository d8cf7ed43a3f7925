"""Changes as text for users: each field before and after."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from webapp.domain.pricing.pricing import PRICE_TERMS, Price, Rate
from webapp.domain.pricing.rate_text import format_entered_rate, format_term, label_with_conditions
from webapp.domain.pricing.serializers import rate_from
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
    if isinstance(value, Decimal):
        return format_decimal(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe_fields(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> tuple[FieldChange, ...]:
    """Return the changes of these fields as text."""
    return tuple(FieldChange(name, format_value(before.get(name)), format_value(after.get(name))) for name in names)


def describe_price(before: Price | None, after: Price) -> tuple[FieldChange, ...]:
    """Return the changes by rate from `before`, the price in force at that time. Without any, return the state alone."""
    old, new = _price_texts(before), _price_texts(after)
    changes = [FieldChange(name, *texts) for name in dict.fromkeys([*new, *old]) if _differ(*(texts := (old.get(name), new.get(name))))]
    old_state = before.state if before else None
    return (FieldChange("price", old_state, after.state), *changes) if old_state != after.state or not changes else tuple(changes)


def readable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an audit event with the rates of prices as text, such as `input $3 per 1M tokens`."""
    nested = {name: readable_values(value) for name, value in values.items() if isinstance(value, dict)}
    rates = values.get("rates")
    if not isinstance(rates, list) or not all(isinstance(rate, dict) for rate in rates):
        return {**values, **nested}
    return {**values, **nested, "rates": "\n".join(_document_text(rate, values.get("currency")) for rate in rates)}


def _document_text(document: Mapping[str, Any], currency: str | None) -> str:
    rate = rate_from(document)
    return f"{_rate_label(rate)}: {format_entered_rate(rate, currency or 'USD')}"


def _price_texts(price: Price | None) -> dict[str, str]:
    """Return the rates of a price and its other fields that change costs, as texts by label."""
    if price is None:
        return {}
    rates = {_rate_label(rate): format_entered_rate(rate, price.currency) for rate in price.rates}
    if price.state != "priced":
        return rates
    terms = {label.lower(): format_term(name, getattr(price, name), price.currency) for name, label in PRICE_TERMS.items()}
    return rates | {label: text for label, text in terms.items() if text}


def _differ(before: str | None, after: str | None) -> bool:
    """Return whether two texts are a change. A price that has no term is like one that states `no`."""
    return (before or "no") != (after or "no")


def _rate_label(rate: Rate) -> str:
    label = label_with_conditions(rate)
    return f"{label[:1].lower()}{label[1:]}"
