"""Tests of restoring the state before an audit event: through the services, audited, and never by editing a price."""

import pytest
from factories import model_values, price_values, provider_values
from sqlalchemy import select

from webapp.domain.shared.errors import Conflict, InUse
from webapp.domain.shared.timestamps import format_timestamp
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Project, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.catalog import models, providers
from webapp.services.pricing import prices
from webapp.services.projects import projects
from webapp.services.restore import restore


def done(change, *args, **more) -> int:
    """Make a change, and return the id of its last audit event."""
    with writing() as session:
        change(session, *args, actor="ann", **more)
        return session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


def put_back(event_id: int) -> str:
    with writing() as session:
        return restore.restore(session, event_id, actor="bob", policy=container.current().outbound)


def why_not(event_id: int) -> str:
    with pytest.raises(Conflict) as rejected:
        put_back(event_id)
    return rejected.value.detail


def row(table, **values):
    db.session.rollback()
    return db.session.execute(select(table).filter_by(**values)).scalar_one()


def test_an_edited_model_gets_its_earlier_values_and_keeps_what_was_edited_since(either_app):
    with writing() as session:
        model = models.create(session, model_values(aliases=["first"], context_window=1000), actor="ann")
        model_id = model.id
    event = done(models.update, model_id, {"context_window": 2000, "aliases": ["second"]})
    done(models.update, model_id, {"display_name": "Another name"})
    assert put_back(event) == f"openai/test-model is as it was before event {event}."
    after = row(Model, id=model_id)
    assert (after.context_window, [alias.alias for alias in after.aliases]) == (1000, ["first"])
    assert after.display_name == "Another name"
    assert "nothing to put back" in why_not(event)


def test_putting_back_is_in_the_trail_and_the_chain_stays_whole(app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    event = done(models.set_active, model_id, False)
    put_back(event)
    change, restore_event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(2)).scalars().all()[::-1]
    assert (change.action, change.actor, change.after) == ("registry:model:update", "bob", {"active": True})
    assert (restore_event.action, restore_event.actor, restore_event.after, restore_event.target_name) == (
        "audit:event:restore",
        "bob",
        {"event": event},
        "openai/test-model",
    )
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_a_deleted_model_comes_back_and_is_not_the_default_by_itself(app):
    with writing() as session:
        model_id = models.create(session, model_values(aliases=["first"]), actor="ann").id
    event = done(models.delete, model_id)
    put_back(event)
    assert [alias.alias for alias in row(Model, model_id="test-model").aliases] == ["first"]
    with pytest.raises(Conflict, match="already"):
        put_back(event)


def test_a_default_and_a_primary_provider_go_back_to_the_ones_before(app):
    before = container.registry().get_default_model("text").ref
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    event = done(models.set_default, model_id)
    container.registry().refresh()
    assert container.registry().get_default_model("text").ref == "openai/test-model"
    put_back(event)
    container.registry().refresh()
    assert container.registry().get_default_model("text").ref == before
    first = done(providers.set_primary, row(Provider, slug="openai").id)
    second = done(providers.set_primary, row(Provider, slug="mistral").id)
    put_back(second)
    assert row(Provider, slug="openai").is_primary
    put_back(first)
    assert db.session.execute(select(Provider).where(Provider.is_primary)).first() is None


def test_a_base_url_that_is_put_back_takes_the_keys_of_the_present_one_with_it(app):
    policy = container.current().outbound
    with writing() as session:
        provider = providers.create(session, provider_values(base_url="https://first.example/v1"), actor="ann", policy=policy)
        provider_id = provider.id
    event = done(providers.update, provider_id, {"base_url": "https://second.example/v1"}, policy=policy)
    plan = restore.plan(db.session(), restore.find_event(db.session(), event))
    assert (
        plan.warning
        == f"The keys of {row(Provider, id=provider_id).display_name} will be removed: they were entered for the present address."
    )
    put_back(event)
    assert row(Provider, id=provider_id).base_url == "https://first.example/v1"


def test_a_price_that_has_begun_is_followed_by_a_new_row_and_past_costs_stay(either_app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    done(prices.add, model_id, price_values(effective_from="2026-01-01T00:00:00Z"))
    incorrect_price = price_values(effective_from="2026-02-01T00:00:00Z", rates=[{"meter": "input", "amount": "99", "per": 1_000_000}])
    event = done(prices.add, model_id, incorrect_price)
    put_back(event)
    first, second, third = prices.history(db.session(), row(Model, id=model_id))
    assert third.rates == first.rates != second.rates
    assert (third.corrects, second.effective_to) == (None, third.effective_from)
    assert third.note == f"As before event {event}."
    assert "nothing to put back" in why_not(event)


def test_a_price_that_has_not_begun_is_corrected_where_it_begins(app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    done(prices.add, model_id, price_values(effective_from="2026-01-01T00:00:00Z"))
    incorrect_price = price_values(effective_from="2099-02-01T00:00:00Z", rates=[{"meter": "input", "amount": "99", "per": 1_000_000}])
    event = done(prices.add, model_id, incorrect_price)
    put_back(event)
    first, second, third = prices.history(db.session(), row(Model, id=model_id))
    assert (third.corrects, format_timestamp(third.effective_from), third.rates) == (second.id, "2099-02-01T00:00:00Z", first.rates)


def test_a_restored_schedule_is_canceled_and_a_restored_cancellation_is_scheduled_again(app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    event = done(prices.add, model_id, price_values(effective_from="2099-02-01T00:00:00Z"))
    put_back(event)
    scheduled, cancellation = prices.history(db.session(), row(Model, id=model_id))
    assert (cancellation.cancels, cancellation.corrects, cancellation.state) == (True, scheduled.id, "unknown")
    assert why_not(event) == "That price was corrected or canceled since: there is nothing to restore."
    put_back(row(AuditEvent, action="registry:price:cancel", target_id=model_id).id)
    *_, again = prices.history(db.session(), row(Model, id=model_id))
    assert (again.corrects, again.cancels, again.rates) == (cancellation.id, False, scheduled.rates)


def test_what_cannot_be_put_back_says_why(app):
    with writing() as session:
        model_id = models.create(session, model_values(), actor="ann").id
    created = row(AuditEvent, action="registry:model:create", target_id=model_id).id
    assert why_not(created).startswith("There was nothing before it")
    event = done(prices.add, model_id, price_values())
    assert why_not(event).startswith("There was no price before it")
    switched = done(models.update, row(Model, model_id="gpt-4o").id, {"display_name": "X"})
    with writing() as session:
        second_id = models.create(session, model_values(model_id="other"), actor="ann").id
    changed = done(models.update, second_id, {"display_name": "Y"})
    done(models.delete, second_id)
    assert "was deleted since" in why_not(changed)
    assert put_back(switched)


def test_a_rule_that_forbids_a_change_forbids_putting_it_back(app):
    with writing() as session:
        model_id = models.create(session, model_values(active=False), actor="ann").id
    event = done(models.set_active, model_id, True)
    done(models.set_default, model_id)
    with pytest.raises(InUse):
        put_back(event)


def test_a_project_goes_back_too(app):
    event = done(projects.create, {"slug": "blue", "display_name": "Blue"})
    project = row(Project, slug="blue")
    event = done(projects.update, project.id, {"display_name": "Bluer", "active": False})
    put_back(event)
    assert (row(Project, slug="blue").display_name, row(Project, slug="blue").is_active) == ("Blue", True)
    deletion = done(projects.delete, project.id)
    put_back(deletion)
    assert row(Project, slug="blue").display_name == "Blue"
