"""What a file of the catalogue says, checked row by row, with the line of everything that is wrong. No database is asked here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from webapp.domain.shared.errors import FieldError, Invalid, ModeldeskError

FORMAT, VERSION = "modeldesk-registry", 1
FORBIDDEN_FIELDS = ("api_key", "key", "keys", "credential", "credentials", "role", "roles", "users", "tokens", "password")
ADDED, CHANGED, SAME = STATES = ("added", "changed", "same")
_TOP_LEVEL_FIELDS = ("format", "version", "providers", "models")


@dataclass(frozen=True, slots=True)
class ImportChange:
    """What an import does to one row. `questions` are what to look at twice: a price far away from the one before."""

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
    """What an import does, or would do; and why it cannot, with the lines. Nothing is changed while there are errors."""

    changes: list[ImportChange] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(change.state == state for change in self.changes)

    def counts(self) -> dict[str, int]:
        return {state: self.count(state) for state in STATES}


class ImportRefused(Invalid):
    """A file cannot be imported; `errors` name the lines. Nothing was changed."""

    code = "import_refused"


class ImportErrors:
    """Collects what is wrong, by line."""

    def __init__(self, lines: Mapping[str, int], report: ImportReport) -> None:
        self._lines, self.report = lines, report

    def add(self, path: str, error: ModeldeskError) -> None:
        found = error.errors if isinstance(error, Invalid) and error.errors else [FieldError("", error.detail)]
        for one in found:
            where = self._line(f"{path}.{one.field}" if one.field else path)
            self.report.errors.append(f"line {where}: {one.field + ' ' if one.field else ''}{one.message}")

    def _line(self, path: str) -> int:
        """The line of the path, or of the nearest entry around it."""
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines.get(path, 1)


def check_top_level(found: Mapping[str, Any], lines: ImportErrors) -> None:
    if found.get("format") != FORMAT or found.get("version") != VERSION:
        lines.add("format", Invalid.field("format", f"must be {FORMAT}, and version {VERSION}"))
    for name in found:
        if name not in _TOP_LEVEL_FIELDS:
            word = (
                "never goes in or out by a file"
                if name in FORBIDDEN_FIELDS
                else f"is not known here; known are {', '.join(_TOP_LEVEL_FIELDS)}"
            )
            lines.add(name, Invalid(f"{name[:60]} {word}"))
    for name in ("providers", "models"):
        if not isinstance(found.get(name, []), list):
            lines.add(name, Invalid.field(name, "must be a list"))


@dataclass(frozen=True, slots=True)
class ImportEntries:
    """What the file says, checked row by row: (path, clean entry), models with their prices."""

    providers: list[tuple[str, dict[str, Any], bool]]
    models: list[tuple[str, dict[str, Any], list[tuple[str, PriceEntry, bool]]]]


def parse_entries(found: Mapping[str, Any], lines: ImportErrors) -> ImportEntries:
    entries = ImportEntries([], [])
    for number, row in enumerate(_rows(found, "providers")):
        path = f"providers[{number}]"
        try:
            clean = (
                validate_provider(_known_fields(row, (*PROVIDER_CHECKS, "primary")) | {}, partial=False)
                if isinstance(row, dict)
                else _raise_not_an_object()
            )
            entries.providers.append((path, clean, bool(row.get("primary"))))
        except Invalid as error:
            lines.add(path, error)
    for number, row in enumerate(_rows(found, "models")):
        path = f"models[{number}]"
        try:
            given = row if isinstance(row, dict) else _raise_not_an_object()
            known = _known_fields(given, (*MODEL_CHECKS, "prices"))
            clean = validate_model({name: value for name, value in known.items() if name != "prices"}, partial=False)
            entries.models.append((path, clean, _parse_prices(given.get("prices") or [], path, lines)))
        except Invalid as error:
            lines.add(path, error)
    return entries


def _rows(found: Mapping[str, Any], name: str) -> Sequence[Any]:
    rows = found.get(name, [])
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
    found = []
    for number, row in enumerate(rows if isinstance(rows, list) else [None]):
        where = f"{path}.prices[{number}]"
        try:
            given = dict(row) if isinstance(row, dict) else _raise_not_an_object()
            corrects = given.pop("corrects_previous", False) is True
            source = given.pop("source", {"kind": "import"})
            entry = validate_price(given)
            found.append((where, entry._replace(source=_parse_source(source)), corrects))
        except Invalid as error:
            lines.add(where, error)
    return found


def _parse_source(given: object) -> Mapping[str, Any]:
    """Where a price came from is kept, whatever kind of source it was."""
    if not isinstance(given, dict) or given.get("kind") not in SOURCE_KINDS:
        raise Invalid.field("source", f"must be an object whose kind is one of {', '.join(SOURCE_KINDS)}")
    clean = {"kind": given["kind"]}
    for name in ("name", "url", "verified_at"):
        clean[name] = SOURCE_CHECKS[name](given.get(name), f"source.{name}")
    return clean
