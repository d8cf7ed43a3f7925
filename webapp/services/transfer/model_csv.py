"""The models of the registry as CSV, out and in. A price that a row changes becomes a new dated one; the past stays as it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from webapp.domain.catalog import model_csv
from webapp.domain.catalog.input_schemas import validate_model
from webapp.domain.catalog.model_csv import COLUMNS, KEY_COLUMNS, StatedPrice
from webapp.domain.catalog.serializers import rate_document
from webapp.domain.pricing.pricing import Price, price_at, timeline
from webapp.domain.shared import csv_text as cells
from webapp.domain.shared.csv_text import CsvRow
from webapp.domain.shared.errors import FieldError, Invalid, quote_text
from webapp.domain.shared.timestamps import format_timestamp, parse_timestamp
from webapp.services.catalog import models
from webapp.services.pricing import prices
from webapp.services.transfer import registry_import
from webapp.services.transfer.import_rows import FORBIDDEN_FIELDS, FORMAT, VERSION, ImportRefused
from webapp.services.transfer.registry_yaml import ParsedRegistryFile, check_size


@dataclass(frozen=True, slots=True)
class CurrentModel:
    """A model as it is now: its cells, and its price."""

    cells: Mapping[str, str]
    price: Price | None


@dataclass(slots=True)
class ParsedModels:
    """What was read so far: the models as a catalogue file says them, the line of each, and what is wrong."""

    models: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_error(self, line: int, error: Invalid) -> None:
        found = error.errors or [FieldError("", error.detail)]
        self.problems += [f"line {line}: {one.field + ' ' if one.field else ''}{one.message}" for one in found]


def export_models(session: Session, at: datetime) -> str:
    """All models with the prices that hold at this moment."""
    return cells.write_csv(COLUMNS, (present.cells for _, present in _current_models(session, at)))


def parse_models(session: Session, text: str, at: datetime) -> ParsedRegistryFile:
    """What the file says, laid over what there is, as a catalogue file: `catalog_files.apply` takes it on. Raises `Invalid`."""
    check_size(text)
    columns, rows = cells.read_csv(text)
    _check_columns(columns)
    present = dict(_current_models(session, at))
    found = ParsedModels()
    seen: dict[str, int] = {}
    for row in rows:
        ref = "/".join(row.cells[name].strip() for name in KEY_COLUMNS)
        try:
            if ref in seen:
                raise Invalid(f"{quote_text(ref)} was on line {seen[ref]} already")
            seen[ref] = row.line
            entry = _parse_row(row, present.get(ref), at)
        except Invalid as error:
            found.add_error(row.line, error)
        else:
            found.lines[f"models[{len(found.models)}]"] = row.line
            found.models.append(entry)
    document = {"format": FORMAT, "version": VERSION, "models": found.models}
    return ParsedRegistryFile(document, found.lines, tuple(found.problems))


def _current_models(session: Session, at: datetime) -> Iterator[tuple[str, CurrentModel]]:
    for row in registry_import.list_model_rows(session):
        price = price_at(timeline(map(prices.to_domain, row.prices)), at)
        yield row.ref, CurrentModel(model_csv.format_cells(models.audit_values(row), price), price)


def _check_columns(columns: list[str]) -> None:
    messages = [f"{name} is missing: it says which model a row is about" for name in KEY_COLUMNS if name not in columns]
    for name in dict.fromkeys(columns):
        if name in FORBIDDEN_FIELDS:
            messages.append(f"{name} never goes in or out by a file")
        elif name not in COLUMNS:
            messages.append(f"{quote_text(name, 40)} is no column; columns are {', '.join(COLUMNS)}")
        elif columns.count(name) > 1:
            messages.append(f"{name} is there twice")
    if messages:
        told = [f"line 1: {message}" for message in messages]
        raise ImportRefused(f"Nothing was imported. {'; '.join(told)}.", [FieldError("file", message) for message in told])


def _parse_row(row: CsvRow, present: CurrentModel | None, at: datetime) -> dict[str, Any]:
    """The model as the file leaves it, with a new price if the row states another one."""
    base = present.cells if present else model_csv.default_cells()
    full = {**base, **row.cells}
    errors: list[FieldError] = []
    entry: dict[str, Any] = {}
    stated: StatedPrice | None = None
    try:
        entry = model_csv.parse_entry(full)
        validate_model(entry, partial=False)  # Here already, so that what is wrong on other lines is told with it.
    except Invalid as error:
        errors.extend(error.errors)
    try:
        stated = model_csv.parse_price(full)
        entry["prices"] = _new_prices(stated, present.price if present else None, full["price_from"].strip(), at)
    except Invalid as error:
        errors.extend(error.errors)
    if errors:
        raise Invalid.of(errors)
    return entry


def _new_prices(stated: StatedPrice | None, price: Price | None, start: str, at: datetime) -> list[dict[str, Any]]:
    """None, or the one price that is to be added."""
    if stated is None:
        if price is not None:
            raise Invalid.field("price_state", "is empty, and so are the rates: write unknown if the price is no longer known")
        return []
    if stated.equals(price):
        return []
    rates = [rate_document(rate) for rate in stated.reuse_unchanged_rates(price)]
    return [{"state": stated.state, "currency": stated.currency, "effective_from": _effective_from(price, start, at), "rates": rates}]


def _effective_from(price: Price | None, start: str, at: datetime) -> str:
    """When the new price starts: what the row says, or now where it says nothing or still names the price that it replaces."""
    now = at.replace(microsecond=0)
    if not start or (price is not None and start == format_timestamp(price.effective_from)):
        return format_timestamp(now)
    moment = parse_timestamp(start, "price_from")
    if price is not None and moment < now:
        message = "lies in the past, which a file of models does not change: leave it empty for now, or correct the price on its page"
        raise Invalid.field("price_from", message)
    return format_timestamp(moment)
