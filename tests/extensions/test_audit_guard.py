"""The audit guard: no change is stored without an audit event."""

import pytest
from environment import api_for
from factories import model_values
from sqlalchemy import delete, insert, select, update

from webapp.extensions import db
from webapp.extensions.audit_guard import AUDIT_TABLE, UNAUDITED_TABLES
from webapp.models import AuditEvent, Base, Project, Provider, UserSession
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.audit.audit_log import Target

WAYS = {
    "a new row": lambda session: session.add(Project(slug="p", display_name="P")),
    "an attribute": lambda session: setattr(session.execute(select(Provider)).scalars().first(), "sort_order", 77),
    "a removed row": lambda session: session.delete(session.execute(select(Provider).where(Provider.slug == "copilot")).scalar_one()),
    "an insert": lambda session: session.execute(insert(Project).values(slug="p", display_name="P")),
    "an update": lambda session: session.execute(update(Provider).values(sort_order=77)),
    "a delete": lambda session: session.execute(delete(Provider).where(Provider.slug == "copilot")),
}


def state() -> tuple:
    db.session.rollback()
    rows = db.session.execute(select(Provider.slug, Provider.sort_order).order_by(Provider.slug)).all()
    return rows, db.session.execute(select(Project.slug)).scalars().all()


@pytest.mark.parametrize("way", WAYS)
def test_e16_a_change_without_a_line_is_not_stored_and_with_one_it_is(either_app, way):
    before = state()
    with pytest.raises(RuntimeError, match="without a line in the trail"), writing() as session:
        WAYS[way](session)
    assert state() == before
    with writing() as session:
        WAYS[way](session)
        audit_log.record(session, "registry:provider:update", actor="ann", target=Target("provider", 1, "x"))
    assert state() != before


def test_a_refused_change_does_not_stand_in_the_way_of_the_next_one(app):
    with pytest.raises(RuntimeError), writing() as session:
        WAYS["an update"](session)
    with writing() as session:
        session.execute(delete(UserSession))


def test_a_line_of_an_earlier_change_does_not_count_for_a_later_one(app):
    with writing() as session:
        WAYS["an update"](session)
        audit_log.record(session, "registry:provider:update", actor="ann", target=Target("provider", 1, "x"))
    with pytest.raises(RuntimeError, match="providers"), writing() as session:
        session.execute(update(Provider).values(sort_order=78))


def test_what_is_only_looked_at_needs_no_line(app):
    with writing() as session:
        row = session.execute(select(Provider)).scalars().first()
        row.sort_order = row.sort_order  # assigned but not changed


def test_every_name_in_the_list_is_a_table_and_the_trail_is_one():
    assert set(Base.metadata.tables) >= {AUDIT_TABLE, *UNAUDITED_TABLES}


def test_e16_control_a_service_that_forgets_its_line_is_noticed_and_stores_nothing(app, monkeypatch):
    api = api_for(app, "registry:read", "registry:write")
    monkeypatch.setattr(audit_log, "record", lambda *_, **__: None)
    response = api.post("/admin/models", model_values())
    assert (response.status_code, response.json["code"]) == (500, "internal")
    monkeypatch.undo()
    db.session.rollback()
    assert api.get("/models/openai/test-model").status_code == 404
    assert "registry:model:create" not in db.session.execute(select(AuditEvent.action)).scalars().all()
    assert api.post("/admin/models", model_values()).status_code == 201
