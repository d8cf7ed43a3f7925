"""Reverse proxies (T05): the forwarded client address is trusted only for the configured number of proxies."""

import pytest
from environment import running, settings_for
from factories import csrf_token

from webapp.services.accounts import login_throttle
from webapp.web import known_browsers

FEW = 3
PROXY, CLIENT, OTHER = "10.0.0.1", "198.51.100.7", "198.51.100.8"


@pytest.fixture
def desk(settings, tmp_path):
    """Return a factory of applications, which accepts settings such as `proxies`."""
    generators = []

    def make(**more):
        generator = running(settings_for(settings.database_url, tmp_path / "instance", **more))
        generators.append(generator)
        return next(generator)

    yield make
    for generator in generators:
        next(generator, None)


def guesses(app, count, **headers):
    """Send `count` failed sign-ins, each for another account, and return the last status."""
    client = app.test_client()
    token = csrf_token(client.get("/login").text)
    for number in range(count):
        form = {"email": f"nobody{number}@example.com", "password": "wrong", "csrf_token": token}
        response = client.post("/login", data=form, environ_base={"REMOTE_ADDR": PROXY}, headers=headers)
    return response.status_code


@pytest.fixture
def few(monkeypatch):
    """Lower the limit per address, because each attempt takes the time of a password hash."""
    monkeypatch.setattr(login_throttle, "PER_ADDRESS", FEW)


def test_behind_a_proxy_of_ours_guesses_are_counted_by_client(desk, few):
    app = desk(proxies=1)
    assert guesses(app, FEW + 1, **{"X-Forwarded-For": f"203.0.113.9, {CLIENT}"}) == 429
    assert guesses(app, 1, **{"X-Forwarded-For": f"203.0.113.9, {OTHER}"}) == 422


def test_without_the_setting_what_a_client_claims_is_not_believed(desk, few):
    app = desk()
    assert guesses(app, FEW, **{"X-Forwarded-For": CLIENT}) == 422
    assert guesses(app, 1, **{"X-Forwarded-For": OTHER}) == 429


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_metrics_are_not_served_to_the_world_through_a_proxy_on_this_machine(desk, header):
    client = desk().test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", headers={header: CLIENT}).status_code == 403


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", CLIENT])
def test_nor_with_the_setting_whatever_address_a_client_claims_to_have(desk, address):
    client = desk(proxies=1).test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", headers={"X-Forwarded-For": address}).status_code == 403


def test_neither_host_nor_scheme_is_believed_from_a_header(desk):
    client = desk(proxies=1).test_client()
    headers = {"X-Forwarded-For": CLIENT, "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    assert "evil.example" not in client.get("/admin/", headers=headers).headers["Location"]


@pytest.mark.parametrize(("base", "name"), [("https://desk.example", "__Host-modeldesk-device"), ("http://localhost", "modeldesk_device")])
def test_no_sibling_domain_can_set_the_cookie_of_a_known_browser_over_tls(desk, base, name):
    app = desk(base_url=base)
    with app.test_request_context():
        assert known_browsers.cookie_name() == name
        cookie = known_browsers.remember(app.make_response("in"), "ann@example.com").headers["Set-Cookie"]
    assert (cookie.startswith(f"{name}="), "Path=/" in cookie, "Domain" in cookie) == (True, True, False)
    assert ("Secure" in cookie) == base.startswith("https")
