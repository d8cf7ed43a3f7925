"""Permissions to open and change pages, checked for every URL of the admin."""

import re

import pytest
from factories import csrf_token, model_values
from sqlalchemy import func, select

from webapp.extensions import db
from webapp.models import AuditEvent, Model, Provider, RegistryState
from webapp.services.audit.denied_requests import ACTION as DENIED

ADMINS_ONLY = ("/admin/user/", "/admin/token/")
EDITORS_TOO = ("/admin/audit/", "/admin/my-keys/")
ADMINS_WRITE = ("/admin/project/new/",)
PAGES = (
    "/admin/",
    "/admin/provider/",
    "/admin/provider/new/",
    "/admin/provider/edit/?id=1",
    "/admin/provider/details/?id=1",
    "/admin/model/",
    "/admin/model/new/",
    "/admin/model/edit/?id=1",
    "/admin/model/details/?id=1",
    "/admin/price/",
    "/admin/price/new/?model=1",
    "/admin/user/",
    "/admin/user/new/",
    "/admin/user/edit/?id=1",
    "/admin/token/",
    "/admin/token/new/",
    "/admin/audit/",
    "/admin/audit/details/?id=1",
    "/admin/project/",
    "/admin/project/new/",
    "/admin/bench/",
    "/admin/bench/new",
    "/admin/prompts/",
    "/admin/prompts/new",
    "/admin/prompts/incident-analysis/",
    "/admin/prompts/incident-analysis/edit",
    "/admin/my-keys/",
    "/admin/proposals/",
    "/admin/proposals/new",
    "/admin/exchange/",
    "/admin/compare/",
    "/admin/what-if/",
    "/admin/account/",
    "/admin/second-factor/",
    "/admin/explain/?model=gpt-4o-2024-08-06",
)
EVENT_HANDLER = re.compile(r"<[a-z][^>]*\s(?:on[a-z]+|style)\s*=", re.IGNORECASE)
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style\b|javascript:", re.IGNORECASE)


def rules(app, *methods):
    admin_rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/admin") and "static" not in rule.endpoint]
    for rule in admin_rules:
        path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
        path = re.sub(r"<(?:int:)?(?:\w+)>", "1", path).replace("/export/1/", "/export/csv/")
        if rule.methods & set(methods):
            yield path


def state():
    db.session.rollback()
    counts = [db.session.execute(select(func.count()).select_from(table)).scalar_one() for table in (Model, Provider)]
    counts.append(db.session.execute(select(func.count()).where(AuditEvent.action != DENIED)).scalar_one())
    return counts, db.session.execute(select(RegistryState.revision)).scalar_one()


def test_a_stranger_is_sent_to_the_login_page_from_everywhere(app):
    anonymous = app.test_client()
    for path in rules(app, "GET"):
        response = anonymous.get(path)
        assert (response.status_code, response.headers.get("Location", "")[:7]) == (302, "/login?"), path


def test_no_post_without_a_token_changes_anything(app, ann):
    before = state()
    for path in rules(app, "POST"):
        assert ann.client.post(path, data={"id": "1", "action": "deactivate", "rowid": "1"}).status_code == 400, path
    assert state() == before


def test_a_viewer_changes_nothing_by_any_post(app, eve):
    token = csrf_token(eve.get("/admin/").text)
    before = state()
    for path in rules(app, "POST"):
        if path.startswith(("/admin/calculator", "/admin/try-it", "/admin/run", "/admin/account", "/admin/second-factor")):
            continue
        response = eve.client.post(f"{path}?id=1", data={"csrf_token": token, "id": "1", "action": "deactivate", "rowid": "2"})
        assert response.status_code in (302, 403, 404), path
    assert state() == before


@pytest.mark.parametrize("path", PAGES)
def test_pages_open_for_the_roles_that_need_them(ann, bob, eve, path):
    writing = any(part in path for part in ("/new", "/edit"))
    expected = {"ann": 200, "bob": 403 if path.startswith(ADMINS_ONLY + ADMINS_WRITE) else 200}
    expected["eve"] = 403 if writing or path.startswith(ADMINS_ONLY + EDITORS_TOO) else 200
    assert {"ann": ann.get(path).status_code, "bob": bob.get(path).status_code, "eve": eve.get(path).status_code} == expected


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_anything_inline(ann, path):
    page = ann.get(path).text
    assert EVENT_HANDLER.search(page) is None
    assert INLINE.search(page) is None


def test_a_viewer_sees_neither_switches_nor_forms_of_rows(eve):
    page = eve.get("/admin/model/").text
    assert 'id="row_form"' not in page
    assert 'role="switch" aria-checked' not in page


def test_the_dashboard_asks_a_viewer_for_nothing_and_hides_the_log(ann, eve):
    ann.post("/admin/model/new/", model_values(active="y"))
    viewer_page, admin_page = eve.get("/admin/").text, ann.get("/admin/").text
    for text in ("Latest changes", ">Add prices<"):
        assert text in admin_page
        assert text not in viewer_page
    assert "no known price" in viewer_page


def test_the_dashboard_says_the_prices_of_defaults_with_their_unit(ann):
    page = ann.get("/admin/").text.partition('id="defaults-title"')[2]
    assert " in · $" in page
    assert " out per 1M" in page
