"""Sign-in and sign-out over HTTP: no information for anonymous users, no use of copied cookies, and safe redirects."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from environment import PASSWORD, running
from factories import Visitor, csrf_token
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from webapp.extensions import db
from webapp.models import AuditEvent, UserSession
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts
from webapp.web.auth import is_safe_path

ANN = "ann@example.com"


def sign_in(client, email=ANN, password=PASSWORD, **more):
    form = {"csrf_token": csrf_token(client.get("/login").text), "email": email, "password": password}
    return client.post("/login", data=form | more)


def without_noise(answer) -> tuple:
    text = re.sub(r'(csrf[-_]token"[^>]*(?:content|value)=|nonce=)"[^"]+"', "", answer.text).replace("nobody@example.com", ANN)
    headers = {name for name, _ in answer.headers}
    return answer.status_code, text, headers


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(app):
    wrong_password = sign_in(app.test_client(), password="wrong")
    unknown_user = sign_in(app.test_client(), email="nobody@example.com", password="wrong")
    assert wrong_password.status_code == 422
    assert without_noise(wrong_password) == without_noise(unknown_user)


@pytest.mark.parametrize(
    ("email", "password"), [("", ""), (ANN, ""), (ANN, "x" * 5000), ("a" * 5000, PASSWORD), ("a\x00@b.c", PASSWORD), ("é@ü", "ß")]
)
def test_whatever_is_typed_is_refused_in_words(app, email, password):
    response = sign_in(app.test_client(), email, password)
    assert (response.status_code, "is wrong" in response.text) == (422, True)


def test_a_disabled_user_does_not_come_in_and_is_put_out_at_once(app, eve):
    assert eve.get("/admin/").status_code == 200
    with writing() as session:
        accounts.set_active(session, accounts.find(session, eve.email), False, actor="ann")
    assert eve.get("/admin/").status_code == 302
    assert sign_in(app.test_client(), eve.email).status_code == 422


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda session, user: accounts.set_password(session, user, "a-brand-new-long-password", actor="tests"),
        lambda session, user: accounts.set_active(session, user, False, actor="tests"),
    ],
)
def test_t04_what_happens_while_a_password_is_checked_counts(either_app, monkeypatch, meanwhile):
    """The check takes 0.1 s outside of any transaction. The old password must not start a session after it was changed."""
    client, authenticate = either_app.test_client(), accounts.authenticate

    def and_meanwhile(session, email, password):
        user = authenticate(session, email, password)
        with either_app.app_context(), writing(refresh=False) as writer:
            meanwhile(writer, accounts.find(writer, email))
        return user

    monkeypatch.setattr(accounts, "authenticate", and_meanwhile)
    assert sign_in(client, "eve@example.com").status_code == 422
    assert client.get("/admin/").status_code == 302
    with either_app.app_context():
        assert db.session.execute(select(UserSession.id)).all() == []


def test_a_form_without_its_token_is_refused(app):
    response = app.test_client().post("/login", data={"email": ANN, "password": PASSWORD})
    assert response.status_code == 400


def test_signing_out_makes_a_copied_cookie_worthless(app, ann):
    copied = ann.client.get_cookie("modeldesk").value
    assert ann.post("/logout").status_code == 302
    thief = app.test_client()
    thief.set_cookie("modeldesk", copied)
    assert thief.get("/admin/").headers["Location"].startswith("/login")


def opens(app, cookie) -> bool:
    """Whether a copy of this cookie gives access."""
    thief = app.test_client()
    thief.set_cookie("modeldesk", cookie)
    return thief.get("/admin/").status_code == 200


@pytest.mark.parametrize("email", [ANN, "eve@example.com"])
def test_t04_signing_in_again_gives_another_session_and_ends_the_one_before(app, ann, email):
    before = ann.client.get_cookie("modeldesk").value
    assert opens(app, before)
    assert ann.post("/login", {"email": email, "password": PASSWORD}).status_code == 302
    after = ann.client.get_cookie("modeldesk").value
    assert (after == before, opens(app, before), opens(app, after)) == (False, False, True)
    assert email in ann.get("/admin/").text


def test_t04_what_a_stranger_had_before_signing_in_is_worth_nothing_afterwards(app):
    client = app.test_client()
    sign_in(client, password="wrong")
    planted = client.get_cookie("modeldesk").value
    sign_in(client)
    assert (client.get_cookie("modeldesk").value == planted, opens(app, planted)) == (False, False)


def test_a_sign_in_that_is_refused_ends_nothing(app, ann):
    before = ann.client.get_cookie("modeldesk").value
    assert ann.post("/login", {"email": ANN, "password": "wrong"}).status_code == 422
    assert opens(app, before)


@pytest.mark.parametrize("cookie", ["", "x", "eyJfdXNlcl9pZCI6IjEifQ.aaaa.bbbb", "é" * 10, "a" * 3000])
def test_a_made_up_cookie_opens_nothing(app, cookie):
    client = app.test_client()
    client.set_cookie("modeldesk", cookie)
    assert client.get("/admin/").status_code == 302


def test_another_role_acts_on_the_next_request(app, bob):
    assert bob.get("/admin/model/new/").status_code == 200
    with writing() as session:
        accounts.set_role(session, accounts.find(session, bob.email), "viewer", actor="ann")
    assert bob.get("/admin/model/new/").status_code == 403


@pytest.mark.parametrize("values", [{"last_seen_at": timedelta(minutes=-30)}, {"expires_at": timedelta(0)}])
def test_a_session_that_was_idle_or_is_old_has_ended(ann, values):
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values({name: datetime.now(UTC) + ago for name, ago in values.items()}))
    assert ann.get("/admin/").status_code == 302


def test_using_a_session_keeps_it_alive(app, ann):
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(last_seen_at=datetime.now(UTC) - timedelta(minutes=29)))
    ann.get("/admin/")
    with writing(refresh=False) as session:
        assert datetime.now(UTC) - session.query(UserSession).one().last_seen_at < timedelta(minutes=1)


def test_every_cookie_is_for_the_server_only_and_goes_nowhere_else(app):
    response = sign_in(app.test_client())
    cookies = response.headers.getlist("Set-Cookie")
    assert len(cookies) == 3  # The session, the revision and the known browser.
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie for cookie in cookies)


def test_t05_over_tls_cookies_are_secure_and_the_session_belongs_to_this_host_alone(settings):
    for app in running(replace(settings, base_url="https://localhost")):
        client, site = app.test_client(), {"base_url": "https://localhost"}
        token = csrf_token(client.get("/login", **site).text)
        data = {"csrf_token": token, "email": "ann@example.com", "password": PASSWORD}
        response = client.post("/login", data=data, headers={"Referer": "https://localhost/login"}, **site)
        cookies = response.headers.getlist("Set-Cookie")
        assert (response.status_code, len(cookies), all("Secure" in cookie for cookie in cookies)) == (302, 3, True)
        (session,) = (cookie for cookie in cookies if cookie.startswith("__Host-modeldesk="))
        assert ("Domain=" in session, "Path=/" in session) == (False, True)
        assert client.get("/admin/", **site).status_code == 200


# Redirects after a sign-in

HOSTILE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https://evil.example",
    "http://host@evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    "/%09/evil.example",
    "javascript:alert(1)",
    "/\r\nLocation: //evil",
    " //evil.example",
    "/ /evil",
    "",
    "evil",
    "/\x00/evil",
    "////evil.example",
    "\\/evil.example",
    "/\u2028/evil.example",
    "data:text/html,x",
    "?next=//evil.example",
    "/..//evil.example",
    "/.//evil",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_log_in_never_leads_to_another_site(app, target):
    response = sign_in(app.test_client(), next=target)
    parts = urlsplit(response.headers["Location"])
    assert (response.status_code, parts.scheme, parts.netloc, parts.path[:1], parts.path[1:2] in ("/", "\\")) == (302, "", "", "/", False)


@given(st.text() | st.from_regex(r"[/\\.:@?#%a-z\t\n ]{0,20}"))
@settings(max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
def test_a_safe_path_is_a_path_of_this_site(target):
    if is_safe_path(target):
        parts = urlsplit(target)
        assert (parts.scheme, parts.netloc) == ("", "")
        assert re.match(r"/(?![/\\])", target)


@pytest.mark.parametrize("target", ["/admin/model/", "/admin/model/?search=gpt&page=2", "/admin/"])
def test_a_log_in_leads_back_to_where_one_came_from(app, target):
    client = app.test_client()
    redirect = client.get(target)
    assert redirect.headers["Location"].startswith("/login?next=")
    assert sign_in(client, next=target).headers["Location"] == target
    assert client.get("/login", query_string={"next": target}).headers["Location"] == target


def test_a_fragment_asks_the_browser_to_load_the_log_in_page(client):
    response = client.get("/admin/", headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["HX-Redirect"].startswith("/login")) == (401, True)


def test_the_root_leads_to_the_admin(client):
    assert client.get("/").headers["Location"] == "/admin/"


def test_three_people_are_three_people(ann, eve):
    assert (ann.email in ann.get("/admin/").text, eve.email in eve.get("/admin/").text) == (True, True)
    assert isinstance(ann, Visitor)


def sign_outs() -> list[str]:
    db.session.rollback()
    query = select(AuditEvent.actor).where(AuditEvent.action == "accounts:session:sign_out")
    return list(db.session.execute(query).scalars())


def test_e16_signing_out_leaves_a_line_and_a_second_time_none(app, ann):
    token = csrf_token(ann.get("/admin/").text)
    copied = ann.client.get_cookie("modeldesk").value
    assert ann.post("/logout").status_code == 302
    assert sign_outs() == [ann.email]
    ann.client.set_cookie("modeldesk", copied)
    assert ann.client.post("/logout", data={"csrf_token": token}).status_code == 302
    assert sign_outs() == [ann.email]


def test_a_stranger_who_signs_out_leaves_no_line(app):
    client = app.test_client()
    assert client.post("/logout", data={"csrf_token": csrf_token(client.get("/login").text)}).status_code == 302
    assert sign_outs() == []
