"""Signing in through an identity provider (OpenID Connect), over real HTTP on loopback: the way in, and every lie on the way."""

import base64
import hashlib
import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import flask
import httpx2
import identity
import pyotp
import pytest
from factories import Visitor, csrf_token
from identity import Provider, path_of, query_of
from sqlalchemy import func, select, update
from upstream import Upstream
from world import PASSWORD, by_hand, running

from webapp.app import create_app
from webapp.config import ConfigError
from webapp.domain.errors import Conflict
from webapp.domain.openid import OpenId
from webapp.extensions import db
from webapp.models import AuditEvent, Identity, User, UserSession
from webapp.services import accounts, identities, second_factor, throttle
from webapp.services.identities import WayBack
from webapp.web import current
from webapp.web.transaction import writing

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of the mock, in the threads of its server.
SECRET = "a-client-secret-of-the-tests/+"
ANN, EVE = "ann@example.com", "eve@example.com"
CALLBACK = "/login/openid/callback"


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # For the provider: it is asked over plain HTTP here.
    made = Provider()
    made.person("s-ann", email=ANN, email_verified=True)
    made.person("s-eve", email=EVE, email_verified=True)
    yield made
    made.stop()


def settings_with(settings, provider, **more):
    openid = OpenId(provider.issuer, "desk", SECRET, "Acme ID", **more.pop("openid", {}))
    return replace(settings, openid=openid, outbound_allow=frozenset({provider.place}), **more)


@pytest.fixture
def app(settings, provider):
    yield from running(settings_with(settings, provider))


def leave(client, path="/login/openid", **query) -> str:
    answer = client.get(path, query_string=query)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def sign_in(client, provider, subject="s-ann", **query):
    return client.get(path_of(provider.agree(leave(client, **query), subject)))


def is_in(client) -> bool:
    return client.get("/admin/").status_code == 200


def kept_out(client, answer, status, words) -> bool:
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    return not is_in(client)


def events() -> list[tuple]:
    db.session.rollback()
    rows = db.session.execute(select(AuditEvent).order_by(AuditEvent.id)).scalars()
    return [(row.action, row.actor, row.after) for row in rows if row.action.startswith(("accounts:session", "accounts:identity"))]


def count(table) -> int:
    db.session.rollback()
    return db.session.execute(select(func.count()).select_from(table)).scalar_one()


# The way in


def test_the_first_time_links_by_the_verified_address_and_from_then_on_the_subject_counts(app, provider):
    client = app.test_client()
    assert sign_in(client, provider, next="/admin/model/?page=2").headers["Location"] == "/admin/model/?page=2"
    assert is_in(client)
    provider.person("s-ann", email="somebody-else@example.com", email_verified=False)
    again = app.test_client()
    sign_in(again, provider)
    assert is_in(again)
    began = ("accounts:session:begin", ANN, {"method": "OpenID Connect"})
    linked = ("accounts:identity:link", "identity provider", {"issuer": provider.issuer, "subject": "s-ann"})
    assert events() == [linked, began, began]


def test_pkce_state_and_nonce_are_sent_and_the_secret_never_passes_the_browser(app, provider):
    client = app.test_client()
    location = leave(client)
    sent = query_of(location)
    assert (sent["code_challenge_method"], sent["response_type"], sent["scope"]) == ("S256", "code", "openid email")
    assert sent["redirect_uri"] == f"http://127.0.0.1:8000{CALLBACK}"
    back = provider.agree(location, "s-ann")
    client.get(path_of(back))
    form, headers = next((form, headers) for path, form, headers in provider.seen if path == "/oauth2/token")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
    assert challenge == sent["code_challenge"]
    assert len({sent["state"], sent["nonce"], form["code_verifier"]}) == 3
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"desk:a-client-secret-of-the-tests%2F%2B"
    assert (SECRET in location, SECRET in back, "client_secret" in form) == (False, False, False)
    other = query_of(leave(app.test_client()))
    assert not {sent["state"], sent["nonce"], sent["code_challenge"]} & {other["state"], other["nonce"], other["code_challenge"]}


def test_t04_the_session_is_a_new_one_and_ends_like_any_other(app, provider):
    client = app.test_client()
    leave(client)
    before = client.get_cookie("modeldesk").value
    sign_in(client, provider)
    after = client.get_cookie("modeldesk").value
    assert before != after
    client.post("/logout", data={"csrf_token": csrf_token(client.get("/admin/").text)})
    thief = app.test_client()
    thief.set_cookie("modeldesk", after)
    assert not is_in(thief)


def test_the_button_is_there_only_where_it_leads_somewhere(app, settings):
    page = app.test_client().get("/login?next=/admin/model/").text
    assert 'href="/login/openid?next=/admin/model/">Sign in with Acme ID' in page
    assert 'name="password"' in page
    for plain in running(settings):
        client = plain.test_client()
        assert "openid" not in client.get("/login").text
        for path in ("/login/openid", CALLBACK):
            assert client.get(path).headers["Location"] == "/login"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/\\evil.example", "/%0d\n/x", "javascript:alert(1)"])
def test_t07_it_leads_to_no_other_site(app, provider, target):
    client = app.test_client()
    assert sign_in(client, provider, next=target).headers["Location"] == "/admin/"
    assert client.get("/login/openid", query_string={"next": target}).headers["Location"] == "/admin/"


# The way back is bound to this browser, works once and soon


def test_a_wrong_state_opens_nothing_and_the_provider_is_not_asked(app, provider):
    client = app.test_client()
    back = provider.agree(leave(client), "s-ann")
    forged = path_of(back).replace(query_of(back)["state"], "0" * 64)
    assert kept_out(client, client.get(forged), 400, "Begin anew")
    assert kept_out(client, client.get(path_of(back)), 400, "Begin anew"), "a guess uses the sign-in up"
    assert provider.asked("/oauth2/token") == 0


def test_an_answer_in_another_browser_opens_nothing(app, provider):
    """Somebody is not signed in as the one who sends a link."""
    back = path_of(provider.agree(leave(app.test_client()), "s-ann"))
    stranger, other = app.test_client(), app.test_client()
    leave(other)
    assert kept_out(stranger, stranger.get(back), 400, "Begin anew")
    assert kept_out(other, other.get(back), 400, "Begin anew")
    assert provider.asked("/oauth2/token") == 0


def test_a_replayed_answer_opens_nothing_with_the_same_cookie_either(app, provider):
    client, thief = app.test_client(), app.test_client()
    back = path_of(provider.agree(leave(client), "s-ann"))
    thief.set_cookie("modeldesk", client.get_cookie("modeldesk").value)
    assert client.get(back).status_code == 302
    assert kept_out(thief, thief.get(back), 400, "Begin anew")
    assert provider.asked("/oauth2/token") == 1


def test_a_way_back_is_used_once_by_four_at_once(either_app):
    way, found, together = WayBack("a-secret", datetime.now(UTC) + timedelta(minutes=1)), [], threading.Barrier(4)

    def use():
        with either_app.app_context():
            together.wait()
            try:
                with writing(refresh=False) as session:
                    identities.spend(session, way, now=datetime.now(UTC))
                found.append(True)
            except Conflict:
                found.append(False)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]


def test_an_answer_after_ten_minutes_opens_nothing(app, provider):
    client = app.test_client()
    back = path_of(provider.agree(leave(client), "s-ann"))
    with client.session_transaction() as kept:
        kept["openid"] = kept["openid"] | {"at": int(time.time()) - 601}
    assert kept_out(client, client.get(back), 400, "Begin anew")


def test_an_answer_in_the_name_of_another_provider_opens_nothing(app, provider):
    client = app.test_client()
    back = path_of(provider.agree(leave(client), "s-ann"))
    assert kept_out(client, client.get(f"{back}&iss=https://evil.example"), 400, "Begin anew")


def test_a_code_that_was_used_there_already_opens_nothing(app, provider):
    client = app.test_client()
    back = provider.agree(leave(client), "s-ann")
    token = {"grant_type": "authorization_code", "code": query_of(back)["code"], "redirect_uri": f"http://127.0.0.1:8000{CALLBACK}"}
    assert httpx2.post(f"{provider.issuer}/oauth2/token", data=token, auth=("desk", "x")).status_code == 200
    assert kept_out(client, client.get(path_of(back)), 400, "Begin anew")


# Every lie of a token

LIES = {
    "nonce": {"nonce": "another"}, "no nonce": {"nonce": None}, "audience": {"aud": "another-desk"}, "no audience": {"aud": None},
    "audience of our party": {"aud": "another-desk", "azp": "desk"},
    "audiences": {"aud": ["desk", "another"], "azp": "another"}, "party": {"azp": "another"}, "issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None}, "expired": {"exp": 1_700_000_000}, "no end": {"exp": None}, "end as text": {"exp": "never"},
    "from tomorrow": {"iat": 4_000_000_000}, "nobody": {"sub": None}, "nobody's name": {"sub": ""}, "a number": {"sub": 7},
    "other access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_lies_opens_nothing(app, provider, lie):
    provider.claims = LIES[lie]
    client = app.test_client()
    answer = sign_in(client, provider)
    assert (answer.status_code, is_in(client)) == (403, False), lie
    assert count(UserSession) == count(Identity) == 0


@pytest.mark.parametrize("forge", [identity.by_nobody, identity.by_the_public_key, identity.by_another_key, lambda *_: "x", lambda *_: ""])
def test_a_token_that_the_provider_did_not_sign_opens_nothing(app, provider, forge):
    provider.sign = forge
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider), 403, "The answer was not accepted")
    provider.sign = None
    assert sign_in(client, provider).status_code == 302, "the control: the same without the lie"


def test_what_the_token_leaves_out_is_asked_for_and_must_be_about_the_same_person(app, provider):
    provider.claims = {"email": None, "email_verified": None}
    client = app.test_client()
    assert sign_in(client, provider).status_code == 302
    assert provider.asked("/userinfo") == 1
    provider.answers["/userinfo"] = lambda: flask.jsonify(sub="s-ann", email=EVE, email_verified=True)
    other = app.test_client()
    assert kept_out(other, sign_in(other, provider, "s-eve"), 403, "The answer was not accepted")


def test_a_provider_that_wants_the_secret_in_the_body_gets_it_there(app, provider):
    document = httpx2.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    document |= {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    provider.answers["/.well-known/openid-configuration"] = lambda: flask.jsonify(document)
    assert sign_in(app.test_client(), provider).status_code == 302
    form, headers = next((form, headers) for path, form, headers in provider.seen if path == "/oauth2/token")
    assert (form["client_secret"], "Authorization" in headers) == (SECRET, False)


# Who may come in


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}, {}, {"email": None}])
def test_an_address_that_the_provider_does_not_vouch_for_links_nobody(app, provider, claims):
    provider.person("s-ann", **({"email": ANN} | claims))
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider), 403, "not confirmed")
    assert count(Identity) == 0


def test_an_address_that_only_looks_alike_links_nobody(app, provider):
    """The full-width a is another address there, and would be folded into Ann's here."""
    provider.person("s-ann", email="\uff41nn@example.com", email_verified=True)
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider), 403, "not confirmed")


def test_t01_a_browser_that_the_provider_let_in_is_known_when_the_password_is_asked_for(app, provider):
    client = app.test_client()
    sign_in(client, provider)
    client.post("/logout", data={"csrf_token": csrf_token(client.get("/admin/").text)})
    now = datetime.now(UTC)
    for number in range(throttle.PER_ACCOUNT):
        with writing(refresh=False) as session:
            assert throttle.admit(session, throttle.Guess(ANN, f"192.0.2.{number}"), now) is None
    for browser, status in ((app.test_client(), 429), (client, 302)):
        form = {"csrf_token": csrf_token(browser.get("/login").text), "email": ANN, "password": PASSWORD}
        assert browser.post("/login", data=form).status_code == status


def test_t04_coming_back_ends_the_session_that_the_browser_had(app, provider):
    """Idle when somebody leaves, or nobody would be sent out; and used again elsewhere by a copy before they are back."""
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
        answer = sign_in(client, provider, subject)
        assert kept_out(client, answer, 403, "Ask an administrator")
        main = answer.text.partition("<main")[2]
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
    number = accounts.find(db.session(), EVE).id
    assert "Unlink sign-in" not in ann.get(f"/admin/user/edit/?id={number}").text
    client = app.test_client()
    sign_in(client, provider, "s-eve")
    assert "Unlink sign-in" in ann.get(f"/admin/user/edit/?id={number}").text
    ann.post(f"/admin/user/{number}/unlink")
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
    app.extensions.pop(current.IDENTITY)
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
    monkeypatch.setattr("webapp.services.throttle.PER_ADDRESS", 2)
    statuses = [sign_in(app.test_client(), provider).status_code for _ in range(3)]
    assert statuses == [302, 302, 429]


# The provider fails


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [("access_denied", 403, "Not allowed"), ("server_error", 502, "cannot be asked"), ("<script>x</script>", 502, "cannot be asked")],
)
def test_what_the_provider_refuses_is_said(app, provider, error, status, words):
    client = app.test_client()
    state = query_of(leave(client))["state"]
    answer = client.get(CALLBACK, query_string={"error": error, "error_description": "<b>hello</b>", "state": state})
    assert kept_out(client, answer, status, words)
    assert (error in answer.text, "hello" in answer.text) == (False, False)


def moved():
    return flask.redirect("/elsewhere")


def large():
    return flask.Response(b'{"issuer": "' + b"x" * 600_000, content_type="application/json")


def broken():
    return flask.Response("<html>", content_type="text/html")


def of_another():
    return flask.jsonify(issuer="https://evil.example")


def empty():
    return flask.jsonify(issuer=flask.request.host_url.rstrip("/"))


@pytest.mark.parametrize("answer", [moved, large, broken, of_another, empty, lambda: flask.Response("", 500), lambda: flask.jsonify([1])])
def test_a_discovery_that_is_broken_is_said_and_redirects_are_not_followed(app, provider, answer):
    provider.answers["/.well-known/openid-configuration"] = answer
    client = app.test_client()
    for _ in range(3):
        assert kept_out(client, client.get("/login/openid"), 502, "Acme ID cannot be asked")
    assert (provider.asked("/elsewhere"), provider.asked("/.well-known/openid-configuration")) == (0, 1), "a failure is kept for a while"
    assert is_in(Visitor(app, ANN, PASSWORD).client), "the password is another way in"


@pytest.mark.parametrize("path", ["/oauth2/token", "/jwks"])
@pytest.mark.parametrize("answer", [moved, large, broken, lambda: flask.Response("", 503)])
def test_a_provider_that_fails_later_is_said_too(app, provider, path, answer):
    provider.answers[path] = answer
    client = app.test_client()
    assert kept_out(client, sign_in(client, provider), 502, "cannot be asked")
    assert provider.asked("/elsewhere") == 0


def test_a_provider_that_is_down_is_said(app, provider):
    client = app.test_client()
    location = leave(client)
    back = path_of(provider.agree(location, "s-ann"))
    provider.stop()
    assert kept_out(client, client.get(back), 502, "cannot be asked")


def test_a_provider_that_hangs_holds_nobody_longer_than_its_time(app, provider, monkeypatch):
    monkeypatch.setattr("webapp.drivers.identity.DEADLINE_S", 0.5)
    provider.answers["/.well-known/openid-configuration"] = lambda: time.sleep(3) or broken()
    started = time.monotonic()
    assert app.test_client().get("/login/openid").status_code == 502
    assert time.monotonic() - started < 2.5


# Forbidden addresses


def test_an_issuer_at_a_forbidden_address_stops_the_start(settings, provider):
    for issuer in (provider.issuer, "https://10.0.0.1", "https://id.internal", "https://169.254.169.254/latest"):
        openid = OpenId(issuer, "desk", SECRET)
        with pytest.raises(ConfigError, match="MODELDESK_OUTBOUND_ALLOW"):
            create_app(replace(settings, openid=openid))


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri", "userinfo_endpoint", "authorization_endpoint"])
def test_a_provider_cannot_send_us_to_a_forbidden_address(app, provider, name):
    inside = Upstream("127.0.0.1")
    document = httpx2.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    document |= {name: f"http://{inside.place}/x"}
    provider.answers["/.well-known/openid-configuration"] = lambda: flask.jsonify(document)
    client = app.test_client()
    assert kept_out(client, client.get("/login/openid"), 502, "cannot be asked")
    inside.stop()
    assert inside.accepted == 0


# The second factor, and being asked again


def age(minutes: float) -> None:
    with writing(refresh=False) as session:
        session.execute(update(UserSession).values(confirmed_at=datetime.now(UTC) - timedelta(minutes=minutes)))


def test_a_second_factor_is_asked_for_all_the_same(app, provider):
    with writing() as session:
        ann = accounts.find(session, ANN)
        secret = second_factor.begin(session, ann, vault=current.vault())
        before = pyotp.TOTP(secret).at(datetime.now(UTC) - timedelta(seconds=30))
        second_factor.confirm(session, ann, before, vault=current.vault(), now=datetime.now(UTC))
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
    """Ann, who came through the provider and has no password, eleven minutes later."""
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
    answer = client.get(path_of(provider.agree(leave(client, "/confirm/openid"), "s-ann")))
    assert answer.status_code == 403
    assert client.get("/admin/token/new/").status_code == 302


def test_somebody_else_confirms_nothing(provider, without_password):
    client = without_password
    provider.claims = {"auth_time": int(time.time())}
    answer = client.get(path_of(provider.agree(leave(client, "/confirm/openid"), "s-eve")))
    assert (answer.status_code, "somebody else" in answer.text) == (403, True)
    assert client.get("/admin/token/new/").status_code == 302


def test_signing_in_anew_is_not_taken_for_a_confirmation(app, provider, without_password):
    """The answer to a plain sign-in, which the provider may give without asking, begins no fresh proof of an older session."""
    client = without_password
    assert leave(client) == "/admin/"
    assert client.get("/admin/token/new/").status_code == 302


# Nothing secret is written down


def test_t20_no_secret_is_in_the_logs_the_trail_or_the_pages(app, provider):
    lines = []

    class Keeps(logging.Handler):
        def emit(self, record):
            if not record.name.startswith(("authlib.oauth2.rfc", "werkzeug", "oidc_provider_mock")):  # The provider's own, in this process.
                lines.append(record.getMessage() + str(record.exc_info or ""))

    handler, roots = Keeps(logging.DEBUG), [logging.getLogger(), logging.getLogger("webapp")]
    levels = [(root, root.level) for root in roots]
    for root in roots:
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
    try:
        client = app.test_client()
        back = provider.agree(leave(client), "s-ann")
        pages = [client.get(path_of(back)).text]
        provider.claims = {"nonce": "another"}
        pages.append(sign_in(app.test_client(), provider).text)
        provider.answers["/oauth2/token"] = lambda: (flask.jsonify(error="invalid_client", error_description=f"not {SECRET}"), 401)
        pages.append(sign_in(app.test_client(), provider).text)
    finally:
        for root, level in levels:
            root.removeHandler(handler)
            root.setLevel(level)
    verifiers = [form["code_verifier"] for path, form, _ in provider.seen if path == "/oauth2/token"]
    secret = [SECRET, query_of(back)["code"], *provider.tokens, *verifiers]
    assert len({line for line in lines if "identity provider" in line}) == 2
    assert [word for word in secret if any(word in text for text in [*lines, *pages, str(events()), repr(app.extensions)])] == []
