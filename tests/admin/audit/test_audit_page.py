"""The audit page: reading events, exporting them, and restoring earlier values."""

import csv
import html
import io
import json

import pytest
from factories import csrf_token
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import AuditEvent, Model
from webapp.runtime.transaction import writing
from webapp.services.catalog import models
from webapp.services.projects import projects


def edited(name, **values) -> int:
    """Edit a model, and return the id of the audit event."""
    with writing() as session:
        row = session.execute(select(Model).where(Model.model_id == name)).scalar_one()
        models.update(session, row.id, values, actor="ann")
    return last().id


def last() -> AuditEvent:
    db.session.rollback()
    return db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


def details(visitor, event):
    return html.unescape(visitor.get(f"/admin/audit/details/?id={event}").text)


def name_of(model):
    db.session.rollback()
    return db.session.execute(select(Model.display_name).where(Model.model_id == model)).scalar_one()


def test_the_page_shows_what_would_come_back_and_puts_it_back(bob):
    before = name_of("gpt-4o")
    event = edited("gpt-4o", display_name="Wrong name")
    page = details(bob, event)
    assert "Put back" in page
    assert "changed since" not in page
    response = bob.post("/admin/audit/restore/", {"id": event})
    assert response.status_code == 302
    assert name_of("gpt-4o") == before
    assert f"is as it was before event {event}." in bob.get("/admin/audit/").text
    assert "nothing to put back" in details(bob, event)
    assert (last().action, last().actor) == ("audit:event:restore", bob.email)


def test_what_somebody_changed_since_is_marked_and_asked_about(bob):
    event = edited("gpt-4o", display_name="First")
    edited("gpt-4o", display_name="Second")
    page = details(bob, event)
    assert "changed since" in page
    assert "Somebody changed them since; that is overwritten." in page


def test_a_refusal_is_said_and_nothing_changes(bob):
    event = edited("gpt-4o", display_name="First")
    bob.post("/admin/audit/restore/", {"id": event})
    count = last().id
    bob.post("/admin/audit/restore/", {"id": event})
    assert "nothing to put back" in bob.get("/admin/audit/").text
    assert last().id == count


def test_only_whoever_may_change_a_thing_may_put_it_back(ann, bob, eve):
    with writing() as session:
        project = projects.create(session, {"slug": "blue", "display_name": "Blue"}, actor="ann")
        projects.update(session, project.id, {"display_name": "Bluer"}, actor="ann")
    event = last().id
    assert "Put back" not in details(bob, event).partition("<main")[2]
    assert bob.post("/admin/audit/restore/", {"id": event}).status_code == 403
    token = csrf_token(eve.get("/admin/").text)
    assert eve.client.post("/admin/audit/restore/", data={"id": event, "csrf_token": token}).status_code == 403
    assert ann.post("/admin/audit/restore/", {"id": event}).status_code == 302
    assert last().action == "audit:event:restore"


def test_the_trail_can_be_taken_away_as_a_table_with_the_values_before_and_after(ann):
    before = name_of("gpt-4o")
    event = edited("gpt-4o", display_name="Another name")
    table = list(csv.reader(io.StringIO(ann.get("/admin/audit/export/csv/").text)))
    line = next(line for line in table if line[0] == str(event))
    assert json.loads(line[table[0].index("Before")]) == {"display_name": before}
    assert json.loads(line[table[0].index("After")]) == {"display_name": "Another name"}


@pytest.mark.parametrize(("words", "found"), [("Signed in", True), ("signed", True), ("Refused a code", False), ("Added", False)])
def test_the_log_is_searched_in_the_words_that_it_shows(ann, words, found):
    rows = ann.get(f"/admin/audit/?search={words.replace(' ', '+')}").text.partition("<tbody")[2]
    assert ("Signed in:" in rows) == found


def test_a_price_is_shown_with_its_rates_as_text(ann):
    model_id = db.session.execute(select(Model.id).where(Model.model_id == "gpt-4o")).scalar_one()
    form = {"model": str(model_id), "state": "priced", "when": "now", "unit": "1000000", "rate_input": "2.5", "rate_second": "0.034"}
    assert ann.post("/admin/price/new/", form | {"per_second": "60"}).status_code == 302
    page = details(ann, last().id)
    assert "input: $2.50 per 1M tokens" in page
    assert "seconds: $0.034 per minute" in page
