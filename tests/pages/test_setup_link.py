"""The set-up link over HTTP: it works once and in time, and creates the first admin only while there is no user."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from environment import by_hand
from factories import csrf_token
from sqlalchemy import delete, select

from webapp.extensions import db
from webapp.models import AuditEvent, User
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts

PASSWORD = "a password for a set-up test"
FORM = {"email": "first@example.com", "password": PASSWORD, "password_again": PASSWORD}


def link(user_email=None, *, ago=timedelta(0), nobody=True) -> str:
    with by_hand() as session:
        user = accounts.find(session, user_email) if user_email else None
        if user is None and nobody:
            session.execute(delete(User))
        return "/setup/" + accounts.make_link(session, user, actor="tests", now=datetime.now(UTC) - ago)


def use(client, address, **more):
    return client.post(address, data={"csrf_token": csrf_token(client.get(address).text)} | FORM | more)


def test_the_first_admin_is_made_signed_in_and_recorded(app):
    client, address = app.test_client(), link()
    assert use(client, address).headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
    user = db.session.execute(select(User)).scalar_one()
    assert (user.email, user.role) == ("first@example.com", "admin")
    event = (
        db.session.execute(select(AuditEvent).where(AuditEvent.action == "accounts:user:create").order_by(AuditEvent.id.desc()))
        .scalars()
        .first()
    )
    assert event.actor == "set-up link"
    assert PASSWORD not in str(event.after)


def test_a_used_link_is_a_page_that_says_so(app):
    address = link()
    use(app.test_client(), address)
    again = app.test_client().get(address)
    assert (again.status_code, "no longer works" in again.text) == (404, True)


def test_a_used_link_cannot_be_used_by_a_page_that_was_open_before(app):
    address, client = link(), app.test_client()
    token = csrf_token(client.get(address).text)
    use(app.test_client(), address)
    response = client.post(address, data=FORM | {"csrf_token": token, "email": "second@example.com"})
    assert response.status_code == 404
    assert db.session.execute(select(User.email)).scalars().all() == ["first@example.com"]


@pytest.mark.parametrize("address", ["/setup", "/setup/x", "/setup/" + "a" * 43, "/setup/é"])
def test_a_link_that_never_was_is_a_page_that_says_so(client, address):
    response = client.get(address)
    assert (response.status_code, "no longer works" in response.text) == (404, True)


def keep_out(email):
    with writing() as session:
        accounts.set_active(session, accounts.find(session, email), False, actor="ann")


def test_t04_a_page_that_was_open_when_its_owner_was_switched_off_sets_no_password(app, eve):
    address, used_address, client = link(eve.email), link("bob@example.com"), app.test_client()
    use(app.test_client(), used_address)
    token = csrf_token(client.get(address).text)
    keep_out(eve.email)
    pages = [client.post(path, data=FORM | {"csrf_token": token}) for path in (address, used_address)]
    assert [page.status_code for page in pages] == [404, 404]
    disabled_page, used_page = (
        re.sub(r'nonce="[^"]+"|(?:value|content)="[^"]*"|/setup/[\w-]+|<code>\w+</code>', "", page.text) for page in pages
    )
    assert disabled_page == used_page
    assert "no longer works" in client.get(address).text
    with writing() as session:
        accounts.set_active(session, accounts.find(session, eve.email), True, actor="ann")
    assert client.get("/admin/").status_code == 302
    assert accounts.authenticate(db.session(), eve.email, PASSWORD) is None
    assert client.get(address).status_code == 404


def test_an_old_link_does_nothing(app):
    assert app.test_client().get(link(ago=timedelta(minutes=31))).status_code == 404


def test_there_is_no_first_admin_while_there_are_users(app):
    client, address = app.test_client(), link(nobody=False)
    assert use(client, address).status_code == 404
    assert db.session.execute(select(User).where(User.email == "first@example.com")).all() == []


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"password": "short", "password_again": "short"}, "password"),
        ({"password_again": "other"}, "password_again"),
        ({"email": "nobody"}, "email"),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_does_not_spend_the_link(app, more, field):
    client, address = app.test_client(), link()
    response = use(client, address, **more)
    assert (response.status_code, f'id="{field}-help"' in response.text, PASSWORD in response.text) == (422, True, False)
    assert use(client, address).status_code == 302


def test_a_new_password_ends_the_sessions_of_whoever_knew_the_old_one(app, eve):
    client, address = app.test_client(), link(eve.email)
    page = client.get(address).text
    assert (eve.email in page, 'name="email"' in page) == (True, False)
    assert use(client, address).status_code == 302
    assert (eve.get("/admin/").status_code, client.get("/admin/").status_code) == (302, 200)


def test_t04_a_link_that_is_used_while_somebody_else_is_signed_in_ends_that_session(app, ann, eve):
    before = ann.client.get_cookie("modeldesk").value
    assert use(ann.client, link(eve.email)).status_code == 302
    thief = app.test_client()
    thief.set_cookie("modeldesk", before)
    assert (eve.email in ann.get("/admin/").text, thief.get("/admin/").status_code) == (True, 302)


def test_the_sign_in_page_of_a_desk_without_accounts_says_where_the_first_link_is(app):
    client = app.test_client()
    assert "There is no account yet" not in client.get("/login").text
    link()
    assert "There is no account yet" in client.get("/login").text
