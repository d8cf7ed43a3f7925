"""Model retirement: the references to a model, and the scheduled successor."""

from datetime import UTC, date, datetime, timedelta

import pytest
from factories import model_values
from sqlalchemy import select

from webapp.domain.shared.errors import Conflict, Invalid
from webapp.extensions import db
from webapp.models import AuditEvent, Model
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.catalog import models, succession
from webapp.services.runs import prompt_templates

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture
def old(either_app):
    """The id of a default model with an alias, whose successor is gpt-4o."""
    with writing() as session:
        made = models.create(session, model_values(aliases=["nick"], successor="openai/gpt-4o"), actor="ann")
        models.set_default(session, made.id, actor="ann")
        return made.id


def switched(model_id, day):
    with writing() as session:
        succession.schedule_switch(session, model_id, day, actor="ann")


def answers():
    registry = container.registry()
    return registry.get_default_model("text").model_id, registry.get_model("nick").model_id


def test_on_its_day_the_successor_is_the_default_and_answers_to_the_other_names(old):
    assert answers() == ("test-model", "test-model")
    switched(old, date(2099, 1, 1))
    assert answers() == ("test-model", "test-model")
    assert container.registry().snapshot.valid_until <= datetime(2099, 1, 1, tzinfo=UTC)
    switched(old, YESTERDAY)
    assert answers() == ("gpt-4o", "gpt-4o")
    switched(old, None)
    assert answers() == ("test-model", "test-model")


def test_scheduling_is_in_the_trail(old):
    switched(old, YESTERDAY)
    db.session.rollback()
    event = db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    assert (event.action, event.actor) == ("registry:model:switch_over", "ann")
    assert event.after == {"switches_on": YESTERDAY.isoformat(), "successor": "openai/gpt-4o"}


def test_without_a_successor_in_the_registry_nothing_is_scheduled(app):
    with writing() as session:
        alone = models.create(session, model_values(), actor="ann").id
        lost = models.create(session, model_values(model_id="lost", successor="openai/nowhere"), actor="ann").id
        row = models.create(session, model_values(model_id="selfish"), actor="ann")
        row.successor, selfish = "selfish", row.id  # As in a database from before the services refused it.
    for model_id, error, pattern in (
        (alone, Invalid, "needs a successor"),
        (lost, Conflict, "not in the registry"),
        (selfish, Invalid, "itself"),
    ):
        with pytest.raises(error, match=pattern):
            switched(model_id, YESTERDAY)


def test_the_impact_names_everybody_who_would_notice(app):
    with writing() as session:
        model = models.create(session, model_values(aliases=["nick"]), actor="ann")
        models.set_default(session, model.id, actor="ann")
        models.update(
            session, session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one(), {"successor": model.ref}, actor="ann"
        )
        entry = {
            "name": "summary",
            "title": "Summary",
            "category": "summary",
            "system": "Be brief.",
            "user": "{{incident}}",
            "cache_minutes": 0,
        }
        prompt_templates.create(session, entry | {"preferred_model": model.ref, "temperature": None, "max_tokens": None}, actor="ann")
        model_id = model.id
    db.session.rollback()
    assert succession.list_affected(db.session(), db.session.get(Model, model_id)) == [
        "default for text",
        "1 other name",
        "preferred by the template Summary",
        "successor of openai/gpt-4o",
    ]
