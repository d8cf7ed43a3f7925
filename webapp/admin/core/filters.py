"""Filters of lists: each has its options, rejects other values, and returns its condition in SQL."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, false

from webapp.admin.core.flask_admin_adapter import BaseFilter
from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.timestamps import parse_day, start_of_day

Options = Sequence[tuple[str, str]]
Condition = Callable[[Any], ColumnElement[bool]]
YES_NO: Options = (("1", "Yes"), ("0", "No"))
MAX_VALUE_LENGTH = 200


class Filter(BaseFilter):
    """Filter with a free-text value."""

    def __init__(self, name: str, condition: Condition, *, operation: str = "contains", data_type: str | None = None) -> None:
        super().__init__(name, None, data_type)
        self.condition, self.operation_text = condition, operation

    def operation(self) -> str:
        return self.operation_text

    def validate(self, value: str) -> bool:
        return 0 < len(value) <= MAX_VALUE_LENGTH and value.isprintable()

    def choices(self) -> Options | None:
        """Return the current options, or None for free text."""
        return None

    def apply(self, query: Any, value: Any, alias: Any = None) -> Any:
        return query.filter(self.condition(value))


class ChoiceFilter(Filter):
    """Filter with a list of options, which is fixed or computed each time."""

    def __init__(self, name: str, condition: Condition, options: Options | Callable[[], Options]) -> None:
        super().__init__(name, condition, operation="equals")
        self._options = options

    def choices(self) -> Options:
        return self._options() if callable(self._options) else self._options

    def validate(self, value: str) -> bool:
        return any(value == key for key, _ in self.choices())


class YesNoFilter(ChoiceFilter):
    """Filter for a condition that is true or false."""

    def __init__(self, name: str, condition: Condition) -> None:
        super().__init__(name, condition, YES_NO)

    def clean(self, value: str) -> bool:
        return value == "1"


class SinceFilter(Filter):
    """Filter for times from the start of a day on, in UTC."""

    def __init__(self, name: str, condition: Condition) -> None:
        super().__init__(name, condition, operation="since", data_type="datepicker")

    def validate(self, value: str) -> bool:
        try:
            self.clean(value)
        except Invalid:
            return False
        return True

    def clean(self, value: str) -> datetime:
        return start_of_day(parse_day(value, "day")).astimezone(UTC)


def match_all_words(text: str, matching: Condition) -> ColumnElement[bool]:
    """Return the condition for rows that match every word of a search."""
    words = text.split()[:8]
    condition = matching(words[0]) if words else false()
    for word in words[1:]:
        condition = condition & matching(word)
    return condition
