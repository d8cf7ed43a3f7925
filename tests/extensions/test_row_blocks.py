"""Many rows are read in blocks, and writers never wait while Python computes with them."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from environment import api_for
from factories import model_values
from sqlalchemy import event, select

from webapp.config.sqlite_driver import sqlite
from webapp.extensions import db
from webapp.extensions.row_blocks import read_in_blocks
from webapp.models import AuditEvent, UsageRecord
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import Target
from webapp.services.catalog import models
from webapp.services.pricing.recorded_calls import iterate_calls
from webapp.services.usage.records import UsageQuery, summarize

REF = "openai/gpt-4o-mini"
NOW = datetime.now(UTC)


@pytest.fixture
def reports(either_app) -> None:
    reporter = api_for(either_app, "usage:write")
    for key in "abcde":
        call = {"model": REF, "usage": {"input": 1000}}
        assert reporter.post("/usage", call, headers={"Idempotency-Key": key}).status_code == 201


def read_ids(**options) -> Iterator[int]:
    rows = read_in_blocks(db.session(), select(UsageRecord.model_ref), UsageRecord.at, UsageRecord.id, **options)
    return (row.id for row in rows)


def require_no_reader() -> None:
    """Fail if a read stays open: it keeps a rollback journal from an exclusive transaction, and a write-ahead log from a restart."""
    path = container.settings().sqlite_path
    if path is None:
        assert not db.session().in_transaction()
        return
    with closing(sqlite.connect(path, timeout=2, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
        is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not is_busy


def add_event(name: str) -> int:
    with writing(refresh=False) as session:
        audit_log.record(session, "tests:row:add", actor="ann", target=Target("row", None, name))
        return session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


@pytest.mark.parametrize("block_size", [1, 2, 5, 6])
def test_blocks_of_every_size_give_all_rows_in_order(reports, block_size):
    ids = list(read_ids(block_size=block_size))
    assert len(ids) == 5
    assert list(read_ids(block_size=block_size, newest_first=True)) == ids[::-1]


def test_no_read_is_open_while_rows_are_used(reports):
    for _ in read_ids(block_size=2):
        require_no_reader()
    for _ in iterate_calls(db.session(), REF, NOW - timedelta(days=1), NOW + timedelta(days=1)):
        require_no_reader()


def test_rows_that_are_added_after_the_start_are_not_seen(either_app):
    bound = add_event("before")
    ids = []
    for row in read_in_blocks(db.session(), select(AuditEvent.target_name), AuditEvent.id, block_size=1):
        ids.append(row.id)
        add_event("meanwhile")
    assert ids[-1] == bound


def test_reading_in_blocks_keeps_what_the_transaction_wrote(either_app):
    with writing() as session:
        models.create(session, model_values(), actor="ann")
        assert list(read_in_blocks(session, select(AuditEvent.action), AuditEvent.id, block_size=1))[-1].action == "registry:model:create"
    assert container.registry().get_model("openai/test-model")


def test_a_summary_leaves_no_read_open(reports):
    span = UsageQuery(NOW - timedelta(days=1), NOW + timedelta(days=1), "model")
    groups, total = summarize(db.session(), span)
    require_no_reader()
    assert (total.records, groups[REF].usage) == (5, {"input": 5000})


# The registry.


@contextmanager
def before_prices_are_read(action, times: int) -> Iterator[list[str]]:
    """Run `action` before each of the first `times` reads of the prices by this thread. Yields the statements."""
    statements: list[str] = []
    thread = threading.get_ident()

    def look(connection, cursor, statement, *_):
        if statement.startswith("SELECT") and "price_rates" in statement and threading.get_ident() == thread:
            statements.append(statement)
            if len(statements) <= times:
                action()

    event.listen(db.engine, "before_cursor_execute", look)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", look)


def rename(names: Iterator[int]) -> None:
    with writing(refresh=False) as session:
        models.update(session, container.registry().get_model(REF).id, {"display_name": f"Name {next(names)}"}, actor="ann")


def name_in(catalog) -> str:
    return next(model.display_name for model in catalog.models if model.ref == REF)


def test_the_registry_is_read_without_an_open_read_between_its_tables(either_app):
    with before_prices_are_read(require_no_reader, 1) as statements:
        container.current().source.load()
    assert len(statements) == 1


def test_a_registry_that_changes_while_it_is_read_is_read_again(either_app):
    names = iter(range(10))
    container.registry()
    with before_prices_are_read(lambda: rename(names), 1) as statements:
        catalog = container.current().source.load()
    assert (len(statements), name_in(catalog)) == (2, "Name 0")
    assert catalog.revision == container.current().source.read_revision().revision


def test_a_registry_that_changes_at_every_reading_is_read_in_one_transaction(either_app):
    names = iter(range(10))
    container.registry()
    with before_prices_are_read(lambda: rename(names), 3) as statements:
        catalog = container.current().source.load()
    assert (len(statements), name_in(catalog)) == (4, "Name 2")
