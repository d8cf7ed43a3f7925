"""E16 for everything outside the API: every form that changes something writes an audit event, and changes nothing without it.

The forms come from the URL map. A form that is in neither list of `form_table` fails. Reads continue while the audit log rejects events.
"""

import html

import pytest
from environment import api_for, no_trail
from experiments.form_stage import Stage
from experiments.form_table import FORMS, NOTHING
from flask import Flask
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from webapp.domain.shared.errors import DatabaseUnreachable
from webapp.extensions import db
from webapp.models import AuditEvent, Base
from webapp.runtime.job_worker import JobWorker
from webapp.services.audit import audit_log
from webapp.services.runs import connection_tests

SAFE = {"GET", "HEAD", "OPTIONS"}
# Tables that change even if a request fails: the registered processes and the sign-in attempts.
NOTED = ("registry_processes", "login_attempts")


@pytest.fixture
def stage(app, ann, monkeypatch) -> Stage:
    listed = (connection_tests.ListedModel("listed-1", "Listed", None, None, "active"),)
    monkeypatch.setattr(connection_tests, "list_upstream_models", lambda *_, **__: listed)  # No provider is contacted.
    return Stage(app, ann)


def changing(app: Flask) -> set[str]:
    return {rule.endpoint for rule in app.url_map.iter_rules() if not rule.rule.startswith("/api/") and rule.methods - SAFE}


def state() -> dict[str, list]:
    """Return all stored rows, without the last-seen columns."""
    db.session.rollback()
    rows = {}
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name not in NOTED:
                columns = ", ".join(column.name for column in table.columns if column.name not in ("last_seen_at", "updated_at"))
                rows[table.name] = connection.execute(text(f"SELECT {columns} FROM {table.name} ORDER BY id")).all()
    return rows


def actions(since: int) -> list[str]:
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent.action).where(AuditEvent.id > since).order_by(AuditEvent.id)).scalars())


def newest() -> int:
    db.session.rollback()
    return db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


def admits(stage: Stage, response: TestResponse) -> bool:
    """Whether the response reports the outage: 503, or the message on the page with the form or on the page after the redirect."""
    if response.status_code == 503:
        return True
    page = stage.client.get(response.location).text if response.status_code == 302 else response.text
    return DatabaseUnreachable().detail in html.unescape(page)


def test_e16_every_form_is_tried_or_has_a_reason_why_it_needs_no_line(app):
    assert changing(app) == FORMS.keys() | NOTHING.keys()
    assert not FORMS.keys() & NOTHING.keys()


@pytest.mark.parametrize("endpoint", FORMS)
def test_e16_a_form_changes_nothing_without_its_line_and_leaves_it_with_the_change(stage, endpoint):
    expected, prepare = FORMS[endpoint]
    path, form = prepare(stage)
    before, since = state(), newest()
    cookie = stage.client.get_cookie("modeldesk")
    with no_trail():
        refused = stage.send(path, form)
    assert admits(stage, refused), (refused.status_code, refused.text[:2000])
    assert state() == before
    if cookie is not None:
        stage.client.set_cookie("modeldesk", cookie.value)  # Signing out deletes the cookie even if the audit log fails.
    response = stage.send(path, form)
    assert response.status_code in (200, 302), (response.status_code, response.text[:2000])
    if endpoint == "bench.create":
        JobWorker().run_pending()
    assert tuple(actions(since)) == expected
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_e16_reading_goes_on_while_the_trail_takes_no_line(app, ann):
    api = api_for(app, "registry:read", "usage:read")
    paths = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods and "<" not in rule.rule and not rule.rule.startswith("/api/")
    ]
    api_paths = ["/models", "/models/gpt-4o", "/defaults", "/providers", "/snapshot", "/cost?model=gpt-4o&input_tokens=1", "/usage/summary"]
    before = [ann.get(path).status_code for path in paths], [api.get(path).status_code for path in api_paths]
    assert {200} == set(before[1])
    with no_trail():
        assert ([ann.get(path).status_code for path in paths], [api.get(path).status_code for path in api_paths]) == before
        assert api.post("/cost", {"model": "openai/gpt-4o", "usage": {"input": 1}}).status_code == 200
