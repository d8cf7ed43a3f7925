"""Validated values in the form in which they are entered."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from webapp.domain.shared.money import format_decimal


def as_input_values(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return validated values in their input form, because the services validate them again."""
    return {name: as_input_value(value) for name, value in entry.items()}


def as_input_value(value: object) -> object:
    if isinstance(value, Decimal):
        return format_decimal(value)
    return value.isoformat() if hasattr(value, "isoformat") else list(value) if isinstance(value, tuple) else value
