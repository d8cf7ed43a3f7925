"""The audit log: written in the transaction of the change, chained, and able to detect tampering."""

import threading

import pytest
from environment import unguard
from factories import model_values
from sqlalchemy import func, select, text

from webapp.domain.shared.errors import Conflict
from webapp.extensions import db
from webapp.models import AuditEvent, AuditState, Model, RegistryState
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import GENESIS, AuditChange, Target, digest
from webapp.services.catalog import models


def record(name="x", actor="ann", change=(None, {"a": 1})) -> None:
    with writing(refresh=False) as session:
        audit_log.record(session, "registry:thing:do", actor=actor, target=Target("thing", None, name), change=change)


def test_every_event_names_the_one_before_and_its_own_content(either_app):
    record("ü\n\"'\\", change=AuditChange({"a": [1, None, {"b": "é"}], "c": True}, {"a": [], "c": True}))
    events = db.session.execute(select(AuditEvent).order_by(AuditEvent.id)).scalars().all()
    assert [event.previous_hash for event in events] == [GENESIS, *(event.hash for event in events[:-1])]
    assert [event.hash for event in events] == [digest(event) for event in events]
    assert (events[-1].before, events[-1].after) == ({"a": [1, None, {"b": "é"}]}, {"a": []})
    assert audit_log.get_first_break_or_none(db.session()) is None


@pytest.mark.parametrize(
    "change", ["actor = 'nobody'", "after = '{}'", "created_at = '2020-01-01 00:00:00.000000'", "previous_hash = hash", "target_id = 7"]
)
def test_an_event_that_was_changed_by_hand_is_found(app, change):
    for name in "abc":
        record(name)
    event_id = db.session.execute(select(func.max(AuditEvent.id))).scalar_one() - 1
    with writing(refresh=False) as session:
        unguard(session)
        session.execute(text(f"UPDATE audit_events SET {change} WHERE id = {event_id}"))
    assert audit_log.get_first_break_or_none(db.session()).event_id == event_id


def test_an_event_that_was_removed_by_hand_is_missed(app):
    for name in "abc":
        record(name)
    last = db.session.execute(select(func.max(AuditEvent.id))).scalar_one()
    with writing(refresh=False) as session:
        unguard(session)
        session.execute(text(f"DELETE FROM audit_events WHERE id = {last - 1}"))
    assert audit_log.get_first_break_or_none(db.session()).event_id == last


def by_hand(*statements: str) -> None:
    """Change the audit log as anyone with the database password could."""
    with writing(refresh=False) as session:
        unguard(session)
        for statement in statements:
            session.execute(text(statement))


def newest() -> int:
    db.session.rollback()
    return db.session.execute(select(func.max(AuditEvent.id))).scalar_one()


ENDS = {
    "the newest was removed": ("DELETE FROM audit_events WHERE id = {newest}", "the newest 1 of {count} events are missing"),
    "three were removed": ("DELETE FROM audit_events WHERE id > {newest} - 3", "the newest 3 of {count} events are missing"),
    "all were removed": ("DELETE FROM audit_events", "all {count} events are missing"),
    "the newest was edited": ("UPDATE audit_events SET actor = 'nobody' WHERE id = {newest}", "event {newest} was changed"),
    "its end was removed": ("DELETE FROM audit_state", "the row that tells its end"),
    "the count was lowered": ("UPDATE audit_state SET events = events - 1", "event {before} was changed together with its hash"),
}


@pytest.mark.parametrize("way", ENDS)
def test_e16_what_was_done_to_the_end_of_the_trail_is_found_and_named(either_app, way):
    for name in "abc":
        record(name)
    statement, message = ENDS[way]
    values = {"newest": newest(), "before": newest() - 1, "count": db.session.execute(select(func.count(AuditEvent.id))).scalar_one()}
    assert audit_log.get_first_break_or_none(db.session()) is None
    by_hand(statement.format(**values))
    assert message.format(**values) in audit_log.get_first_break_or_none(db.session()).message


def rehashed(event_id: int) -> None:
    """Give the event another actor and the hash that matches."""
    with writing(refresh=False) as session:
        unguard(session)
        event = session.get_one(AuditEvent, event_id)
        event.actor = "nobody"
        event.hash = digest(event)


def test_e16_the_newest_event_with_a_hash_that_fits_its_new_content_is_found(either_app):
    record("a")
    event_id = newest()
    rehashed(event_id)
    assert audit_log.get_first_break_or_none(db.session()).message.startswith(f"event {event_id} was changed together with its hash")


def test_e16_a_line_that_was_added_by_hand_at_the_end_is_found(either_app):
    record("a")
    with writing(refresh=False) as session:
        last = session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
        forged = AuditEvent(
            actor="nobody",
            action="registry:thing:do",
            target_kind="thing",
            target_name="x",
            request_id="",
            previous_hash=last.hash,
            created_at=last.created_at,
        )
        forged.hash = digest(forged)
        session.add(forged)
    assert audit_log.get_first_break_or_none(db.session()).message == f"event {newest()} was added by hand"


def test_e16_lines_written_after_the_newest_was_removed_do_not_close_the_hole(either_app):
    record("a")
    by_hand(f"DELETE FROM audit_events WHERE id = {newest()}")
    record("b")
    assert audit_log.get_first_break_or_none(db.session()).event_id == newest()


def test_a_trail_whose_end_was_removed_is_written_on_and_never_called_whole_again(either_app):
    record("a")
    by_hand("DELETE FROM audit_state")
    record("b")
    record("c")
    assert "audit_state" in audit_log.get_first_break_or_none(db.session()).message


def test_a_line_about_what_is_not_the_registry_neither_moves_nor_locks_the_registrys_row(either_app):
    """One connection locks the registry's row, as every change of the registry does, while a user signs in."""
    revision = db.session.execute(select(RegistryState.revision)).scalar_one()
    db.session.rollback()
    if db.engine.dialect.name == "postgresql":  # SQLite always has only one writer.
        with db.engine.begin() as connection:
            connection.execute(text("SELECT * FROM registry_state FOR UPDATE"))
            record("a")
    record("b")
    assert db.session.execute(select(RegistryState.revision)).scalar_one() == revision


def refused_later(session) -> None:
    audit_log.record(session, "registry:thing:do", actor="ann", target=Target("thing", None, "x"))
    raise Conflict("no")


def test_a_change_that_is_taken_back_does_not_move_the_end(either_app):
    before = db.session.execute(select(AuditState.events, AuditState.hash)).one()
    with pytest.raises(Conflict), writing(refresh=False) as session:
        refused_later(session)
    assert db.session.execute(select(AuditState.events, AuditState.hash)).one() == before
    assert audit_log.get_first_break_or_none(db.session()) is None


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
    assert audit_log.get_first_break_or_none(db.session()) is None


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
