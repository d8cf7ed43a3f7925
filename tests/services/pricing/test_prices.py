"""Prices in a real database: append-only, exact, and corrected visibly. The database itself rejects every other change."""

from datetime import UTC, datetime

import pytest
from factories import model_values, price_values
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from webapp.domain.shared.errors import Conflict, Invalid, NotFound
from webapp.domain.shared.money import format_decimal
from webapp.extensions import db
from webapp.models import Model, Price
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.pricing import prices


@pytest.fixture
def model(app) -> int:
    with writing() as session:
        return models.create(session, model_values(), actor="ann").id


def add(model_id, **more) -> Price:
    with writing() as session:
        return prices.add(session, model_id, price_values(**more), actor="ann")


def in_force(day: int) -> object:
    return container.registry().get_model("test-model").price_at(datetime(2026, 11, day, tzinfo=UTC))


def test_prices_follow_each_other_whatever_the_order_of_entry(model):
    later, earlier = add(model, effective_from="2026-11-10T00:00:00Z"), add(model, effective_from="2026-11-02T00:00:00+00:00")
    assert [in_force(day) and in_force(day).id for day in (1, 2, 9, 10)] == [None, earlier.id, earlier.id, later.id]


def test_two_prices_at_one_moment_are_refused_however_it_is_written(model):
    add(model, effective_from="2026-11-10T00:00:00Z")
    with pytest.raises(Conflict, match="already starts"):
        add(model, effective_from="2026-11-10T01:00:00+01:00")


def test_a_correction_takes_the_place_of_what_it_names(model):
    wrong, after = add(model), add(model, effective_from="2026-11-10T00:00:00Z")
    rate = {"meter": "input", "amount": "4", "per": 1_000_000}
    right = add(model, corrects=wrong.id, rates=[rate])
    assert [in_force(day).id for day in (1, 9, 10)] == [right.id, right.id, after.id]
    again = add(model, corrects=right.id)
    assert (in_force(1).id, in_force(1).corrects) == (again.id, right.id)
    history = prices.history(db.session(), db.session.get_one(Model, model))
    assert [price.id for price in history] == [wrong.id, right.id, again.id, after.id]


def cancel(price_id) -> Price:
    with writing() as session:
        return prices.cancel(session, price_id, actor="ann")


def amount_at(text: str) -> str | None:
    price = container.registry().refresh().by_name["openai/test-model"].price_at(datetime.fromisoformat(text))
    return str(price.rates[0].amount) if price else None


def input_rate(amount: str) -> list[dict]:
    return [{"meter": "input", "amount": amount, "per": 1_000_000}]


def test_where_a_price_was_canceled_the_price_before_continues_whatever_it_becomes(model):
    add(model, rates=input_rate("1"))
    first, second = (add(model, effective_from=f"{year}-01-01T00:00:00Z", rates=input_rate(str(year))) for year in (2097, 2098))
    assert cancel(second.id).rates[0].amount == 2097
    cancel(first.id)
    assert amount_at("2099-01-01T00:00:00+00:00") == "1"
    add(model, effective_from="2096-01-01T00:00:00Z", rates=input_rate("5"))
    assert [amount_at(f"{year}-06-01T00:00:00+00:00") for year in (2095, 2096, 2097, 2098)] == ["1", "5", "5", "5"]


def test_the_start_of_a_canceled_price_can_be_used_again(model):
    add(model, rates=input_rate("1"))
    later = {"effective_from": "2097-01-01T00:00:00Z"}
    cancellation = cancel(add(model, **later, rates=input_rate("9")).id)
    again = add(model, **later, rates=input_rate("8"))
    assert (again.corrects_id, amount_at("2098-01-01T00:00:00+00:00")) == (cancellation.id, "8")
    with pytest.raises(Conflict, match="already starts"):
        add(model, **later)


def test_a_cancellation_is_no_field_of_a_price(model):
    with pytest.raises(Invalid, match="cancels"):
        add(model, cancels=True)


@pytest.mark.parametrize("more", [{"effective_from": "2026-11-02T00:00:00Z"}, {"corrects": 10**9}])
def test_a_correction_fits_what_it_corrects(model, more):
    first = add(model)
    with pytest.raises(Invalid):
        add(model, **{"corrects": first.id} | more)


def test_a_price_is_corrected_once_and_by_its_own_model_only(model):
    first = add(model)
    add(model, corrects=first.id)
    with pytest.raises(Conflict, match="already corrected"):
        add(model, corrects=first.id)
    foreign = db.session.execute(select(Price).where(Price.model_id != model).limit(1)).scalar_one()
    with pytest.raises(Invalid, match="not a price of this model"):
        add(model, corrects=foreign.id)


def test_a_price_of_no_model_is_not_found(app):
    with pytest.raises(NotFound):
        add(10**9)


def test_a_price_by_hand_never_counts_as_seeded(model):
    with pytest.raises(Invalid, match=r"source\.kind"):
        add(model, source={"kind": "seed"})


def test_every_digit_and_condition_comes_back(either_app):
    window = {"days": [0, 6], "from": "16:30", "to": "00:30"}
    rates = [
        {"meter": "input", "amount": "123456789.123456789012", "per": 1, "above": 10**12, "service_tier": "batch", "window": window},
        {"meter": "input", "amount": "0.000000000001", "per": 2**29},
        {"meter": "output", "amount": "0", "per": 1000},
    ]
    with writing() as session:
        made = models.create(session, model_values(), actor="ann")
        prices.add(session, made.id, price_values(rates=rates, effective_from="2026-11-01T00:00:00.000001Z"), actor="ann")
    price = container.registry().get_model("test-model").price
    first = price.rates[0]
    assert [(format_decimal(rate.amount), rate.per) for rate in price.rates][1:] == [("0.000000000001", 2**29), ("0", 1000)]
    assert (str(first.amount), first.above, first.service_tier, first.window.days) == ("123456789.123456789012", 10**12, "batch", (0, 6))
    assert price.effective_from.microsecond == 1


# What the database itself rejects


CHANGES = {
    "update": ("UPDATE {0} SET created_at = created_at", "UPDATE {0} SET created_at = created_at"),
    "delete": ("DELETE FROM {0}", "DELETE FROM {0}"),
    "sweep": ("INSERT OR REPLACE INTO {0} SELECT * FROM {0}", "TRUNCATE {0} CASCADE"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_history_is_neither_changed_nor_removed_by_anybody(either_app, change):
    statement = CHANGES[change][db.engine.dialect.name == "postgresql"]
    for table in ("prices", "price_rates", "audit_events"):
        refused = pytest.raises(DBAPIError, match=r"rows of (prices|price_rates|audit_events) are history")
        with refused, db.engine.connect() as connection:
            connection.execute(text(statement.format(table)))
        assert db.session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() > 0
        db.session.remove()


SECOND = (
    "UPDATE models SET is_default = true, is_active = true WHERE type = 'text'",
    "UPDATE providers SET is_primary = true",
    "UPDATE models SET is_active = false WHERE is_default",
    "UPDATE providers SET slug = 'same'",
    "INSERT INTO registry_state (id, instance, revision, created_at, updated_at) VALUES (2, 'x', 1, '2026-01-01', '2026-01-01')",
    "UPDATE users SET role = 'god'",
    "DELETE FROM providers",
)


def test_rules_that_hold_in_the_database_whoever_writes(either_app):
    for statement in SECOND:
        with pytest.raises(DBAPIError, match=r"(?i)constraint|unique"), db.engine.connect() as connection:
            connection.execute(text(statement))


def test_a_second_price_at_one_moment_and_a_negative_amount_are_refused_by_the_database_too(either_app):
    price = db.session.execute(select(Price).limit(1)).scalar_one()
    again = {"model_id": price.model_id, "state": "free", "effective_from": price.effective_from}
    negative = "INSERT INTO price_rates (price_id, meter, amount, per, above, service_tier, window_key, created_at, updated_at)"
    negative += f" VALUES ({price.id}, 'x', '-1', 1, -1, 'standard', '', '2026-01-01', '2026-01-01')"
    for statement in (insert(Price).values(again), text(negative)):
        with pytest.raises(DBAPIError, match=r"(?i)constraint|unique"), db.engine.connect() as connection:
            connection.execute(statement)
