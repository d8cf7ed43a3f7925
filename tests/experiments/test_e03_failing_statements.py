"""E3: the n-th statement of a change fails, for every n, the commit included. The database is as before or as after, never in between."""

import hashlib
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from factories import model_values, price_values, provider_values
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from webapp.domain.errors import ModeldeskError
from webapp.extensions import db
from webapp.models import Base, Provider
from webapp.services import accounts, api_tokens, credentials, models, prices, providers
from webapp.web import current
from webapp.web.transaction import writing

IGNORED = ("registry_processes",)


def digest() -> str:
    """Everything that is stored, as one hash."""
    found = hashlib.sha256()
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in IGNORED:
                for row in connection.execute(text(f"SELECT * FROM {table.name} ORDER BY id")):
                    found.update(repr(tuple(row)).encode())
    return found.hexdigest()


class Fault(Exception):
    """What the experiment raises in the place of the database."""


@contextmanager
def failing_at(number: int):
    """The statement of this number fails, or the commit if there are not as many. Gives the list of statements that were run."""
    seen: list[str] = []

    def count(connection, cursor, statement, *_):
        seen.append(statement)
        if len(seen) == number:
            raise OperationalError(statement, {}, Fault("disk I/O error"))

    def commit(connection):
        seen.append("COMMIT")
        if len(seen) == number:
            raise OperationalError("COMMIT", {}, Fault("disk I/O error"))

    event.listen(db.engine, "before_cursor_execute", count)
    event.listen(db.engine, "commit", commit)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", count)
        event.remove(db.engine, "commit", commit)


def add_everything(session) -> None:
    provider = providers.create(session, provider_values(slug="whole"), actor="ann")
    credentials.store(session, provider, "sk-0123456789abcdef", vault=current.vault(), actor="ann")
    model = models.create(session, model_values(provider="whole", aliases=["whole-alias"]), actor="ann")
    prices.add(session, model.id, price_values(), actor="ann")
    models.set_default(session, model.id, actor="ann")
    providers.set_primary(session, provider.id, actor="ann")


def move_a_provider(session) -> None:
    provider = session.execute(select(Provider).where(Provider.slug == "moving")).scalar_one()
    providers.update(session, provider.id, {"base_url": "https://elsewhere.example/v1"}, actor="ann")


def make_people(session) -> None:
    user = accounts.create(session, "new@example.com", "editor", actor="ann")
    accounts.make_link(session, user, actor="tests", now=datetime.now(UTC))
    api_tokens.create(session, "new", ("registry:read",), actor="ann")


CHANGES = {"a provider with all that belongs to it": add_everything, "a provider that moves": move_a_provider, "people": make_people}


@pytest.mark.parametrize("name", CHANGES)
def test_e3_a_change_is_whole_or_not_there_whichever_statement_fails(either_app, name, report):
    change = CHANGES[name]
    with writing() as session:
        provider = providers.create(session, provider_values(slug="moving"), actor="ann")
        credentials.store(session, provider, "sk-0123456789abcdef", vault=current.vault(), actor="ann")
    db.session.remove()
    current.desk().refresher.stop()
    before, number, refused = digest(), 0, 0
    while True:
        number += 1
        with failing_at(number) as seen:
            try:
                with writing(refresh=False) as session:
                    change(session)
            except ModeldeskError:
                refused += 1
                failed = True
            else:
                failed = False
        db.session.remove()
        if not failed:
            break
        assert digest() == before, f"after statement {number}: {seen[-1]}"
    report(f"{name}: {refused} statements failed one by one, 0 states in between")
    assert refused > 5
    assert digest() != before


def test_e3_control_without_a_transaction_states_in_between_are_seen(app, report):
    """With every statement committed by itself, a failure in the middle leaves half of the change."""
    current.desk().refresher.stop()
    before, between = digest(), 0
    with db.engine.connect() as connection:
        for number in range(3):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql(
                "INSERT INTO providers (slug, display_name, driver, is_active, is_primary, config, required_environment, allow_shared_key,"
                " allow_personal_keys, sort_order, description, version, created_at, updated_at)"
                f" VALUES ('half-{number}', 'x', 'openai', 1, 0, '{{}}', '[]', 1, 0, 0, '', 1, '2026-01-01', '2026-01-01')"
            )
            connection.exec_driver_sql("COMMIT")
            between += digest() != before
    report(f"{between} of 3 states in between, as it must be")
    assert between
