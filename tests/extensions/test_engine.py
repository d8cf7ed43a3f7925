"""SQLite transactions: readers do not block writers."""

import threading
import time

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import select, text, update

from webapp.config.settings import ROOT
from webapp.extensions import db, migration_guard
from webapp.extensions.engine import CONSISTENT_READ
from webapp.models import Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import providers

WAIT = 3.0  # Seconds. A writer that waits for a reader fails after five.


def seconds_to_write(slug: str) -> float:
    start = time.monotonic()
    with writing(refresh=False) as session:
        providers.set_active(session, providers.get_by_slug_or_none(session, slug).id, actor="tests")
    return time.monotonic() - start


def test_a_page_that_has_read_and_reads_on_never_waits_for_a_writer_that_waits_for_it(app):
    assert db.session.execute(select(Provider)).scalars().all()  # the first query of a request that is still open
    durations = []
    with app.app_context():
        writer = threading.Thread(target=in_context, args=(app, lambda: durations.append(seconds_to_write("copilot"))))
        writer.start()
        time.sleep(0.1)
        start = time.monotonic()
        container.current().process_report.count_current(1)  # the query of the top bar, through a second connection
        assert time.monotonic() - start < WAIT
        writer.join(10)
    assert [seconds < WAIT for seconds in durations] == [True]


def in_context(app, function) -> None:
    with app.app_context():
        function()


def test_a_reading_of_one_moment_sees_one_moment(app):
    count = text("SELECT count(*) FROM providers WHERE is_active")
    with db.engine.connect().execution_options(**{CONSISTENT_READ: True}) as connection:
        before = connection.execute(count).scalar_one()
        assert connection.in_transaction()
        assert connection.execute(count).scalar_one() == before


def test_a_session_changes_nothing_in_a_transaction_that_was_not_announced_as_writing(session):
    row = session.execute(select(Provider).where(Provider.slug == "openai")).scalar_one()
    row.display_name = "Renamed in passing"
    with pytest.raises(RuntimeError, match=r"outside of writing\(\)"):
        session.flush()
    session.rollback()
    with pytest.raises(RuntimeError, match=r"outside of writing\(\)"):
        session.execute(update(Provider).values(display_name="All the same"))
    session.rollback()
    assert session.execute(select(Provider.display_name).where(Provider.slug == "openai")).scalar_one() == "OpenAI"


def test_a_rollback_in_the_middle_of_a_change_is_noticed_and_nothing_of_it_is_stored(session):
    row = session.execute(select(Provider).where(Provider.slug == "openai")).scalar_one()
    with pytest.raises(RuntimeError, match="after a rollback within it"):
        change_and_roll_back_between(row)
    assert session.execute(select(Provider.display_name).where(Provider.slug == "openai")).scalar_one() == "OpenAI"


def change_and_roll_back_between(row: Provider) -> None:
    with writing() as session:
        session.rollback()
        row.display_name = "Half a change"
        session.flush()


def test_the_versions_of_the_tables_are_those_of_the_migrations_in_their_order():
    script = ScriptDirectory(str(ROOT / "migrations"))
    assert tuple(migration.revision for migration in script.walk_revisions())[::-1] == migration_guard.KNOWN_VERSIONS
