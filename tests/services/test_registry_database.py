"""The registry on a real database: SQLite, and PostgreSQL again."""

from factories import model_values, price_values

from webapp.services import models, prices
from webapp.web import current
from webapp.web.transaction import writing


def test_a_change_is_seen_at_once_by_the_process_that_made_it(either_app):
    before = current.registry().snapshot.revision
    with writing() as session:
        models.create(session, model_values(), actor="ann")
    snapshot = current.registry().snapshot
    assert snapshot.revision > before
    assert snapshot.by_name["openai/test-model"].supported


def test_a_price_reads_back_exactly(either_app):
    with writing() as session:
        model = models.create(session, model_values(), actor="ann")
        rate = {"meter": "input", "amount": "123456789.123456789012", "per": 1_000_000, "above": 999_999_999_999}
        prices.add(session, model.id, price_values(rates=[rate]), actor="ann")
    price = current.registry().get_model("openai/test-model").price
    assert [(str(rate.amount), rate.above) for rate in price.rates] == [("123456789.123456789012", 999_999_999_999)]
