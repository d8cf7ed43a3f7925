"""Migrations upgrade and downgrade on both engines, and their tables match the ORM models."""

import re
from datetime import UTC, datetime

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, inspect, select, text
from sqlalchemy.exc import DBAPIError

from webapp.config.settings import ROOT
from webapp.extensions import db
from webapp.extensions.engine import WRITING
from webapp.models import AuditState, Base
from webapp.services.audit.audit_log import GENESIS

FOLDER = str(ROOT / "migrations")
SCRIPTS = list(ScriptDirectory(FOLDER).walk_revisions())


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


EMPTY = ("window_key", "when_key")


def a_row(connection, table: str, **values) -> int:
    """Insert a row with a value in every required column. Return its id."""
    reflected = Table(table, MetaData(), autoload_with=connection)
    fillers = {int: 1, bool: True, bytes: b"x", dict: {}, datetime: datetime(2026, 1, 1, tzinfo=UTC)}
    required = {
        column.name: "" if column.name in EMPTY else fillers.get(column.type.python_type, "x")
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


APPEND_ONLY = ("prices", "price_rates", "audit_events")


def a_price(connection, **values) -> int:
    provider_id = a_row(connection, "providers", slug="acme", is_primary=False)
    model_id = a_row(connection, "models", provider_id=provider_id, is_default=False)
    return a_row(connection, "prices", model_id=model_id, state="priced", source_kind="manual", **values)


def a_rate(connection, price_id: int, **values) -> int:
    return a_row(connection, "price_rates", price_id=price_id, **({"amount": "1", "meter": "input"} | values))


def assert_append_only() -> None:
    """Rows of the tables stay, on each engine by each of its ways to change or remove them."""
    for table in APPEND_ONLY:
        statements = [f"UPDATE {table} SET created_at = created_at", f"DELETE FROM {table}"]
        statements += [f"TRUNCATE {table} CASCADE"] if db.engine.dialect.name == "postgresql" else []
        for statement in statements:
            with pytest.raises(DBAPIError, match="are history"), db.engine.connect() as connection:
                connection.execute(text(statement))


def test_prices_and_rates_stay_append_only_when_the_tables_are_copied(bare):
    flask_migrate.upgrade(directory=FOLDER, revision="5d0b7f9e41a3")
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        a_rate(connection, a_price(connection))
        a_row(connection, "audit_events")
        connection.commit()
    for revision in ("head", "5d0b7f9e41a3", "head"):
        flask_migrate.upgrade(directory=FOLDER) if revision == "head" else flask_migrate.downgrade(directory=FOLDER, revision=revision)
        assert_append_only()


NEW_IN_RATES = {
    "rates with conditions": {"when_key": "quality=high"},
    "rates with a time zone": {"window_key": "|16:30-00:30|Asia/Shanghai"},
    "rates of new meters": {"meter": "output_image"},
    "rates of new service tiers": {"service_tier": "fast"},
    "rates per a number such as 60": {"per": 60},
}
NEW_IN_PRICES = {
    "prices with a minimum": {"minimum": "0.01"},
    "prices with a surcharge": {"surcharge_percent": "5"},
    "prices that do not bill media at the rate of text": {"media_at_text_rate": False},
}
NEW_IN_DOCUMENTS = {
    "rates with conditions": {"rates": [{"meter": "image", "per": 1, "when": {"quality": "high"}}]},
    "rates with a time zone": {"rates": [{"meter": "image", "per": 1, "window": {"from": "16:30", "to": "00:30", "tz": "Asia/Shanghai"}}]},
    "rates of new meters": {"rates": [{"meter": "gb_day", "per": 1}]},
    "rates of new service tiers": {"rates": [{"meter": "image", "per": 1, "service_tier": "scale"}]},
    "rates per a number such as 60": {"rates": [{"meter": "second", "per": 3_600}]},
    "prices with a minimum": {"minimum": "0.01"},
    "prices with a surcharge": {"surcharge_percent": "5"},
    "prices that do not bill media at the rate of text": {"rates": [{"meter": "output", "per": 1}], "media_at_text_rate": False},
}
NEW_ROWS = [
    *((name, "price_rates", values) for name, values in NEW_IN_RATES.items()),
    *((name, "prices", values) for name, values in NEW_IN_PRICES.items()),
    *((name, "project_overrides", {"price": values}) for name, values in NEW_IN_DOCUMENTS.items()),
    ("new meters or fractions of a second in runs", "runs", {"usage": {"second": "8.47"}}),
    ("new meters or fractions of a second in usage_records", "usage_records", {"usage": {"input": 5, "cache_read_audio": 0}}),
]


def add_new_row(connection, table: str, values: dict) -> None:
    """Add a row that only the new version can read."""
    price_id = a_price(connection, **(values if table == "prices" else {"media_at_text_rate": True}))
    a_rate(connection, price_id, **(values if table == "price_rates" else {}))
    if table == "project_overrides":
        model_id = connection.execute(text("SELECT id FROM models")).scalar_one()
        a_row(connection, table, project_id=a_row(connection, "projects"), model_id=model_id, kind="price", **values)
    elif table == "runs":
        a_row(connection, table, status="succeeded", source="local", **values)
    elif table == "usage_records":
        a_row(connection, table, token_id=a_row(connection, "api_tokens"), **values)


@pytest.mark.parametrize(("feature", "table", "values"), NEW_ROWS, ids=[f"{table}: {name}" for name, table, _ in NEW_ROWS])
@pytest.mark.parametrize("bare", ["sqlite"], indirect=True)
def test_a_downgrade_refuses_rows_that_the_earlier_version_cannot_read(bare, caplog, feature, table, values):
    flask_migrate.upgrade(directory=FOLDER)
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        add_new_row(connection, table, values)
        connection.commit()
    assert_downgrade_refused(caplog, feature)


def assert_downgrade_refused(caplog, *features: str) -> None:
    flask_migrate.downgrade(directory=FOLDER, revision="6c0f3b9a5d27")  # Later migrations have no reason to refuse.
    with pytest.raises(SystemExit):
        flask_migrate.downgrade(directory=FOLDER, revision="f2b7c94d1e60")
    sentence = next(record.getMessage() for record in caplog.records if "cannot read what this database uses" in record.getMessage())
    assert all(feature in sentence for feature in features)
    assert "restore a backup" in sentence
    with db.engine.connect() as connection:
        assert connection.execute(text("SELECT count(when_key) FROM price_rates")).scalar_one() == 1
    assert db.session.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "6c0f3b9a5d27"


def test_a_refused_downgrade_names_everything_at_once(bare, caplog):
    flask_migrate.upgrade(directory=FOLDER)
    everything = {name: value for values in NEW_IN_RATES.values() for name, value in values.items()}
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        add_new_row(connection, "price_rates", everything)
        for _, table, values in NEW_ROWS[-2:]:
            a_row(
                connection,
                table,
                **values,
                **({"status": "succeeded", "source": "local"} if table == "runs" else {"token_id": a_row(connection, "api_tokens")}),
            )
        connection.commit()
    assert_downgrade_refused(caplog, *NEW_IN_RATES, *(name for name, _, _ in NEW_ROWS[-2:]))


def test_a_downgrade_keeps_prices_that_the_earlier_version_reads_as_they_are(bare):
    """Amounts with 18 decimals, whole days, and prices without tokens, for which the rate of media does not matter."""
    flask_migrate.upgrade(directory=FOLDER)
    with db.engine.connect().execution_options(**{WRITING: True}) as connection:
        a_rate(
            connection,
            a_price(connection, media_at_text_rate=False),
            meter="image",
            amount="0.000000000000000001",
            window_key="|00:00-00:00",
        )
        connection.commit()
    flask_migrate.downgrade(directory=FOLDER, revision="f2b7c94d1e60")
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT meter, amount, window_key FROM price_rates")).all()
    assert rows == [("image", "0.000000000000000001", "|00:00-00:00")]


def test_there_is_one_line_of_migrations():
    assert len(ScriptDirectory(FOLDER).get_heads()) == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.revision for script in SCRIPTS])
def test_a_migration_has_a_sortable_name_a_sentence_and_both_directions(script):
    name = re.fullmatch(r"\d{8}_\d{4}_[0-9a-f]{12}_[a-z0-9_]+\.py", script.path.rpartition("/")[2])
    assert name, "named by alembic's file_template"
    assert re.match(r"[A-Z][a-z]+ \w+", script.doc)
    assert script.module.upgrade.__code__.co_code != script.module.downgrade.__code__.co_code
