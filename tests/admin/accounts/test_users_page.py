"""The pages of users, tokens and the audit log."""

import re

from factories import model_values
from sqlalchemy import select

from webapp.extensions import db
from webapp.models import ApiToken, AuditEvent, User


def user(name):
    db.session.rollback()
    return db.session.execute(select(User).where(User.email == f"{name}@example.com")).scalar_one()


def newest_actions(count=1):
    db.session.rollback()
    return list(db.session.execute(select(AuditEvent.action).order_by(AuditEvent.id.desc()).limit(count)).scalars())


def test_a_new_user_gets_a_link_that_is_shown_once(ann):
    response = ann.post("/admin/user/new/", {"email": "Dan@Example.com", "role": "editor"})
    path = re.search(r'value="http://127.0.0.1:\d+(/setup/[^"]+)"', response.text)[1]
    assert ann.client.get(path).status_code == 200
    assert path not in ann.get("/admin/user/").text
    assert newest_actions(2) == ["accounts:user:make_link", "accounts:user:create"]


def test_a_role_is_changed_and_audited_once(ann):
    ann.post(f"/admin/user/edit/?id={user('eve').id}", {"role": "editor", "active": "y"})
    assert user("eve").role == "editor"
    assert newest_actions() == ["accounts:user:set_role"]


def test_the_last_admin_stays(ann):
    response = ann.post(f"/admin/user/edit/?id={user('ann').id}", {"role": "viewer", "active": "y"})
    assert "is the last active admin" in response.text
    ann.post(f"/admin/user/{user('ann').id}/active?to=0")
    assert (user("ann").role, user("ann").is_active) == ("admin", True)


def test_whoever_is_kept_out_is_out_at_once(ann, eve):
    ann.post(f"/admin/user/{user('eve').id}/active?to=0")
    assert eve.get("/admin/").status_code == 302


def test_a_reset_link_is_audited(ann):
    response = ann.post(f"/admin/user/{user('bob').id}/link")
    assert "/setup/" in response.text
    assert newest_actions() == ["accounts:user:make_link"]


def test_a_token_is_shown_once_works_and_is_revoked(ann, app):
    response = ann.post("/admin/token/new/", {"name": "reports", "scopes": ["registry:read"], "expires_days": "30"})
    token = re.search(r'value="(mdk_[^"]+)"', response.text)[1]
    status = lambda: app.test_client().get("/api/v1/providers", headers={"Authorization": f"Bearer {token}"}).status_code  # noqa: E731
    assert status() == 200
    assert token not in ann.get("/admin/token/").text
    ann.post(f"/admin/token/{db.session.execute(select(ApiToken.id)).scalars().first()}/revoke")
    assert status() == 401


def test_a_token_needs_a_scope_and_a_sensible_end(ann):
    assert "Tick at least one" in ann.post("/admin/token/new/", {"name": "reports", "expires_days": "30"}).text
    response = ann.post("/admin/token/new/", {"name": "reports", "scopes": ["registry:read"], "expires_days": "1000"})
    assert "must be 1 to 365" in response.text


def test_an_editor_reads_the_log_field_by_field(ann, bob):
    ann.post(f"/admin/user/edit/?id={user('eve').id}", {"role": "editor", "active": "y"})
    newest = db.session.execute(select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1)).scalar_one()
    page = bob.get(f"/admin/audit/details/?id={newest}").text
    assert re.search(r"role</th>.*viewer.*editor", page, re.DOTALL)


def test_the_log_is_searched_and_filtered(ann):
    ann.post(f"/admin/user/edit/?id={user('eve').id}", {"role": "editor", "active": "y"})
    assert ann.get("/admin/audit/?search=eve&flt0_action_equals=set_role").text.count('<tr id="row-') == 1
    assert ann.get("/admin/audit/?flt0_kind_equals=token").text.count('<tr id="row-') == 0


def test_the_dashboard_says_what_needs_somebody(ann):
    ann.post("/admin/model/new/", model_values(active="y"))
    page = ann.get("/admin/").text
    assert "no known price" in page
    assert "Getting started" in page
