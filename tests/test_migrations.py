"""Migrations upgrade and downgrade on both engines, and their tables match the ORM models."""

import re
from datetime import UTC, datetime

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from environment import run_sql, running, settings_for
from sqlalchemy import MetaData, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from webapp.config.settings import ROOT
from webapp.extensions import db
from webapp.extensions.engine import WRITING, create_file
from webapp.models import AuditState, Base
from webapp.services.audit.audit_log import GENESIS

FOLDER = str(ROOT / "migrations")
SCRIPTS = list(ScriptDirectory(FOLDER).walk_revisions())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def bare(request, tmp_path):
    """An application on a database without any table."""
    if request.param == "sqlite":
        path = tmp_path / "bare.sqlite3"
        create_file(path)
        url = f"sqlite:///{path}"
    else:
        base = request.getfixturevalue("postgresql")
        run_sql(base, "CREATE DATABASE bare")
        url = base.replace("/postgres?", "/bare?")
    yield from running(settings_for(url, tmp_path / "instance"))
    if request.param == "postgresql":
        run_sql(base, "DROP DATABASE bare WITH (FORCE)")


def tables() -> set[str]:
    return set(inspect(db.engine).get_table_names()) - {"alembic_version"}


def test_an_empty_database_gets_every_table_and_the_models_equal_them(bare):
    flask_migrate.upgrade(directory=FOLDER)
    assert tables() == set(Base.metadata.tables)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "render_as_batch": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_every_migration_goes_back_and_forth(bare):
    for _ in range(2):
        flask_migrate.upgrade(directory=FOLDER)
        flask_migrate.downgrade(directory=FOLDER, revision="base")
        assert tables() == set()
    with db.engine.connect() as connection:
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            if db.engine.dialect.name == "sqlite"
            else ("SELECT proname FROM pg_proc WHERE proname LIKE '%append_only%'")
        )
        assert connection.execute(text(query)).all() == []


def test_migrating_twice_changes_nothing(bare):
    for _ in range(2):
        flask_migrate.upgrade(directory=FOLDER)
    assert tables() == set(Base.metadata.tables)


def a_row(connection, table: str, **values) -> int:
    """Insert a row with a value in every required column. Return its id."""
    reflected = Table(table, MetaData(), autoload_with=connection)
    fillers = {int: 1, bool: True, dict: {}, datetime: datetime(2026, 1, 1, tzinfo=UTC)}
    required = {
        column.name: fillers.get(column.type.python_type, "x")
        for column in reflected.columns
        if not column.nullable and column.server_default is None and column.name != "id"
    }
    return connection.execute(reflected.insert().values(required | values)).inserted_primary_key[0]


def test_runs_that_a_bench_asked_for_before_are_counted_as_its_own(bare):
    flask_migrate.upgrade(directory=FOLDER, revision="c93f5a7d1e08")
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        evaluation_id = a_row(connection, "benches", public_id="bench_1", status="finished")
        evaluation_run, single_run = (
            a_row(connection, "runs", public_id=name, status="succeeded", source="local") for name in ("run_1", "run_2")
        )
        a_row(connection, "bench_cells", bench_id=evaluation_id, run_id=evaluation_run, status="done")
        connection.commit()
    flask_migrate.upgrade(directory=FOLDER)
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, bench FROM runs ORDER BY id")).all()
        assert rows == [(evaluation_run, "bench_1"), (single_run, None)]
        assert connection.execute(text("SELECT generation, runs_as FROM benches")).all() == [(0, None)]


def test_an_old_run_was_sent_unless_its_record_shows_that_nothing_was(bare):
    flask_migrate.upgrade(directory=FOLDER, revision="d81f3b6e07a5")
    cases = {
        "known": {"driver": "openai", "cached": False, "cost_total": "0.0125"},
        "timeout": {"driver": "openai", "cached": False, "error_code": "timeout"},
        "local": {"driver": "local", "cached": False},
        "cached": {"driver": "openai", "cached": True},
        **{code: {"driver": "openai", "cached": False, "error_code": code} for code in ("no_key", "config", "limit_reached", "connect")},
    }
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        for name, values in cases.items():
            a_row(connection, "runs", public_id=f"run_{name}", status="failed", source="local", **values)
        connection.commit()
    flask_migrate.upgrade(directory=FOLDER)
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT public_id, cost_total, served_model, reported_cost FROM runs WHERE sent ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("run_known", "0.0125", None, None), ("run_timeout", None, None, None)]


@pytest.mark.parametrize("lines", [0, 3])
def test_the_trail_that_there_was_before_ends_where_it_ended(bare, lines):
    flask_migrate.upgrade(directory=FOLDER, revision="a7d43e915c60")
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        for number in range(lines):
            a_row(connection, "audit_events", hash=f"hash {number}")
        connection.commit()
    flask_migrate.upgrade(directory=FOLDER)
    db.session.rollback()
    assert db.session.execute(select(AuditState.events, AuditState.hash)).all() == [(lines, f"hash {lines - 1}" if lines else GENESIS)]


def test_prices_stay_append_only_where_scheduled_ones_can_be_canceled(bare):
    flask_migrate.upgrade(directory=FOLDER, revision="5d0b7f9e41a3")
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        provider_id = a_row(connection, "providers", default_temperature=None)
        model_id = a_row(connection, "models", provider_id=provider_id, is_default=False)
        a_row(connection, "prices", model_id=model_id, state="free", source_kind="manual")
        connection.commit()
    flask_migrate.upgrade(directory=FOLDER)
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        assert connection.execute(text("SELECT cancels FROM prices")).scalars().all() == [False]
        with pytest.raises(DBAPIError, match="rows of prices are history"):
            connection.execute(text("UPDATE prices SET cancels = true"))


def test_there_is_one_line_of_migrations():
    assert len(ScriptDirectory(FOLDER).get_heads()) == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.revision for script in SCRIPTS])
def test_a_migration_has_a_sortable_name_a_sentence_and_both_directions(script):
    name = re.fullmatch(r"\d{8}_\d{4}_[0-9a-f]{12}_[a-z0-9_]+\.py", script.path.rpartition("/")[2])
    assert name, "named by alembic's file_template"
    assert re.match(r"[A-Z][a-z]+ \w+", script.doc)
    assert script.module.upgrade.__code__.co_code != script.module.downgrade.__code__.co_code
