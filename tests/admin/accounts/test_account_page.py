"""The page of your own account: sessions can be ended one by one, and the password can be changed."""

import html
import re

import pytest
from environment import PASSWORD
from factories import Visitor, csrf_token
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import AuditEvent

NEW = "Another-Harbour-of-tests"


def page(visitor):
    return html.unescape(visitor.get("/admin/account/").text)


def others(visitor):
    return re.findall(r"/admin/account/sessions/(\d+)/end", page(visitor))


def last_action():
    db.session.rollback()
    return db.session.execute(select(AuditEvent.action, AuditEvent.actor).order_by(AuditEvent.id.desc()).limit(1)).one()


def test_sign_ins_are_listed_and_another_one_is_ended(app, ann):
    second_browser = Visitor(app, "ann@example.com", PASSWORD)
    assert "This one" in page(ann)
    (session_id,) = others(ann)
    ann.post(f"/admin/account/sessions/{session_id}/end")
    assert "That sign-in has ended." in page(ann)
    assert tuple(last_action()) == ("accounts:session:end", "ann@example.com")
    assert second_browser.get("/admin/").status_code == 302


def test_t10_nobody_ends_the_sign_in_of_somebody_else(app, ann, bob):
    Visitor(app, "ann@example.com", PASSWORD)
    (session_id,) = others(ann)
    bob.post(f"/admin/account/sessions/{session_id}/end")
    assert "That sign-in has ended already." in page(bob)
    assert others(ann) == [session_id]


def test_a_new_password_needs_the_present_one_and_ends_all_other_sign_ins(app, eve):
    second_browser = Visitor(app, "eve@example.com", PASSWORD)
    response = eve.post("/admin/account/password", {"present": PASSWORD, "new": NEW, "again": NEW})
    assert response.status_code == 302
    assert "Your password is changed" in page(eve)
    assert second_browser.get("/admin/").status_code == 302
    anonymous = app.test_client()
    for password, status in ((PASSWORD, 422), (NEW, 302)):
        data = {"email": "eve@example.com", "password": password, "csrf_token": csrf_token(anonymous.get("/login").text)}
        assert anonymous.post("/login", data=data).status_code == status


@pytest.mark.parametrize(
    ("given", "field"), [({"present": "wrong"}, "present"), ({"again": "different"}, "again"), ({"new": "short", "again": "short"}, "new")]
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_changes(eve, given, field):
    response = eve.post("/admin/account/password", {"present": PASSWORD, "new": NEW, "again": NEW} | given)
    assert (response.status_code, f'id="a-{field}-error"' in response.text) == (422, True)
    assert last_action().action != "accounts:user:set_password"
