"""Denied requests of known callers are audited, within a quota. An audit failure does not change the denial."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from environment import api_for, no_trail
from factories import csrf_token, model_values
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import AuditEvent, User
from webapp.runtime.transaction import writing
from webapp.services.audit import audit_log, denied_requests
from webapp.services.audit.denied_requests import ACTION, DeniedRequest
from webapp.web import denied_requests as denial_recorder

PER_MINUTE, PER_HOUR = (most for _, most in denied_requests.MAX_DENIALS)


def lines() -> list[AuditEvent]:
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent).where(AuditEvent.action == ACTION).order_by(AuditEvent.id)).scalars())


def row_of(email: str) -> User:
    db.session.rollback()
    return db.session.execute(select(User).where(User.email == email)).scalar_one()


@pytest.mark.parametrize("who", ["eve", "bob"])
def test_t09_who_makes_an_admin_of_themselves_gets_403_and_a_line(request, who):
    visitor = request.getfixturevalue(who)
    user = row_of(visitor.email)
    user_id, role = user.id, user.role
    response = visitor.post(f"/admin/user/edit/?id={user_id}", {"role": "admin", "active": "y"})
    assert (response.status_code, row_of(visitor.email).role) == (403, role)
    (line,) = lines()
    assert (line.actor, line.target_kind, line.target_name) == (visitor.email, "request", "POST /admin/user/edit/")
    assert line.request_id == response.headers["X-Request-Id"]
    assert (line.before, line.after) == (None, None)


def test_t09_a_token_that_may_only_read_gets_403_and_a_line_without_what_it_sent(app, reader):
    response = reader.post("/admin/models?secret=sk-CANARY", model_values(display_name="sk-CANARY"))
    assert response.status_code == 403
    (line,) = lines()
    assert (line.actor, line.target_name) == ("token:a test", "POST /api/v1/admin/models")
    assert line.request_id == response.headers["X-Request-Id"]
    assert "CANARY" not in repr([getattr(line, column.key) for column in AuditEvent.__table__.columns])


def test_the_audit_log_tells_it_in_words_and_the_dashboard_does_not(ann, eve):
    eve.post("/admin/provider/1/primary")
    (line,) = lines()
    description = "Refused POST /admin/provider/&lt;id&gt;/primary"
    assert description in ann.get("/admin/audit/").text
    assert description in ann.get(f"/admin/audit/details/?id={line.id}").text
    assert "Refused POST" not in ann.get("/admin/").text


def test_looking_is_no_change_and_of_strangers_and_other_sites_there_is_no_line(app, eve):
    assert eve.get("/admin/user/").status_code == 403
    token = csrf_token(eve.get("/admin/").text)
    assert (
        eve.client.post("/admin/model/1/default", data={"csrf_token": token}, headers={"Origin": "https://evil.example"}).status_code == 403
    )
    assert eve.client.post("/admin/model/1/default").status_code == 400
    assert app.test_client().post("/api/v1/admin/models", json={}).status_code == 401
    assert lines() == []


def test_a_refusal_that_cannot_be_written_down_is_still_the_answer(app, eve, reader, caplog):
    with no_trail():
        assert eve.post("/admin/model/1/default").status_code == 403
        response = reader.post("/admin/models", model_values())
    assert (response.status_code, response.json["code"]) == (403, "forbidden")
    assert "a refusal could not be written into the audit log" in caplog.text
    assert lines() == []


def test_one_caller_cannot_fill_the_trail_and_the_last_line_says_that_more_is_left_out(app, reader, eve, monkeypatch):
    for _ in range(PER_MINUTE):
        assert reader.post("/admin/models").status_code == 403
    monkeypatch.setattr(denial_recorder, "writing", None)  # Over the quota, denials do not take the write lock.
    for _ in range(3):
        assert reader.post("/admin/models").status_code == 403
    monkeypatch.undo()
    recorded = lines()
    assert [line.after for line in recorded] == [None] * (PER_MINUTE - 1) + [
        {"left_out": "further refusals of this caller, for up to an hour"}
    ]
    eve.post("/admin/model/1/default")
    assert lines()[-1].actor == eve.email  # Other callers have their own quota.
    assert audit_log.get_first_break_or_none(db.session()) is None


def test_there_is_room_again_after_a_minute_until_the_hour_is_full(app):
    caller = DeniedRequest("token:wrong", "POST /api/v1/usage")
    start = datetime.now(UTC)

    def in_minutes(minutes: float) -> int:
        return denied_requests.remaining_quota(db.session(), caller.actor, start + timedelta(minutes=minutes))

    with writing(refresh=False) as session:
        for _ in range(PER_MINUTE + 5):
            denied_requests.record_denial(session, caller, datetime.now(UTC))
    assert (len(lines()), in_minutes(0), in_minutes(2)) == (PER_MINUTE, 0, PER_MINUTE)
    with writing(refresh=False) as session:
        for _ in range(PER_HOUR):  # As if a minute had passed before each denial.
            denied_requests.record_denial(session, caller, datetime.now(UTC) + timedelta(minutes=2))
    assert (len(lines()), in_minutes(3), in_minutes(62)) == (PER_HOUR, 0, PER_MINUTE)


def test_many_at_once_are_counted_one_by_one(either_app):
    db.session.remove()

    def refused():
        with either_app.app_context():
            for _ in range(4):
                with writing(refresh=False) as session:
                    denied_requests.record_denial(session, DeniedRequest("token:wrong", "POST /x"), datetime.now(UTC))
            db.session.remove()

    threads = [threading.Thread(target=refused) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(lines()) == PER_MINUTE


def test_a_caller_that_was_refused_is_not_let_in_by_the_name_that_the_trail_needs(app):
    api = api_for(app, "usage:read")
    assert api.post("/admin/models", model_values()).status_code == 403
    assert api.get("/models").status_code == 403
