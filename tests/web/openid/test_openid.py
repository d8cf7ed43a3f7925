"""Sign-in through an identity provider (OpenID Connect) over real HTTP on loopback, and every forged response."""

import base64
import hashlib
import threading
import time
from datetime import UTC, datetime, timedelta

import fake_identity_provider as identity
import flask
import httpx2
import pytest
from environment import running
from factories import csrf_token
from fake_identity_provider import path_of, query_of
from openid_app import ANN, CALLBACK, EVE, SECRET, count, events, is_in, kept_out, leave, sign_in

from webapp.domain.shared.errors import Conflict
from webapp.models import Identity, UserSession
from webapp.runtime.transaction import writing
from webapp.services.accounts import identities
from webapp.services.accounts.identities import PendingAuthorization

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Raised in the mock's server threads.


# Sign-in


def test_the_first_time_links_by_the_verified_address_and_from_then_on_the_subject_counts(app, provider):
    client = app.test_client()
    assert sign_in(client, provider, next="/admin/model/?page=2").headers["Location"] == "/admin/model/?page=2"
    assert is_in(client)
    provider.person("s-ann", email="somebody-else@example.com", email_verified=False)
    again = app.test_client()
    sign_in(again, provider)
    assert is_in(again)
    session_event = ("accounts:session:begin", ANN, {"method": "OpenID Connect"})
    link_event = ("accounts:identity:link", "identity provider", {"issuer": provider.issuer, "subject": "s-ann"})
    assert events() == [link_event, session_event, session_event]


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
    second = query_of(leave(app.test_client()))
    assert not {sent["state"], sent["nonce"], sent["code_challenge"]} & {second["state"], second["nonce"], second["code_challenge"]}


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


# The callback is bound to the browser, single-use and time-limited


def test_a_wrong_state_opens_nothing_and_the_provider_is_not_asked(app, provider):
    client = app.test_client()
    back = provider.agree(leave(client), "s-ann")
    forged = path_of(back).replace(query_of(back)["state"], "0" * 64)
    assert kept_out(client, client.get(forged), 400, "Begin anew")
    assert kept_out(client, client.get(path_of(back)), 400, "Begin anew"), "a guess uses the sign-in up"
    assert provider.asked("/oauth2/token") == 0


def test_an_answer_in_another_browser_opens_nothing(app, provider):
    """A link from an attacker must not sign a user in to the attacker's account."""
    back = path_of(provider.agree(leave(app.test_client()), "s-ann"))
    stranger, waiting = app.test_client(), app.test_client()
    leave(waiting)
    assert kept_out(stranger, stranger.get(back), 400, "Begin anew")
    assert kept_out(waiting, waiting.get(back), 400, "Begin anew")
    assert provider.asked("/oauth2/token") == 0


def test_a_replayed_answer_opens_nothing_with_the_same_cookie_either(app, provider):
    client, thief = app.test_client(), app.test_client()
    back = path_of(provider.agree(leave(client), "s-ann"))
    thief.set_cookie("modeldesk", client.get_cookie("modeldesk").value)
    assert client.get(back).status_code == 302
    assert kept_out(thief, thief.get(back), 400, "Begin anew")
    assert provider.asked("/oauth2/token") == 1


def test_a_way_back_is_used_once_by_four_at_once(either_app):
    authorization, results, together = PendingAuthorization("a-secret", datetime.now(UTC) + timedelta(minutes=1)), [], threading.Barrier(4)

    def use():
        with either_app.app_context():
            together.wait()
            try:
                with writing(refresh=False) as session:
                    identities.consume_authorization(session, authorization, now=datetime.now(UTC))
                results.append(True)
            except Conflict:
                results.append(False)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]


def test_an_answer_after_ten_minutes_opens_nothing(app, provider):
    client = app.test_client()
    back = path_of(provider.agree(leave(client), "s-ann"))
    with client.session_transaction() as browser_session:
        browser_session["openid"] = browser_session["openid"] | {"at": int(time.time()) - 601}
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


# Every forged claim of a token

LIES = {
    "nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "audience": {"aud": "another-desk"},
    "no audience": {"aud": None},
    "audience of our party": {"aud": "another-desk", "azp": "desk"},
    "audiences": {"aud": ["desk", "another"], "azp": "another"},
    "party": {"azp": "another"},
    "issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "expired": {"exp": 1_700_000_000},
    "no end": {"exp": None},
    "end as text": {"exp": "never"},
    "from tomorrow": {"iat": 4_000_000_000},
    "nobody": {"sub": None},
    "nobody's name": {"sub": ""},
    "a number": {"sub": 7},
    "other access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_lies_opens_nothing(app, provider, lie):
    provider.claims = LIES[lie]
    client = app.test_client()
    response = sign_in(client, provider)
    assert (response.status_code, is_in(client)) == (403, False), lie
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
    second = app.test_client()
    assert kept_out(second, sign_in(second, provider, "s-eve"), 403, "The answer was not accepted")


def test_a_provider_that_wants_the_secret_in_the_body_gets_it_there(app, provider):
    document = httpx2.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    document |= {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    provider.answers["/.well-known/openid-configuration"] = lambda: flask.jsonify(document)
    assert sign_in(app.test_client(), provider).status_code == 302
    form, headers = next((form, headers) for path, form, headers in provider.seen if path == "/oauth2/token")
    assert (form["client_secret"], "Authorization" in headers) == (SECRET, False)
