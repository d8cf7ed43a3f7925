"""E16: every change or denied change through the API writes exactly one audit event. If the audit log fails, nothing changes."""

import pytest
from environment import api_for, no_trail, unguard
from factories import model_values, price_values, provider_values
from sqlalchemy import func, select, text

from webapp.api.v1.routes import ROUTES
from webapp.extensions import db
from webapp.models import AuditEvent, Model, Provider
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log
from webapp.services.audit.denied_requests import ACTION as DENIED
from webapp.services.catalog import models, providers
from webapp.services.credentials import credentials
from webapp.services.pricing import prices
from webapp.services.transfer.import_rows import FORMAT, VERSION

# Requests without an audit event: usage has its own records, and calculations change nothing.
UNTRAILED = {"/usage", "/cost", "/cost/batch", "/quote", "/compare"}
IMPORTED = {
    "format": FORMAT,
    "version": VERSION,
    "models": [{"provider": "audited", "model_id": "new", "display_name": "New", "type": "text"}],
}
INCIDENT = {"incident": {"title": "Disk usage at 97 %"}}
REQUESTS = {
    ("POST", "/runs"): INCIDENT,
    ("POST", "/admin/import"): IMPORTED,
    ("POST", "/admin/models"): model_values(model_id="brand-new"),
    ("PUT", "/admin/models/<number>"): model_values(provider="audited", model_id="m", display_name="Put"),
    ("PATCH", "/admin/models/<number>"): {"display_name": "Patched"},
    ("DELETE", "/admin/models/<number>"): None,
    ("POST", "/admin/models/<number>/toggle-active"): None,
    ("POST", "/admin/models/<number>/set-default"): None,
    ("POST", "/admin/models/<number>/prices"): price_values(),
    ("POST", "/admin/models/<number>/prices/<price>/cancel"): None,
    ("POST", "/admin/models/<number>/prices/<price>/verify"): None,
    ("POST", "/admin/providers"): provider_values(slug="brand-new"),
    ("DELETE", "/admin/providers/primary"): None,
    ("PUT", "/admin/providers/<number>"): provider_values(slug="audited", display_name="Put"),
    ("PATCH", "/admin/providers/<number>"): {"display_name": "Patched"},
    ("DELETE", "/admin/providers/<number>"): None,
    ("POST", "/admin/providers/<number>/toggle-active"): None,
    ("POST", "/admin/providers/<number>/set-primary"): None,
    ("PUT", "/admin/providers/<number>/credential"): {"api_key": "sk-0123456789abcdef"},
    ("DELETE", "/admin/providers/<number>/credential"): None,
}
# Deleting a provider also writes an event for its credential. An import writes one event in addition to those of its changes.
LINES = {("DELETE", "/admin/providers/<number>"): 2, ("POST", "/admin/import"): 2}
CHANGING = sorted((route.method, route.rule) for route in ROUTES if route.method != "GET" and route.rule not in UNTRAILED)


@pytest.fixture
def subjects(app) -> dict[str, int]:
    """Ids of a provider with a credential, and of a provider with an unpriced and a priced model. Nothing else uses them."""
    with writing() as session:
        standalone = providers.create(session, provider_values(slug="alone"), actor="ann")
        credentials.store(session, standalone, "sk-0123456789abcdef", vault=container.vault(), actor="ann")
        audited = providers.create(session, provider_values(slug="audited"), actor="ann")
        model = models.create(session, model_values(provider="audited", model_id="m"), actor="ann")
        priced = models.create(session, model_values(provider="audited", model_id="priced"), actor="ann")
        price = prices.add(session, priced.id, price_values(), actor="ann")
        scheduled = prices.add(session, priced.id, price_values(effective_from="2099-01-01T00:00:00Z"), actor="ann")
        rows = {"providers": standalone, "models": model, "audited": audited, "priced": priced, "price": price, "scheduled": scheduled}
        return {name: row.id for name, row in rows.items()}


def events() -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(AuditEvent)).scalar_one()


def latest() -> AuditEvent:
    return db.session.execute(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()


def ask(api, subjects, method, rule):
    kind = "priced" if "<price>" in rule else "models" if "/models/" in rule else "providers"
    row_id = subjects["audited"] if method == "PUT" and rule == "/admin/providers/<number>" else subjects[kind]
    path = rule.replace("<number>", str(row_id)).replace("<price>", str(subjects["scheduled" if "cancel" in rule else "price"]))
    body = REQUESTS[method, rule]
    return api.request(method, path, **({"json": body} if body is not None else {}))


def state() -> tuple:
    db.session.rollback()
    return tuple(
        tuple(db.session.execute(text(f"SELECT * FROM {table} ORDER BY id")).all())
        for table in ("providers", "models", "prices", "credentials", "runs")
    )


def test_e16_every_changing_route_of_the_api_is_tried():
    assert [route for route in CHANGING if route not in REQUESTS] == []


@pytest.mark.parametrize(("method", "rule"), CHANGING, ids=[f"{method} {rule}" for method, rule in CHANGING])
def test_e16_one_change_leaves_one_line_and_a_denied_one_too(app, subjects, method, rule):
    api, reader = api_for(app, "registry:read", "registry:write", "runs:write"), api_for(app, "registry:read")
    before, rows = events(), state()
    assert ask(reader, subjects, method, rule).status_code == 403
    assert (events(), state()) == (before + 1, rows)
    event = latest()
    assert (event.action, event.actor, event.target_name) == (DENIED, "token:a test", f"{method} /api/v1{rule}")
    with no_trail():
        assert ask(reader, subjects, method, rule).status_code == 403  # A denied request changes nothing, so it needs no audit event.
        refused = ask(api, subjects, method, rule)
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True), refused.text
    assert (events(), state()) == (before + 1, rows)
    response = ask(api, subjects, method, rule)
    assert response.status_code in (200, 201, 204), response.text
    assert events() == before + 1 + LINES.get((method, rule), 1)
    assert latest().action != DENIED
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_e16_one_changed_or_missing_line_is_found(app, subjects):
    middle_id = db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id).offset(3).limit(1)).scalar_one()
    db.session.rollback()
    with db.engine.begin() as connection:
        unguard(connection)
        connection.exec_driver_sql(f"UPDATE audit_events SET actor = 'nobody' WHERE id = {middle_id}")
    assert audit_log.get_first_break_or_none(db.session()).event_id == middle_id
    db.session.rollback()
    with db.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM audit_events WHERE id = {middle_id}")
    db.session.rollback()
    assert audit_log.get_first_break_or_none(db.session()).event_id == middle_id + 1


def test_e16_a_trail_without_its_newest_line_is_not_called_whole(app, subjects):
    newest_id = db.session.execute(select(func.max(AuditEvent.id))).scalar_one()
    db.session.rollback()
    with db.engine.begin() as connection:
        unguard(connection)
        connection.exec_driver_sql(f"DELETE FROM audit_events WHERE id = {newest_id}")
    assert "the newest 1 of" in audit_log.get_first_break_or_none(db.session()).message


def test_e16_nothing_of_the_application_changes_or_removes_a_line(app, subjects):
    for statement in ("UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events"):
        with pytest.raises(Exception, match="clashes"), writing() as session:
            session.execute(text(statement))
    assert db.session.execute(select(Model.id).limit(1)).scalar_one()
    assert db.session.execute(select(Provider.id).limit(1)).scalar_one()
