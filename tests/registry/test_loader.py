"""The registry on a real database, both SQLite and PostgreSQL."""

import threading
import time
from decimal import Decimal

import pytest
from factories import model_values, price_values
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from webapp.extensions import db
from webapp.models import Run
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.pricing import prices


def test_a_change_is_seen_at_once_by_the_process_that_made_it(either_app):
    before = container.registry().snapshot.revision
    with writing() as session:
        models.create(session, model_values(), actor="ann")
    snapshot = container.registry().snapshot
    assert snapshot.revision > before
    assert snapshot.by_name["openai/test-model"].supported


def test_a_price_reads_back_exactly(either_app):
    with writing() as session:
        model = models.create(session, model_values(), actor="ann")
        rate = {"meter": "input", "amount": "123456789.123456789012", "per": 1_000_000, "above": 999_999_999_999}
        prices.add(session, model.id, price_values(rates=[rate]), actor="ann")
    price = container.registry().get_model("openai/test-model").price
    assert [(str(rate.amount), rate.above) for rate in price.rates] == [("123456789.123456789012", 999_999_999_999)]


def test_an_amount_that_does_not_fit_into_its_column_is_never_sent_to_the_database(either_app):
    for amount in ("1e-30000000", "1" * 81):
        with pytest.raises(StatementError, match="80 characters"):
            db.session.execute(select(Run).where(Run.cost_total == Decimal(amount)))


def test_a_busy_thread_does_not_keep_the_registry_from_being_read(app):
    """Reading row by row took half a minute, because every row waited for the busy thread."""
    stop = threading.Event()

    def be_busy() -> None:
        while not stop.is_set():
            sum(range(1_000))

    busy = threading.Thread(target=be_busy)
    busy.start()
    try:
        began = time.monotonic()
        catalog = container.current().source.load()
        took = time.monotonic() - began
    finally:
        stop.set()
        busy.join()
    assert len(catalog.models) > 100
    assert took < 5
