"""Changes as people read them: each field with what it was and what it becomes."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from webapp.domain.pricing.meters import describe_conditions, label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.shared import money_text


class FieldChange(NamedTuple):
    """One field before and after; None is nothing."""

    field: str
    before: str | None
    after: str | None


def format_value(value: object) -> str | None:
    """A JSON value as people read it; None for nothing."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(
            f"{name.replace('_', ' ')} {format_value(inner)}" for name, inner in value.items() if format_value(inner) is not None
        )
    if isinstance(value, list):
        separator = "\n" if any(isinstance(item, dict) for item in value) else ", "
        return separator.join(format_value(item) or "" for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe_fields(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> tuple[FieldChange, ...]:
    """These fields, in words."""
    return tuple(FieldChange(name, format_value(before.get(name)), format_value(after.get(name))) for name in names)


def describe_price(before: Price | None, after: Price) -> tuple[FieldChange, ...]:
    """How a price differs from the one that holds at its moment so far, rate by rate; if it does not, its state alone."""
    old, new = _format_rates(before), _format_rates(after)
    said = [FieldChange(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
    was = before.state if before else None
    return (FieldChange("price", was, after.state), *said) if was != after.state or not said else tuple(said)


def _format_rates(price: Price | None) -> dict[str, str]:
    return {_rate_label(rate): _format_rate(rate, price.currency) for rate in price.rates} if price else {}


def _rate_label(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter).lower(), *describe_conditions(rate)])


def _format_rate(rate: Rate, currency: str) -> str:
    return f"{money_text.format_amount(rate.amount, currency)} per {unit_of(rate.meter, rate.per)}"
