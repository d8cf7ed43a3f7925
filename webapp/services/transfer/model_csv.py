"""CSV import and export of the registry's models. A changed price becomes a new dated price; past prices do not change."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.domain.catalog import model_csv
from webapp.domain.catalog.input_schemas import validate_model
from webapp.domain.catalog.model_csv import COLUMNS, KEY_COLUMNS, StatedPrice
from webapp.domain.pricing.pricing import Price, price_at, timeline
from webapp.domain.pricing.serializers import rate_document
from webapp.domain.shared import csv_text as cells
from webapp.domain.shared.csv_text import CsvRow
from webapp.domain.shared.errors import FieldError, Invalid, quote_text
from webapp.domain.shared.money import format_decimal
from webapp.domain.shared.timestamps import format_timestamp, parse_timestamp
from webapp.models import Provider
from webapp.services.catalog import models
from webapp.services.pricing import prices
from webapp.services.transfer import registry_export
from webapp.services.transfer.import_rows import FORBIDDEN_FIELDS, FORMAT, MAX_ERRORS, VERSION, ImportRefused
from webapp.services.transfer.registry_yaml import ParsedRegistryFile, check_size


@dataclass(frozen=True, slots=True)
class CurrentModel:
    """The current CSV cells and price of a model."""

    cells: Mapping[str, str]
    price: Price | None


class RowContext(NamedTuple):
    """What a row is compared with: its model, the time of the import, and the decimal mark of the file."""

    current: CurrentModel | None
    at: datetime
    decimal_comma: bool


@dataclass(slots=True)
class ParsedModels:
    """The models parsed so far as registry file entries, the line of each, and the errors."""

    models: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_error(self, line: int, error: Invalid) -> None:
        errors = error.errors or [FieldError("", error.detail)]
        self.problems += [f"line {line}: {item.field + ' ' if item.field else ''}{item.message}" for item in errors]


def export_models(session: Session, at: datetime) -> str:
    """Return all models as CSV, with the prices in force at `at`."""
    return cells.write_csv(COLUMNS, (model.cells for _, model in _current_models(session, at)))


def parse_models(session: Session, text: str, at: datetime) -> ParsedRegistryFile:
    """Merge a CSV file into the current models, and return them as a registry file for `registry_import.prepare`. Raises `Invalid`."""
    check_size(text)
    columns, rows = cells.read_csv(text)
    _check_columns(columns)
    current = dict(_current_models(session, at))
    slugs = set(session.execute(select(Provider.slug)).scalars())
    decimal_comma = cells.separator_of(text) != "," and model_csv.has_decimal_commas(row.cells for row in rows)
    parsed = ParsedModels()
    line_by_ref: dict[str, int] = {}
    for row in rows:
        if len(parsed.problems) >= MAX_ERRORS:
            break
        ref = "/".join(row.cells[name].strip() for name in KEY_COLUMNS)
        try:
            if ref in line_by_ref:
                raise Invalid(f"{quote_text(ref)} was on line {line_by_ref[ref]} already")
            line_by_ref[ref] = row.line
            _require_provider(row, slugs)
            entry = _parse_row(row, RowContext(current.get(ref), at, decimal_comma))
        except Invalid as error:
            parsed.add_error(row.line, error)
        else:
            parsed.lines[f"models[{len(parsed.models)}]"] = row.line
            parsed.models.append(entry)
    document = {"format": FORMAT, "version": VERSION, "models": parsed.models}
    return ParsedRegistryFile(document, parsed.lines, tuple(parsed.problems))


def _require_provider(row: CsvRow, slugs: Collection[str]) -> None:
    """Raise `Invalid` for an unknown provider. This comes first, because all columns of its models look missing."""
    slug = row.cells["provider"].strip()
    if slug and slug not in slugs:
        message = f"must be the slug of an existing provider, not {quote_text(slug, 60)}: add the provider first, or correct the slug"
        raise Invalid.field("provider", message)


def _current_models(session: Session, at: datetime) -> Iterator[tuple[str, CurrentModel]]:
    for row in registry_export.list_model_rows(session):
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
        lines = [f"line 1: {message}" for message in messages]
        raise ImportRefused(f"Nothing was imported. {'; '.join(lines)}.", [FieldError("file", message) for message in lines])


def _parse_row(row: CsvRow, context: RowContext) -> dict[str, Any]:
    """Return the model after the import, with a new price if the row's price differs."""
    current, at = context.current, context.at
    base = current.cells if current else model_csv.default_cells()
    base = {**base, **{column: base[column] or text for column, text in model_csv.OLD_CELLS.items()}}
    if context.decimal_comma:  # Stored amounts are written as those of the file, so that none of them is ambiguous.
        base |= {column: base[column].replace(".", ",") for column in model_csv.AMOUNT_COLUMNS}
    merged = {**base, **row.cells}
    errors: list[FieldError] = []
    entry: dict[str, Any] = {}
    stated: StatedPrice | None = None
    try:
        entry = model_csv.parse_entry(merged)
        validate_model(entry, partial=False)  # Validate now, to report these errors together with those of other lines.
    except Invalid as error:
        errors.extend(error.errors)
    try:
        stated = model_csv.parse_price(merged, decimal_comma=context.decimal_comma)
        _require_currency_of_minimum(stated, current.price if current else None, row)
        entry["prices"] = _new_prices(stated, current.price if current else None, merged["price_from"].strip(), at)
    except Invalid as error:
        errors.extend(error.errors)
    if errors:
        raise Invalid.of(errors)
    return entry


def _new_prices(stated: StatedPrice | None, price: Price | None, start: str, at: datetime) -> list[dict[str, Any]]:
    """Return a list with the new price, or an empty list."""
    if stated is None:
        if price is not None:
            raise Invalid.field("price_state", "is empty, and so are the rates: write unknown if the price is no longer known")
        return []
    if stated.equals(price):
        return []
    rates = [rate_document(rate) for rate in stated.reuse_unchanged_rates(price)]
    amounts = {"minimum": stated.minimum, "surcharge_percent": stated.surcharge_percent}
    return [
        {
            "state": stated.state,
            "currency": stated.currency,
            "effective_from": _effective_from(price, start, at),
            "rates": rates,
            "media_at_text_rate": stated.media_at_text_rate,
            **{name: amount if amount is None else format_decimal(amount) for name, amount in amounts.items()},
        }
    ]


def _require_currency_of_minimum(stated: StatedPrice | None, price: Price | None, row: CsvRow) -> None:
    """Raise `Invalid` if the row gives a minimum that it does not state another currency."""
    if "minimum" in row.cells or stated is None or price is None or price.minimum is None:
        return
    if price.currency != stated.currency:
        raise Invalid.field("currency", f"differs from that of the minimum, {price.currency}: add the column minimum")


def _effective_from(price: Price | None, start: str, at: datetime) -> str:
    """Return the start of the new price: the row's value, or now if the row is empty or repeats the start of the replaced price."""
    now = at.replace(microsecond=0)
    if not start or (price is not None and start == format_timestamp(price.effective_from)):
        return format_timestamp(now)
    effective_from = parse_timestamp(start, "price_from")
    if price is not None and effective_from < now:
        message = "lies in the past, which a file of models does not change: leave it empty for now, or correct the price on its page"
        raise Invalid.field("price_from", message)
    return format_timestamp(effective_from)
