"""Edit conflicts: when two people edit one row, the second sees both versions, and no input is lost."""

import html
import re
import threading

import pytest
from environment import PASSWORD
from factories import Visitor, csrf_token
from sqlalchemy import func, select

from webapp.extensions import db
from webapp.models import AuditEvent, Model, Project, Provider, User
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts
from webapp.services.projects import projects


def model() -> Model:
    db.session.rollback()
    return db.session.execute(select(Model).where(Model.model_id == "gpt-4o")).scalar_one()


def provider() -> Provider:
    db.session.rollback()
    return db.session.execute(select(Provider).where(Provider.slug == "mistral")).scalar_one()


def fields(page: str) -> dict[str, str]:
    """Return the form of a page as a browser would send it."""
    values = {}
    for tag in re.findall(r"<input[^>]*>", page):
        attributes = {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        selected = attributes.get("type") not in ("checkbox", "radio") or " checked" in tag
        if "name" in attributes and selected and attributes["name"] != "search":
            values.setdefault(attributes["name"], attributes.get("value", "y"))
    for name, text in re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
        values[name] = html.unescape(text).removeprefix("\r\n").removeprefix("\n")
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        option = re.search(r'<option selected[^>]* value="([^"]*)"', options) or re.search(r'value="([^"]*)"', options)
        values[name] = html.unescape(option[1])
    return values


def opened(visitor, address):
    page = visitor.get(address).text
    values = fields(page)
    values["csrf_token"] = csrf_token(page)
    return values


def told(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition('id="merge-title"')[2].partition("</section>")[0])))


def test_the_second_sees_both_versions_and_saves_again(ann, bob):
    address = f"/admin/model/edit/?id={model().id}"
    ann_form, bob_form = opened(ann, address), opened(bob, address)
    assert bob.client.post(address, data=bob_form | {"display_name": "Bob's name", "description": "Bob's words"}).status_code == 302
    response = ann.client.post(address, data=ann_form | {"display_name": "Ann's name", "sort_order": "7"})
    assert response.status_code == 422
    notice = told(response.text)
    assert "bob@example.com changed this while you had it open" in notice
    assert "because you had left it alone: Description." in notice
    assert re.search(r"Name GPT-4o Bob's name Ann's name", notice)
    assert "Order" not in notice.partition("Choose")[2]
    retry = fields(response.text)
    assert (retry["display_name"], retry["description"], retry["sort_order"]) == ("Ann's name", "Bob's words", "7")
    assert ann.client.post(address, data=retry | {"csrf_token": ann_form["csrf_token"]}).status_code == 302
    stored = model()
    assert (stored.display_name, stored.description, stored.sort_order) == ("Ann's name", "Bob's words", 7)


def test_theirs_is_taken_field_by_field(ann, bob):
    address = f"/admin/model/edit/?id={model().id}"
    ann_form, bob_form = opened(ann, address), opened(bob, address)
    bob.client.post(address, data=bob_form | {"display_name": "Bob's name", "description": "Bob's words"})
    response = ann.client.post(address, data=ann_form | {"display_name": "Ann's name", "description": "Ann's words"})
    retry = fields(response.text) | {"csrf_token": ann_form["csrf_token"], "take": ["description"]}
    assert ann.client.post(address, data=retry).status_code == 302
    stored = model()
    assert (stored.display_name, stored.description) == ("Ann's name", "Bob's words")


def test_a_third_change_in_between_is_noticed_too(ann, bob):
    address = f"/admin/model/edit/?id={model().id}"
    ann_form = opened(ann, address)
    for name in ("First", "Second"):
        bob.client.post(address, data=opened(bob, address) | {"display_name": name})
        response = ann.client.post(address, data=ann_form | {"display_name": "Ann's name"})
        assert response.status_code == 422
        assert f"{name} Ann's name" in told(response.text)
        ann_form = fields(response.text) | {"csrf_token": ann_form["csrf_token"]}
    assert ann.client.post(address, data=ann_form).status_code == 302


def test_a_form_that_lies_about_what_it_was_filled_from_is_asked_about_everything(ann, bob):
    address = f"/admin/model/edit/?id={model().id}"
    ann_form = opened(ann, address)
    bob.client.post(address, data=opened(bob, address) | {"display_name": "Bob's name"})
    for forged in ("[]", "{", '{"display_name": 7}', "[" * 5000, ""):
        response = ann.client.post(address, data=ann_form | {"display_name": "Ann's name", "row_base": forged})
        assert (response.status_code, "not known Bob's name Ann's name" in told(response.text)) == (422, True)


def test_providers_are_merged_too_and_no_key_is_ever_in_it(ann):
    address = f"/admin/provider/edit/?id={provider().id}"
    ann_form = opened(ann, address)
    ann.client.post(address, data=opened(ann, address) | {"description": "First words"})
    response = ann.client.post(address, data=ann_form | {"description": "Second words", "api_key": "sk-0123456789abcdef-canary"})
    assert (response.status_code, "First words Second words" in told(response.text)) == (422, True)
    assert "canary" not in response.text


def test_projects_are_merged_too(ann, bob):
    make_admin(bob)
    with writing() as session:
        project_id = projects.create(session, {"slug": "billing", "display_name": "Billing"}, actor="tests").id
    address = f"/admin/project/edit/?id={project_id}"
    ann_form, bob_form = opened(ann, address), opened(bob, address)
    assert bob.client.post(address, data=bob_form | {"display_name": "Bob's name", "description": "Bob's words"}).status_code == 302
    response = ann.client.post(address, data=ann_form | {"display_name": "Ann's name"})
    assert (response.status_code, "Name Billing Bob's name Ann's name" in told(response.text)) == (422, True)
    assert "because you had left it alone: Description." in told(response.text)
    retry = fields(response.text) | {"csrf_token": ann_form["csrf_token"]}
    assert ann.client.post(address, data=retry).status_code == 302
    db.session.rollback()
    stored = db.session.get_one(Project, project_id)
    assert (stored.display_name, stored.description, stored.is_active) == ("Ann's name", "Bob's words", True)


def test_a_change_of_the_same_kind_is_no_question(ann, bob):
    address = f"/admin/model/edit/?id={model().id}"
    ann_form = opened(ann, address)
    bob.client.post(address, data=opened(bob, address) | {"display_name": "The same"})
    response = ann.client.post(address, data=ann_form | {"display_name": "The same"})
    assert "You changed nothing that they changed." in told(response.text)


# Users: an outdated form must not reactivate a user who was deactivated on purpose.


def eve_now() -> User:
    db.session.rollback()
    return db.session.execute(select(User).where(User.email == "eve@example.com")).scalar_one()


def rights(user: User) -> tuple[str, bool]:
    return user.role, user.is_active


def make_admin(visitor: Visitor) -> None:
    with writing() as session:
        accounts.set_role(session, accounts.find(session, visitor.email), "admin", actor="tests")


def audited() -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(AuditEvent)).scalar_one()


def test_a_form_from_before_somebody_was_switched_off_switches_nobody_on_again(ann, bob):
    make_admin(bob)
    address = f"/admin/user/edit/?id={eve_now().id}"
    ann_form = opened(ann, address)
    assert bob.post(f"/admin/user/{eve_now().id}/active?to=0").status_code == 302
    before = audited()
    response = ann.client.post(address, data=ann_form | {"role": "admin"})
    assert (response.status_code, rights(eve_now()), audited()) == (422, ("viewer", False), before)
    assert "bob@example.com changed this while you had it open" in told(response.text)
    assert "because you had left it alone: May sign in." in told(response.text)
    retry = fields(response.text)
    assert (retry["role"], "active" in retry) == ("admin", False)
    assert ann.client.post(address, data=retry | {"csrf_token": ann_form["csrf_token"]}).status_code == 302
    assert rights(eve_now()) == ("admin", False)


def test_two_who_give_one_person_different_roles_are_shown_both(ann, bob):
    make_admin(bob)
    address = f"/admin/user/edit/?id={eve_now().id}"
    ann_form, bob_form = opened(ann, address), opened(bob, address)
    assert bob.client.post(address, data=bob_form | {"role": "editor"}).status_code == 302
    response = ann.client.post(address, data=ann_form | {"role": "admin"})
    assert (response.status_code, "Role viewer editor admin" in told(response.text), eve_now().role) == (422, True, "editor")
    retry = fields(response.text) | {"csrf_token": ann_form["csrf_token"], "take": ["role"]}
    assert ann.client.post(address, data=retry).status_code == 302
    assert eve_now().role == "editor"


def test_signing_in_meanwhile_is_no_change_of_rights_and_nobody_is_said_to_have_made_one(app, ann):
    address = f"/admin/user/edit/?id={eve_now().id}"
    ann_form = opened(ann, address)
    Visitor(app, "eve@example.com", PASSWORD)
    assert ann.client.post(address, data=ann_form | {"role": "editor"}).status_code == 302
    Visitor(app, "eve@example.com", PASSWORD)
    response = ann.client.post(address, data=ann_form | {"role": "admin"})
    assert (response.status_code, "ann@example.com changed this" in told(response.text)) == (422, True)


@pytest.mark.parametrize("version", ["0", "-1", "x", "99999999999999999999", "\u0661"])
def test_a_version_that_never_was_changes_nobody(ann, version):
    address = f"/admin/user/edit/?id={eve_now().id}"
    response = ann.client.post(address, data=opened(ann, address) | {"role": "admin", "row_version": version})
    assert (response.status_code, eve_now().role) == (422, "viewer")


def test_changes_of_one_person_at_once_are_counted_one_by_one(either_app):
    """On PostgreSQL both transactions read the same row. Both changes must count, so that a form from in between is outdated."""
    ready = threading.Barrier(2)

    def change(update):
        with either_app.app_context(), writing(refresh=False) as session:
            user = accounts.find(session, "eve@example.com")
            if session.get_bind().dialect.name == "postgresql":
                ready.wait(30)
            update(session, user)

    updates = [
        lambda s, user: accounts.set_role(s, user, "editor", actor="a"),
        lambda s, user: accounts.set_active(s, user, False, actor="b"),
    ]
    threads = [threading.Thread(target=change, args=(update,)) for update in updates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (rights(eve_now()), eve_now().version) == (("editor", False), 3)
