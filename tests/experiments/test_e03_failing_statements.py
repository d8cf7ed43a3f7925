"""E3: the n-th statement of a change fails, for every n including the commit. The database keeps the old or the new state, nothing else."""

import hashlib
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from factories import model_values, price_values, provider_values
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from webapp.domain.shared.errors import ModeldeskError
from webapp.extensions import db
from webapp.models import Base, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, api_tokens
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.pricing import prices

IGNORED = ("registry_processes",)


def digest() -> str:
    """Return one hash of all stored data."""
    hasher = hashlib.sha256()
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in IGNORED:
                for row in connection.execute(text(f"SELECT * FROM {table.name} ORDER BY id")):
                    hasher.update(repr(tuple(row)).encode())
    return hasher.hexdigest()


class Fault(Exception):
    """The error that the experiment raises instead of the database."""


@contextmanager
def failing_at(number: int):
    """Make the statement with this number fail. The commit counts as the last statement. Yields the list of statements that ran."""
    statements: list[str] = []

    def count(connection, cursor, statement, *_):
        statements.append(statement)
        if len(statements) == number:
            raise OperationalError(statement, {}, Fault("disk I/O error"))

    def commit(connection):
        statements.append("COMMIT")
        if len(statements) == number:
            raise OperationalError("COMMIT", {}, Fault("disk I/O error"))

    event.listen(db.engine, "before_cursor_execute", count)
    event.listen(db.engine, "commit", commit)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", count)
        event.remove(db.engine, "commit", commit)


def add_everything(session) -> None:
    provider = providers.create(session, provider_values(slug="whole"), actor="ann")
    credentials.store(session, provider, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
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


@contextmanager
def committing_in_between():
    """Simulate a careless writer that commits before each statement."""

    def commit(connection, *_):
        raw = connection.connection.driver_connection
        if connection.dialect.name == "postgresql":
            raw.commit()
        elif raw.in_transaction:
            raw.execute("COMMIT")
            raw.execute("BEGIN IMMEDIATE")

    event.listen(db.engine, "before_cursor_execute", commit)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", commit)


def prepared() -> None:
    with writing() as session:
        provider = providers.create(session, provider_values(slug="moving"), actor="ann")
        credentials.store(session, provider, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
    db.session.remove()
    container.current().refresher.stop()


def first_state_between(change) -> tuple[int, str | None]:
    """Make each statement fail in turn. Return the number of failures, and the first failed statement that left a partial change."""
    before, number = digest(), 0
    while True:
        number += 1
        with failing_at(number) as statements:
            try:
                with writing(refresh=False) as session:
                    change(session)
            except ModeldeskError:
                refused = True
            else:
                refused = False
        db.session.remove()
        if not refused:
            assert digest() != before
            return number - 1, None
        if digest() != before:
            return number, statements[-1]


@pytest.mark.parametrize("name", CHANGES)
def test_e3_a_change_is_whole_or_not_there_whichever_statement_fails(either_app, name, report):
    prepared()
    failed, between = first_state_between(CHANGES[name])
    report(f"{name}: {failed} statements failed one by one, {'0 states' if between is None else 'a state'} in between")
    assert between is None, f"after statement {failed}: {between}"
    assert failed > 5


@pytest.mark.parametrize("name", CHANGES)
def test_e3_control_a_writer_that_commits_in_between_leaves_half_of_the_same_change(either_app, name, report):
    prepared()
    with committing_in_between():
        failed, between = first_state_between(CHANGES[name])
    report(f"{name}, committed in between: a state in between after {failed} statements, as it must be")
    assert between is not None
