"""Failures of an identity provider: denials, errors, timeouts and forbidden addresses. No secret is logged or stored."""

import logging
import time
from dataclasses import replace

import flask
import httpx2
import pytest
from environment import PASSWORD
from factories import Visitor
from fake_identity_provider import path_of, query_of
from fake_provider import Upstream
from openid_app import ANN, CALLBACK, SECRET, events, is_in, kept_out, leave, sign_in

from webapp.app import create_app
from webapp.config.reader import ConfigError
from webapp.domain.accounts.openid import OpenId

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Raised in the mock's server threads.


# The provider fails


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [("access_denied", 403, "Not allowed"), ("server_error", 502, "cannot be asked"), ("<script>x</script>", 502, "cannot be asked")],
)
def test_what_the_provider_refuses_is_said(app, provider, error, status, words):
    client = app.test_client()
    state = query_of(leave(client))["state"]
    response = client.get(CALLBACK, query_string={"error": error, "error_description": "<b>hello</b>", "state": state})
    assert kept_out(client, response, status, words)
    assert (error in response.text, "hello" in response.text) == (False, False)


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
    monkeypatch.setattr("webapp.drivers.identity_provider.client.DEADLINE_S", 0.5)
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


# No secret is logged or stored


def test_t20_no_secret_is_in_the_logs_the_trail_or_the_pages(app, provider):
    lines = []

    class Keeps(logging.Handler):
        def emit(self, record):
            # The provider runs in this process; its own logs are excluded.
            if not record.name.startswith(("authlib.oauth2.rfc", "werkzeug", "oidc_provider_mock")):
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
