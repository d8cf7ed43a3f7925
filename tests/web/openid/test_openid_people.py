"""Accounts and identity providers: access, linked identities, second factors and step-up authentication."""

import time
from datetime import UTC, datetime, timedelta

import flask
import pyotp
import pytest
from environment import PASSWORD, by_hand, running
from factories import Visitor, csrf_token
from fake_identity_provider import path_of, query_of
from openid_app import ANN, CALLBACK, EVE, age, count, events, is_in, kept_out, leave, settings_with, sign_in
from sqlalchemy import update

from webapp.extensions import db
from webapp.models import Identity, User, UserSession
from webapp.runtime import container
from webapp.runtime.transaction import writing
from webapp.services.accounts import accounts, identities, login_throttle, second_factor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Raised in the mock's server threads.


# Access


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}, {}, {"email": None}])
def test_an_address_that_the_provider_does_not_vouch_for_links_nobody(app, provider, claims):
    provider.person("s-ann", **({"email": ANN} | claims))
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider), 403, "not confirmed")
    assert count(Identity) == 0


def test_an_address_that_only_looks_alike_links_nobody(app, provider):
    """For the provider, the full-width a makes another address. Modeldesk would normalize it to Ann's."""
    provider.person("s-ann", email="\uff41nn@example.com", email_verified=True)
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider), 403, "not confirmed")


def test_t01_a_browser_that_the_provider_let_in_is_known_when_the_password_is_asked_for(app, provider):
    client = app.test_client()
    sign_in(client, provider)
    client.post("/logout", data={"csrf_token": csrf_token(client.get("/admin/").text)})
    now = datetime.now(UTC)
    for number in range(login_throttle.PER_ACCOUNT):
        with writing(refresh=False) as session:
            assert login_throttle.register(session, login_throttle.Attempt(ANN, f"192.0.2.{number}"), now) is None
    for browser, status in ((app.test_client(), 429), (client, 302)):
        form = {"csrf_token": csrf_token(browser.get("/login").text), "email": ANN, "password": PASSWORD}
        assert browser.post("/login", data=form).status_code == status


def test_t04_coming_back_ends_the_session_that_the_browser_had(app, provider):
    """The session is idle when the browser leaves, so that it is redirected. A copy of the cookie is used before the browser returns."""
    client, thief = app.test_client(), app.test_client()
    sign_in(client, provider, "s-eve")
    thief.set_cookie("modeldesk", client.get_cookie("modeldesk").value)
    seen(timedelta(minutes=31))
    back = provider.agree(leave(client), "s-ann")
    seen(timedelta(0))
    assert is_in(thief)
    assert client.get(path_of(back)).status_code == 302
    assert (is_in(client), is_in(thief), count(UserSession)) == (True, False, 1)


def seen(ago: timedelta) -> None:
    with by_hand() as session:
        session.execute(update(UserSession).values(last_seen_at=datetime.now(UTC) - ago))


def test_unknown_switched_off_and_taken_read_alike(app, provider):
    provider.person("s-zoe", email="zoe@example.com", email_verified=True)
    provider.person("s-other", email=ANN, email_verified=True)
    sign_in(app.test_client(), provider)
    with writing() as session:
        accounts.set_active(session, accounts.find(session, EVE), False, actor="tests")
    pages = set()
    for subject in ("s-zoe", "s-eve", "s-other"):
        client = app.test_client()
        response = sign_in(client, provider, subject)
        assert kept_out(client, response, 403, "Ask an administrator")
        main = response.text.partition("<main")[2]
        pages.add(main.partition("Request ")[0])
    assert len(pages) == 1
    assert count(User) == 3


def test_whoever_is_switched_off_later_is_kept_out_although_linked(app, provider):
    sign_in(app.test_client(), provider, "s-eve")
    with writing() as session:
        accounts.set_active(session, accounts.find(session, EVE), False, actor="tests")
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider, "s-eve"), 403, "Ask an administrator")


def test_unlinking_ends_the_sessions_and_lets_the_next_person_of_that_address_be_linked(app, provider):
    client = app.test_client()
    sign_in(client, provider, "s-eve")
    provider.person("s-eve-2", email=EVE, email_verified=True)
    assert sign_in(app.test_client(), provider, "s-eve-2").status_code == 403
    with writing() as session:
        identities.unlink(session, accounts.find(session, EVE), actor="tests")
    assert not is_in(client)
    assert sign_in(app.test_client(), provider, "s-eve-2").status_code == 302


def test_an_admin_sees_who_is_linked_and_unlinks(app, provider):
    ann = Visitor(app, ANN, PASSWORD)
    user_id = accounts.find(db.session(), EVE).id
    assert "Unlink sign-in" not in ann.get(f"/admin/user/edit/?id={user_id}").text
    client = app.test_client()
    sign_in(client, provider, "s-eve")
    assert "Unlink sign-in" in ann.get(f"/admin/user/edit/?id={user_id}").text
    ann.post(f"/admin/user/{user_id}/unlink")
    assert (is_in(client), count(Identity), events()[-1][:2]) == (False, 0, ("accounts:identity:unlink", ANN))
    assert "Unlinked from the identity provider: eve@example.com" in ann.get("/admin/audit/").text


def test_who_has_no_verified_address_there_is_linked_on_the_command_line(app, provider):
    provider.person("s-bob", email="bob@example.com")
    assert sign_in(app.test_client(), provider, "s-bob").status_code == 403
    run = app.test_cli_runner().invoke
    assert run(args=["users", "link-identity", "bob@example.com", "s-bob"]).exit_code == 0
    assert run(args=["users", "link-identity", "bob@example.com", "s-other"]).exit_code == 1
    client = app.test_client()
    sign_in(client, provider, "s-bob")
    assert is_in(client)
    assert run(args=["users", "unlink-identity", "bob@example.com"]).exit_code == 0
    assert not is_in(client)


def test_doctor_says_whether_the_provider_answers_and_what_it_must_know(app, provider):
    run = app.test_cli_runner().invoke
    assert f"http://127.0.0.1:8000{CALLBACK}" in run(args=["doctor"]).output
    provider.answers["/.well-known/openid-configuration"] = lambda: flask.Response("", 500)
    app.extensions.pop(container.IDENTITY)
    assert "FAIL  Nobody can sign in through MODELDESK_OIDC_ISSUER" in run(args=["doctor"]).output


def test_accounts_are_made_only_where_that_is_switched_on_and_only_in_the_groups_that_give_a_role(settings, provider):
    provider.person("s-zoe", email="zoe@example.com", email_verified=True, groups=["staff", "desk-editors", "desk-readers"])
    provider.person("s-max", email="max@example.com", email_verified=True, groups=["staff"])
    roles = {"desk-editors": "editor", "desk-readers": "viewer", "root": "admin"}
    for app in running(settings_with(settings, provider, openid={"create": True, "role_claim": "groups", "roles": roles})):
        client = app.test_client()
        sign_in(client, provider, "s-zoe")
        assert is_in(client)
        assert accounts.find(db.session(), "zoe@example.com").role == "editor"
        db.session.rollback()
        assert sign_in(app.test_client(), provider, "s-max").status_code == 403
    for app in running(settings_with(settings, provider, openid={"create": True})):
        sign_in(app.test_client(), provider, "s-max")
        assert accounts.find(db.session(), "max@example.com").role == "viewer"


def test_where_passwords_are_switched_off_only_admins_have_one_left(settings, provider):
    for app in running(settings_with(settings, provider, password_sign_in=False)):
        page = app.test_client().get("/login").text
        assert "<details" in page.partition("Sign in with Acme ID")[2].partition('name="password"')[0]
        for email, status in ((ANN, 302), (EVE, 422)):
            client = app.test_client()
            form = {"csrf_token": csrf_token(client.get("/login").text), "email": email, "password": PASSWORD}
            assert client.post("/login", data=form).status_code == status


def test_tries_are_counted_by_address(app, provider, monkeypatch):
    monkeypatch.setattr("webapp.services.accounts.login_throttle.PER_ADDRESS", 2)
    statuses = [sign_in(app.test_client(), provider).status_code for _ in range(3)]
    assert statuses == [302, 302, 429]


# Second factor and step-up authentication


def test_a_second_factor_is_asked_for_all_the_same(app, provider):
    with writing() as session:
        ann = accounts.find(session, ANN)
        secret = second_factor.begin_enrollment(session, ann, vault=container.vault())
        before = pyotp.TOTP(secret).at(datetime.now(UTC) - timedelta(seconds=30))
        second_factor.confirm_enrollment(session, ann, before, vault=container.vault(), now=datetime.now(UTC))
    client = app.test_client()
    assert sign_in(client, provider, next="/admin/model/").headers["Location"] == "/login/code?next=/admin/model/"
    assert not is_in(client)
    form = {"csrf_token": csrf_token(client.get("/login/code").text), "code": pyotp.TOTP(secret).now()}
    client.post("/login/code", data=form)
    assert is_in(client)
    assert events()[-1] == ("accounts:session:begin", ANN, {"method": "OpenID Connect"})
    age(11)
    assert client.get("/confirm/openid").headers["Location"].startswith("/confirm?"), "with a second factor its code is the proof"
    assert "Acme ID" not in client.get("/confirm").text


def test_a_role_that_has_to_have_a_second_factor_has_to_have_one_here(settings, provider):
    for app in running(settings_with(settings, provider, second_factor_roles=frozenset({"admin"}))):
        client = app.test_client()
        sign_in(client, provider)
        assert client.get("/admin/").headers["Location"] == "/admin/second-factor/"


@pytest.fixture
def without_password(app, provider):
    """Return a client of Ann without a password, 11 minutes after her sign-in through the provider."""
    with by_hand() as session:
        session.execute(update(User).where(User.email == ANN).values(password_hash=None))
    client = app.test_client()
    sign_in(client, provider)
    age(11)
    return client


def test_whoever_has_no_password_confirms_at_the_provider_which_asks_anew(app, provider, without_password):
    client = without_password
    page = client.get(client.get("/admin/token/new/").headers["Location"]).text
    assert ('name="password"' in page, 'href="/confirm/openid?next=/admin/token/new/"' in page) == (False, True)
    location = leave(client, "/confirm/openid", next="/admin/token/new/")
    assert (query_of(location)["prompt"], query_of(location)["max_age"]) == ("login", "0")
    provider.claims = {"auth_time": int(time.time())}
    copied = client.get_cookie("modeldesk").value
    assert client.get(path_of(provider.agree(location, "s-ann"))).headers["Location"] == "/admin/token/new/"
    assert client.get("/admin/token/new/").status_code == 200
    assert events()[-1] == ("accounts:session:confirm", ANN, {"method": "OpenID Connect"})
    thief = app.test_client()
    thief.set_cookie("modeldesk", copied)
    assert not is_in(thief)


@pytest.mark.parametrize("auth_time", [None, -3600, 3600, "now", True])
def test_a_proof_of_this_morning_or_none_confirms_nothing(provider, without_password, auth_time):
    client = without_password
    provider.claims = {"auth_time": int(time.time()) + auth_time if type(auth_time) is int else auth_time}
    response = client.get(path_of(provider.agree(leave(client, "/confirm/openid"), "s-ann")))
    assert response.status_code == 403
    assert client.get("/admin/token/new/").status_code == 302


def test_somebody_else_confirms_nothing(provider, without_password):
    client = without_password
    provider.claims = {"auth_time": int(time.time())}
    response = client.get(path_of(provider.agree(leave(client, "/confirm/openid"), "s-eve")))
    assert (response.status_code, "somebody else" in response.text) == (403, True)
    assert client.get("/admin/token/new/").status_code == 302


def test_signing_in_anew_is_not_taken_for_a_confirmation(app, provider, without_password):
    """A plain sign-in does not confirm an older session, because the provider can respond without asking the user."""
    client = without_password
    assert leave(client) == "/admin/"
    assert client.get("/admin/token/new/").status_code == 302
