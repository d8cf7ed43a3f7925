"""Changes as people read them: each field with what it was and what it becomes."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from webapp.domain.pricing.meters import conditions_of, label_of, unit_of
from webapp.domain.pricing.pricing import Price, Rate
from webapp.domain.shared import money_text


class Told(NamedTuple):
    """One field before and after; None is nothing."""

    field: str
    before: str | None
    after: str | None


def text_of(value: object) -> str | None:
    """A JSON value as people read it; None for nothing."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {text_of(inner)}" for name, inner in value.items() if text_of(inner) is not None)
    if isinstance(value, list):
        separator = "\n" if any(isinstance(item, dict) for item in value) else ", "
        return separator.join(text_of(item) or "" for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def fields_told(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> tuple[Told, ...]:
    """These fields, in words."""
    return tuple(Told(name, text_of(before.get(name)), text_of(after.get(name))) for name in names)


def price_told(before: Price | None, after: Price) -> tuple[Told, ...]:
    """How a price differs from the one that holds at its moment so far, rate by rate; if it does not, its state alone."""
    old, new = _rates(before), _rates(after)
    said = [Told(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
    was = before.state if before else None
    return (Told("price", was, after.state), *said) if was != after.state or not said else tuple(said)


def _rates(price: Price | None) -> dict[str, str]:
    return {_name(rate): _amount(rate, price.currency) for rate in price.rates} if price else {}


def _name(rate: Rate) -> str:
    return ", ".join([label_of(rate.meter).lower(), *conditions_of(rate)])


def _amount(rate: Rate, currency: str) -> str:
    return f"{money_text.amount(rate.amount, currency)} per {unit_of(rate.meter, rate.per)}"
