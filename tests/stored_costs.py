"""The database of commit fab12c9 with its stored costs (tests/data/stored-costs/README.md)."""

import json
import lzma
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import flask_migrate
from sqlalchemy import JSON, Connection, Date, DateTime, LargeBinary, MetaData, Table, text

from webapp.config.settings import ROOT
from webapp.extensions import db
from webapp.extensions.engine import WRITING

OLD_VERSION = "5d0b7f9e41a3"
FIXTURE = Path(__file__).with_name("data") / "stored-costs" / "stored-costs.jsonl.xz"
MIGRATIONS = str(ROOT / "migrations")


class Calculated(NamedTuple):
    """One cost as the old code calculated it. A line is (meter, billed as, quantity, cost)."""

    price_id: int
    usage: Mapping[str, int]
    service_tier: str
    at: datetime
    total: str | None
    complete: bool
    missing: list[str]
    lines: list[list[Any]]


class StoredCosts(NamedTuple):
    """`rows` are those of each table, by column. `files` are an export and a last-good copy, by name."""

    rows: Mapping[str, list[dict[str, Any]]]
    calculated: list[Calculated]
    files: Mapping[str, str]


@cache
def stored_costs() -> StoredCosts:
    lines = [json.loads(line) for line in lzma.decompress(FIXTURE.read_bytes()).decode().splitlines()]
    (usages,) = (line["usages"] for line in lines if "usages" in line)
    (costs,) = (line["costs"] for line in lines if "costs" in line)
    return StoredCosts(
        rows={line["table"]: [dict(zip(line["columns"], row, strict=True)) for row in line["rows"]] for line in lines if "table" in line},
        calculated=[Calculated(price, usages[usage], tier, datetime.fromisoformat(at), *rest) for price, usage, tier, at, *rest in costs],
        files={line["file"]: line["text"] for line in lines if "file" in line},
    )


def create_old_database() -> None:
    """Create the tables of the old version in the application's database, and fill them."""
    flask_migrate.upgrade(directory=MIGRATIONS, revision=OLD_VERSION)
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        for name, rows in stored_costs().rows.items():
            _insert(connection, name, rows)
        connection.commit()
    db.session.remove()


def _insert(connection: Connection, name: str, rows: list[dict[str, Any]]) -> None:
    table = Table(name, MetaData(), autoload_with=connection)
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type = JSON(none_as_null=True)
    connection.execute(table.insert(), [_read_row(table, row) for row in rows])
    if connection.dialect.name == "postgresql":  # Explicit ids do not advance the sequences.
        connection.execute(text(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))"))


def _read_row(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_value(table.columns[name].type, value) for name, value in row.items()}


def _read_value(column_type: object, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column_type, DateTime):
        at = datetime.fromisoformat(value)
        return at if column_type.timezone else at.replace(tzinfo=None)
    if isinstance(column_type, Date):
        return date.fromisoformat(value)
    return bytes.fromhex(value) if isinstance(column_type, LargeBinary) else value
