"""Reader of a vendor's usage object: every count is read by name, and every number that no one has read is reported."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from webapp.domain.pricing.usage import MAX_QUANTITY
from webapp.domain.shared.errors import Malformed

MAX_NESTING, MAX_FIELDS, MAX_NAME, MAX_TEXT = 10, 1_000, 100, 300
MAX_FRACTION = 60  # Digits after the point of an amount of money. Longer ones cannot be stored.
UNREAD_PART = "raw:unnamed"
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COUNT_NAME = re.compile(r"(?:^|\.)(?:num_[^.]*|[^.]*(?:tokens|count|units|requests|seconds|searches|images))$")
_PLAIN_NAME = re.compile(r"[\w.]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class IgnoredField:
    """A number of the vendor's object that no meter holds, and the reason."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class CountError:
    """A count that cannot be one. `status` is that of a report with this count: 400 for another type, 422 for another range."""

    field: str
    message: str
    status: int


class UsageReader:
    """Reads counts by their path in snake_case; `camelCase` is equal, and null is absent. `response` holds the rest of the response."""

    def __init__(self, raw: Mapping[str, object], response: Mapping[str, object]):
        self.response = {snake_name(name): value for name, value in response.items()}
        self.missing: list[str] = []
        self.contradictions: list[str] = []
        self.errors: list[CountError] = []
        self._spellings: dict[str, str] = {}
        self._raw = self._normalize(raw, "", "")
        self._reasons: dict[str, str] = {}  # By path: why a field is ignored, or an empty text for a field that was read.

    def value(self, path: str) -> object:
        """Return the value at a path, or None. It counts as read."""
        self._reasons[path] = ""
        return self.peek(path)

    def peek(self, path: str) -> object:
        """Return the value at a path, or None, without a change to what is read or ignored."""
        document: object = self._raw
        for name in path.split("."):
            document = document.get(name) if isinstance(document, Mapping) else None
        return document

    def count(self, *paths: str) -> int | None:
        """Return the count at the first of these paths that has one."""
        counts = [self.to_count(path, self.value(path)) for path in paths]
        return next((count for count in counts if count is not None), None)

    def is_invalid(self, path: str) -> bool:
        return any(error.field == self.spelling(path) for error in self.errors)

    def entries(self, path: str) -> list[Mapping[str, object]]:
        """Return the objects of the list at a path."""
        values = self.value(path)
        if values and not isinstance(values, list):
            self.mark_missing(path)
        return [entry for entry in values if isinstance(entry, Mapping)] if isinstance(values, list) else []

    def text(self, path: str) -> str | None:
        value = self.value(path)
        return value[:MAX_TEXT] if isinstance(value, str) and value else None

    def sum(self, whole: str, *additions: str) -> int | None:
        """Return the sum of counts. None if the first is absent, or if any of them is invalid."""
        counts = [self.count(path) for path in (whole, *additions)]
        if counts[0] is None or any(self.is_invalid(path) for path in (whole, *additions)):
            return None
        return sum(count or 0 for count in counts)

    def ignore(self, reason: str, *paths: str) -> None:
        for path in paths:
            self._reasons[path] = reason

    def to_count(self, path: str, value: object) -> int | None:
        """Return a value as a count: an integer, or a float with a zero fraction. Record an error for any other value."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return self._reject(path, f"must be a whole number, not {_type_name(value)}", 400)
        if not 0 <= value <= MAX_QUANTITY:  # True for NaN too.
            return self._reject(path, f"must be from 0 to {MAX_QUANTITY:,}", 422)
        if value % 1:
            return self._reject(path, "must be a whole number, not a fraction", 400)
        return int(value)

    def require_total(self, path: str, expected: int | None) -> None:
        """Compare the vendor's own total with the sum. A total above the sum holds tokens that are not known."""
        total = self.count(path)
        if total is not None and expected is not None and total > expected:
            self.mark_missing(path)

    def mark_missing(self, path: str) -> None:
        self.missing.append(f"raw:{self.spelling(path)}")

    def _mark_unread_part(self) -> None:
        if UNREAD_PART not in self.missing:
            self.missing.append(UNREAD_PART)

    def spelling(self, path: str) -> str:
        """Return a path as the vendor spells it."""
        spelling = self._spellings.get(path, path)
        return spelling if _PLAIN_NAME.fullmatch(spelling) else "unnamed"

    def report_unread(self) -> tuple[IgnoredField, ...]:
        """Return the ignored numbers. An unread number other than zero with the name of a count is missing."""
        ignored = []
        for path in _numbers(self._raw, ""):
            reason = self._reason(path)
            if reason is None and _COUNT_NAME.search(path):
                self.mark_missing(path)
            elif reason != "":
                ignored.append(IgnoredField(self.spelling(path), reason or "not a count"))
        return tuple(ignored)

    def _reason(self, path: str) -> str | None:
        while path not in self._reasons and "." in path:
            path = path.rpartition(".")[0]
        return self._reasons.get(path)

    def _reject(self, path: str, message: str, status: int) -> int | None:
        if not self.is_invalid(path):
            self.errors.append(CountError(self.spelling(path), message, status))
        return None

    def _normalize(self, value: object, path: str, spelling: str, depth: int = 0) -> object:
        if depth > MAX_NESTING:
            raise Malformed.field("usage", f"is nested deeper than {MAX_NESTING} levels")
        if isinstance(value, list):
            return [self._normalize(item, path, spelling, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return value
        document: dict[str, object] = {}
        for name, item in value.items():
            if item is None:
                continue
            if len(str(name)) > MAX_NAME or len(self._spellings) >= MAX_FIELDS:  # Paths would take more memory than the response.
                self._mark_unread_part()
                continue
            snake = snake_name(name)
            inner_path, inner_spelling = (f"{path}.{snake}", f"{spelling}.{name}") if path else (snake, str(name))
            self._spellings[inner_path] = inner_spelling
            normalized = self._normalize(item, inner_path, inner_spelling, depth + 1)
            if document.setdefault(snake, normalized) != normalized:
                self.contradictions.append(self.spelling(inner_path))
        return document


def snake_name(name: object) -> str:
    return _WORD_START.sub("_", str(name)).lower().replace(".", "_")


def text_or_none(value: object) -> str | None:
    """Return the beginning of a text that can be stored and shown."""
    return value[:MAX_TEXT] if isinstance(value, str) and value and value.isprintable() else None


def amount_or_none(value: object) -> Decimal | None:
    """Return an amount of money that is a number, exactly as the vendor wrote it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        return None
    return amount if amount.is_finite() and 0 <= amount <= MAX_QUANTITY and _has_short_fraction(amount) else None


def _has_short_fraction(amount: Decimal) -> bool:
    exponent = amount.as_tuple().exponent
    return not amount or (isinstance(exponent, int) and exponent >= -MAX_FRACTION)


def _type_name(value: object) -> str:
    names = {bool: "a boolean", str: "text", list: "a list"}
    return names.get(type(value), "an object")


def _numbers(value: object, path: str) -> Iterator[str]:
    """Return the paths of the numbers other than zero. Entries of a list have the path of the list."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _numbers(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, path)
    elif not isinstance(value, bool) and isinstance(value, int | float | Decimal) and value:
        yield path
