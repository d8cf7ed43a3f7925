"""Row-by-row validation of a registry file, with the line of every error. It needs no database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from webapp.domain.catalog.field_changes import FieldChange
from webapp.domain.catalog.input_schemas import (
    MODEL_CHECKS,
    PROVIDER_CHECKS,
    SOURCE_CHECKS,
    PriceEntry,
    validate_model,
    validate_price,
    validate_provider,
)
from webapp.domain.pricing.pricing import SOURCE_KINDS
from webapp.domain.pricing.serializers import IN_OLD_DOCUMENTS
from webapp.domain.shared.errors import Confirmation, FieldError, Invalid, ModeldeskError

MAX_ERRORS = 50  # Reading a file stops after this many.
FORMAT, VERSION = "modeldesk-registry", 1
FORBIDDEN_FIELDS = ("api_key", "key", "keys", "credential", "credentials", "role", "roles", "users", "tokens", "password")
ADDED, CHANGED, SAME = STATES = ("added", "changed", "same")
_TOP_LEVEL_FIELDS = ("format", "version", "providers", "models")


@dataclass(frozen=True, slots=True)
class ImportChange:
    """The change that an import makes to one row. `questions` are warnings, such as a price far from the previous one."""

    kind: str
    name: str
    state: str
    lines: tuple[FieldChange, ...] = ()
    questions: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(line.field for line in self.lines)


@dataclass(slots=True)
class ImportReport:
    """The changes of an import, its errors with their lines, and what must be confirmed. Nothing changes if there are errors."""

    changes: list[ImportChange] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    confirmations: list[Confirmation] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(change.state == state for change in self.changes)

    def counts(self) -> dict[str, int]:
        return {state: self.count(state) for state in STATES}


class ImportRefused(Invalid):
    """A rejected import; `errors` name the lines. Nothing changed."""

    code = "import_refused"


class ImportErrors:
    """Collects errors with their lines. Reading stops when it is full."""

    def __init__(self, lines: Mapping[str, int], report: ImportReport, limit: int = MAX_ERRORS) -> None:
        self._lines, self.report, self._limit = lines, report, limit

    @property
    def is_full(self) -> bool:
        return len(self.report.errors) >= self._limit

    def add(self, path: str, error: ModeldeskError) -> None:
        errors = error.errors if isinstance(error, Invalid) and error.errors else [FieldError("", error.detail)]
        for error_item in errors:
            line = self._line(f"{path}.{error_item.field}" if error_item.field else path)
            self.report.errors.append(f"line {line}: {error_item.field + ' ' if error_item.field else ''}{error_item.message}")

    def _line(self, path: str) -> int:
        """Return the line of the path, or of its nearest enclosing entry."""
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines.get(path, 1)


def check_top_level(document: Mapping[str, Any], lines: ImportErrors) -> None:
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        lines.add("format", Invalid.field("format", f"must be {FORMAT}, and version {VERSION}"))
    for name in document:
        if name not in _TOP_LEVEL_FIELDS:
            message = (
                "never goes in or out by a file"
                if name in FORBIDDEN_FIELDS
                else f"is not known here; known are {', '.join(_TOP_LEVEL_FIELDS)}"
            )
            lines.add(name, Invalid(f"{name[:60]} {message}"))
    for name in ("providers", "models"):
        if not isinstance(document.get(name, []), list):
            lines.add(name, Invalid.field(name, "must be a list"))


@dataclass(frozen=True, slots=True)
class ImportEntries:
    """The validated rows of a file: (path, clean entry), and models with their prices."""

    providers: list[tuple[str, dict[str, Any], bool]]
    models: list[tuple[str, dict[str, Any], list[tuple[str, PriceEntry, bool]]]]


class PreparedImport(NamedTuple):
    """A file that was read and validated: its rows, and the line of each path."""

    entries: ImportEntries
    lines: Mapping[str, int]


def parse_entries(document: Mapping[str, Any], lines: ImportErrors) -> ImportEntries:
    entries = ImportEntries([], [])
    for index, row in enumerate(_rows(document, "providers")):
        if lines.is_full:
            break
        path = f"providers[{index}]"
        try:
            entry = (
                validate_provider(_known_fields(row, (*PROVIDER_CHECKS, "primary")) | {}, partial=False)
                if isinstance(row, dict)
                else _raise_not_an_object()
            )
            entries.providers.append((path, entry, bool(row.get("primary"))))
        except Invalid as error:
            lines.add(path, error)
    for index, row in enumerate(_rows(document, "models")):
        if lines.is_full:
            break
        path = f"models[{index}]"
        try:
            model = row if isinstance(row, dict) else _raise_not_an_object()
            fields = _known_fields(model, (*MODEL_CHECKS, "prices"))
            entry = validate_model({name: value for name, value in fields.items() if name != "prices"}, partial=False)
            entries.models.append((path, entry, _parse_prices(model.get("prices") or [], path, lines)))
        except Invalid as error:
            lines.add(path, error)
    return entries


def _rows(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    rows = document.get(name, [])
    return rows if isinstance(rows, list) else []


def _raise_not_an_object() -> dict[str, Any]:
    raise Invalid("must be an object")


def _known_fields(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    for name in row:
        if name in FORBIDDEN_FIELDS:
            raise Invalid(f"{name} never goes in or out by a file: enter keys on the provider's page")
        if name not in names:
            raise Invalid.field(str(name)[:60], "is not known here")
    return {name: value for name, value in row.items() if name != "primary"}


def _parse_prices(rows: object, path: str, lines: ImportErrors) -> list[tuple[str, PriceEntry, bool]]:
    entries = []
    for index, row in enumerate(rows if isinstance(rows, list) else [None]):
        price_path = f"{path}.prices[{index}]"
        try:
            price = dict(row) if isinstance(row, dict) else _raise_not_an_object()
            cancels = price.pop("cancels_previous", False) is True
            corrects = price.pop("corrects_previous", False) is True or cancels
            source = price.pop("source", {"kind": "import"})
            entry = validate_price({**IN_OLD_DOCUMENTS, **price})
            entries.append((price_path, entry._replace(source=_parse_source(source), cancels=cancels), corrects))
        except Invalid as error:
            lines.add(price_path, error)
    return entries


def _parse_source(source: object) -> Mapping[str, Any]:
    """Return the validated source of a price. Every kind of source is kept."""
    if not isinstance(source, dict) or source.get("kind") not in SOURCE_KINDS:
        raise Invalid.field("source", f"must be an object whose kind is one of {', '.join(SOURCE_KINDS)}")
    checked = {"kind": source["kind"]}
    for name in ("name", "url", "verified_at"):
        checked[name] = SOURCE_CHECKS[name](source.get(name), f"source.{name}")
    return checked
