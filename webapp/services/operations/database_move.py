"""Move to another database: every table is copied in one transaction, and counts and sums are compared before the commit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Column, Connection, Engine, Integer, Table, create_engine, func, inspect, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from webapp.config.settings import ROOT, sqlite_path
from webapp.config.sqlite_driver import COMPANIONS, companion
from webapp.config.storage_errors import is_disk_full
from webapp.domain.shared.errors import Conflict, DiskFull, Invalid, Unavailable
from webapp.domain.shared.money import EXACT, ZERO, format_decimal
from webapp.extensions.database_file import OWNER_FILE
from webapp.extensions.engine import CONSISTENT_READ, WRITING, create_file, engine_options, guard_engine
from webapp.models import Base
from webapp.models.base import ExactDecimal

BATCH_SIZE = 500
# Reports of processes, which are of no use in another database.
EXCLUDED_TABLES = ("registry_processes", "job_workers")
# Tables with a row from a migration. The copied row replaces it.
TABLES_FILLED_BY_MIGRATION = ("audit_state",)


@dataclass(frozen=True, slots=True)
class TableChecksum:
    """The row count of a table, and the sums of its integer and exact decimal columns, by column."""

    table: str
    rows: int
    sums: Mapping[str, str]


def move(source: Engine, target_url: str) -> list[TableChecksum]:
    """Copy everything. The target stays empty unless its counts and sums equal those of the source.

    Raises `Invalid` for an unsupported URL, `Conflict` unless the target is empty, and `Unavailable` if the copy fails.
    """
    target = _create_target_engine(target_url)
    try:
        if inspect(target).get_table_names():
            raise Conflict("The target is not empty. Name a database without any table.", code="not_empty")
        options = {"isolation_level": "REPEATABLE READ"} if source.dialect.name == "postgresql" else {CONSISTENT_READ: True}
        with (
            source.connect().execution_options(**options) as old,
            target.connect().execution_options(**{WRITING: True}) as new,
            new.begin(),
        ):
            _require_current_migration(old)
            _migrate(new)
            return [_verify_copy(old, new, table) for table in _copy_tables(old, new)]
    except (SQLAlchemyError, OSError) as error:
        _delete_file(target)
        if is_disk_full(error):
            raise DiskFull("The disk of the target is full. Nothing was kept. Free some space there, then try again.") from error
        raise Unavailable(f"The target cannot be written: {_error_text(error, target)}. Nothing was kept.") from error
    finally:
        target.dispose()


def _delete_file(target: Engine) -> None:
    """Delete the file that this command created, so that it can be run again."""
    target.dispose()
    path = sqlite_path(str(target.url))
    if path is not None:
        for suffix in ("", *COMPANIONS, OWNER_FILE):
            companion(path, suffix).unlink(missing_ok=True)


def _error_text(error: SQLAlchemyError | OSError, target: Engine) -> str:
    """Return the target driver's message, in one line and without the password."""
    message = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split("\n", 1)[0].split())[:300].rstrip(".")
    password = str(target.url.password or "")
    return message.replace(password, "***") if password else message


def _create_target_engine(url: str) -> Engine:
    path = sqlite_path(url)
    if path is None and not url.startswith("postgresql+psycopg://"):
        raise Invalid.field("URL", "must be postgresql+psycopg://USER:PASSWORD@HOST/NAME or sqlite:///PATH")
    if path is not None:
        if path.exists():
            raise Conflict("The target file exists. Name one that does not.", code="not_empty")
        create_file(path)
    engine = create_engine(f"sqlite:///{path}" if path else make_url(url), **engine_options(path))
    guard_engine(engine, path)
    return engine


def _require_current_migration(old: Connection) -> None:
    current, head = MigrationContext.configure(old).get_current_revision(), _migration_scripts().get_current_head()
    if current != head:
        raise Conflict("The tables of the present database are not up to date. Run `prepare` first.", code="not_migrated")


def _migration_scripts() -> ScriptDirectory:
    return ScriptDirectory(str(ROOT / "migrations"))


def _migrate(new: Connection) -> None:
    scripts = _migration_scripts()

    def upgrade(revision: Any, context: MigrationContext) -> Sequence[RevisionStep]:
        return scripts._upgrade_revs("head", revision)  # Alembic's commands make the same call.

    with EnvironmentContext(Config(), scripts, fn=upgrade) as environment:
        environment.configure(connection=new, target_metadata=Base.metadata, render_as_batch=True)
        environment.run_migrations()


def _copy_tables(old: Connection, new: Connection) -> Iterator[Table]:
    for table in Base.metadata.sorted_tables:
        if table.name in EXCLUDED_TABLES:
            continue
        if table.name in TABLES_FILLED_BY_MIGRATION:
            new.execute(table.delete())
        for rows in old.execute(select(table).order_by(table.c.id)).mappings().partitions(BATCH_SIZE):
            new.execute(table.insert(), [dict(row) for row in rows])
        if new.dialect.name == "postgresql":
            # Rows inserted with explicit ids do not advance the id sequence.
            sequence = "SELECT setval(pg_get_serial_sequence(:name, 'id'), coalesce((SELECT max(id) FROM {}), 0) + 1, false)"
            new.execute(text(sequence.format(table.name)), {"name": table.name})
        yield table


def _verify_copy(old: Connection, new: Connection, table: Table) -> TableChecksum:
    before, after = _table_checksum(old, table), _table_checksum(new, table)
    if before != after:
        raise Unavailable(f"The copy of {table.name} differs: {before.rows} rows became {after.rows}. Nothing was kept; try again.")
    return after


def _table_checksum(connection: Connection, table: Table) -> TableChecksum:
    rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    sums = {column.name: _column_sum(connection, column) for column in table.columns if _is_summable(column)}
    return TableChecksum(table.name, rows, sums)


def _is_summable(column: Column[Any]) -> bool:
    whole = isinstance(column.type, Integer) and not isinstance(column.type, Boolean) and not column.primary_key
    return isinstance(column.type, ExactDecimal) or (whole and not column.foreign_keys)


def _column_sum(connection: Connection, column: Column[Any]) -> str:
    """Return the exact sum of a column. The database would add decimals stored as text as floats."""
    total = ZERO
    for value in connection.execute(select(column).where(column.is_not(None))).scalars():
        total = EXACT.add(total, Decimal(value))
    return format_decimal(total)
