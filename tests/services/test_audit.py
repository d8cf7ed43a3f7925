"""The trail: in the transaction of the change, chained, and honest about tampering."""

import threading

import pytest
from factories import model_values
from sqlalchemy import func, select, text
from world import unguard

from webapp.domain.errors import Conflict
from webapp.extensions import db
from webapp.models import AuditEvent, Model
from webapp.services import audit, models
from webapp.services.audit import GENESIS, Target, digest
from webapp.web.transaction import writing


def record(name="x", actor="ann", change=(None, {"a": 1})) -> None:
    with writing(refresh=False) as session:
        audit.record(session, "registry:thing:do", actor=actor, target=Target("thing", None, name), change=change)


def test_every_event_names_the_one_before_and_its_own_content(either_app):
    record("ü\n\"'\\", change=({"a": [1, None, {"b": "é"}], "c": True}, {"a": [], "c": True}))
    events = db.session.execute(select(AuditEvent).order_by(AuditEvent.id)).scalars().all()
    assert [event.previous_hash for event in events] == [GENESIS, *(event.hash for event in events[:-1])]
    assert [event.hash for event in events] == [digest(event) for event in events]
    assert (events[-1].before, events[-1].after) == ({"a": [1, None, {"b": "é"}]}, {"a": []})
    assert audit.first_break(db.session()) is None


@pytest.mark.parametrize(
    "change", ["actor = 'nobody'", "after = '{}'", "created_at = '2020-01-01 00:00:00.000000'", "previous_hash = hash", "target_id = 7"]
)
def test_an_event_that_was_changed_by_hand_is_found(app, change):
    for name in "abc":
        record(name)
    number = db.session.execute(select(func.max(AuditEvent.id))).scalar_one() - 1
    with writing(refresh=False) as session:
        unguard(session)
        session.execute(text(f"UPDATE audit_events SET {change} WHERE id = {number}"))
    assert audit.first_break(db.session()) == number


def test_an_event_that_was_removed_by_hand_is_missed(app):
    for name in "abc":
        record(name)
    last = db.session.execute(select(func.max(AuditEvent.id))).scalar_one()
    with writing(refresh=False) as session:
        unguard(session)
        session.execute(text(f"DELETE FROM audit_events WHERE id = {last - 1}"))
    assert audit.first_break(db.session()) == last


def test_writers_at_the_same_moment_make_one_chain(either_app):
    db.session.remove()

    def write(name):
        with either_app.app_context():
            for _ in range(5):
                record(name)

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert db.session.execute(select(func.count()).where(AuditEvent.action == "registry:thing:do")).scalar_one() == 20
    assert audit.first_break(db.session()) is None


FULL = {
    "sqlite": "CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no room'); END",
    "postgresql": "ALTER TABLE audit_events ADD CONSTRAINT no_room CHECK (id < 0) NOT VALID",
}


def test_a_change_that_cannot_be_recorded_does_not_happen(app):
    with writing(refresh=False) as session:
        session.execute(text(FULL[session.get_bind().dialect.name]))
    with pytest.raises(Exception, match=r"clashes|reached"), writing() as session:
        models.create(session, model_values(), actor="ann")
    assert db.session.execute(select(Model).where(Model.model_id == "test-model")).all() == []


def test_a_change_that_is_refused_leaves_no_trace(app):
    before = db.session.execute(select(func.count()).select_from(AuditEvent)).scalar_one()
    taken = model_values(model_id="gpt-4o")
    with pytest.raises(Conflict), writing() as session:
        models.create(session, model_values(), actor="ann").provider.slug = models.create(session, taken, actor="ann").ref
    assert db.session.execute(select(func.count()).select_from(AuditEvent)).scalar_one() == before
