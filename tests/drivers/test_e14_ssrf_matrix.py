"""E14: every spelling of a forbidden address, at every stage, through every SDK: no connection is accepted.

Spellings of this server meet real listeners that count connections. Other forbidden addresses are never dialed: recorders replace name
resolution and connections, also in the negative controls.
"""

import ipaddress
import socket

import httpcore2
import pytest
from fake_provider import ASK, Upstream, reply
from url_spellings import LOOPBACK, SPELLINGS

from webapp.domain.shared.errors import Invalid
from webapp.drivers import DRIVERS, create_driver
from webapp.drivers.core.base import DriverError, Endpoint
from webapp.security.urlguard import OutboundPolicy

PUBLIC = "93.184.216.34"
ONLY_RESOLVED = [
    "169.254.169.254",
    "10.0.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "224.0.0.1",
    "127.0.0.1",
]
VENDORS = [name for name in DRIVERS if name != "local"]


class Dialled(Exception):
    """A driver tried to connect to a recorder."""


@pytest.fixture
def dialled(monkeypatch):
    """Return the list of hosts that a driver tried to connect to. Nothing leaves the server."""
    seen: list[str] = []

    def record(self, host, port, *_, **__):
        seen.append(host)
        raise httpcore2.ConnectError("recorded")

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", record)
    return seen


def answering(*answers):
    """Return a resolver with these results, one list per query. It repeats the last list."""
    results = iter(answers)
    last: list[list[str]] = []

    def resolve(host, port, **_):
        last[:] = [next(results, last[0] if last else [])]
        family = socket.AF_INET6 if any(":" in address for address in last[0]) else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for address in last[0]]

    return resolve


def try_it(driver: str, base_url: str, policy: OutboundPolicy) -> DriverError:
    with pytest.raises(DriverError) as caught:
        create_driver(Endpoint("acme", driver, base_url, "sk-0123456789abcdef", timeout_s=3.0), policy).chat(ASK)
    return caught.value


def test_there_are_more_than_sixty_spellings():
    assert len(set(SPELLINGS)) >= 60


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_e14_t16_no_spelling_is_saved(scheme):
    policy = OutboundPolicy(resolver=answering([PUBLIC]))
    taken = []
    for spelling in SPELLINGS:
        for port in ("", ":8080"):
            try:
                policy.check_url(f"{scheme}://{spelling}{port}/v1")
            except Invalid:
                continue
            taken.append(spelling)
    assert taken == []


@pytest.mark.parametrize("driver", VENDORS)
def test_e14_t16_no_spelling_of_this_machine_is_connected_to(driver):
    listener = Upstream()
    try:
        for spelling in LOOPBACK:
            for scheme in ("http", "https"):
                assert try_it(driver, f"{scheme}://{spelling}:{listener.port}", OutboundPolicy()).kind == "config"
        assert listener.accepted == 0
    finally:
        listener.stop()


@pytest.mark.parametrize("driver", VENDORS)
def test_e14_no_forbidden_address_is_dialled_whatever_a_name_leads_to(driver, dialled):
    for address in ONLY_RESOLVED:
        policy = OutboundPolicy(resolver=answering([address]))
        assert try_it(driver, "https://innocent.example", policy).kind == "config"
        both = OutboundPolicy(resolver=answering([PUBLIC, address]))  # One forbidden address of several blocks all of them.
        assert try_it(driver, "https://innocent.example", both).kind == "config"
    assert dialled == []


@pytest.mark.parametrize("driver", VENDORS)
def test_e14_a_name_that_is_bound_to_another_address_meanwhile_is_judged_again_for_each_connection(driver, dialled):
    policy = OutboundPolicy(resolver=answering([PUBLIC], ["127.0.0.1"], ["127.0.0.1"]))
    first = try_it(driver, "https://innocent.example", policy)
    assert first.kind in ("connect", "config")
    assert set(dialled) <= {PUBLIC}  # Only the vetted address is dialed. The second result is rejected.


@pytest.mark.parametrize("driver", VENDORS)
def test_e14_t18_no_redirect_leads_to_a_listener(driver):
    allowed, forbidden = Upstream(), Upstream("127.0.0.2")
    try:
        for status in (301, 302, 303, 307, 308):
            for target in (f"http://{forbidden.place}/", f"//{forbidden.place}/", f"http://127.1:{forbidden.port}/", "file:///etc/passwd"):
                allowed.requests.clear()
                allowed.says(reply(status, {}, headers={"Location": target, "Refresh": f"0; url={target}"}))
                caught = try_it(driver, f"http://{allowed.place}", OutboundPolicy(frozenset({allowed.place})))
                assert (caught.kind, len(allowed.requests)) == ("redirect", 1)
        assert forbidden.accepted == 0
    finally:
        allowed.stop()
        forbidden.stop()


@pytest.mark.parametrize("driver", VENDORS)
def test_e14_t18_no_proxy_of_the_environment_is_used(driver, monkeypatch):
    allowed, proxy = Upstream(), Upstream("127.0.0.2")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{proxy.place}")
    try:
        allowed.says(reply(401, {"error": {"message": "no"}}))
        assert try_it(driver, f"http://{allowed.place}", OutboundPolicy(frozenset({allowed.place}))).kind == "auth"
        assert (allowed.accepted, proxy.accepted) == (1, 0)
    finally:
        allowed.stop()
        proxy.stop()


def test_e14_what_the_operator_names_is_reached_by_that_port_only():
    allowed, forbidden = Upstream(), Upstream()
    policy = OutboundPolicy(frozenset({f"localhost:{allowed.port}"}))
    try:
        assert create_driver(Endpoint("a", "openai", f"http://localhost:{allowed.port}/v1", "sk-0123456789"), policy).chat(ASK).text
        assert try_it("openai", f"http://localhost:{forbidden.port}/v1", policy).kind == "config"
        assert (allowed.accepted, forbidden.accepted) == (1, 0)
    finally:
        allowed.stop()
        forbidden.stop()


def test_e14_control_a_guard_that_asks_only_is_private_lets_many_forms_through():
    """Address formats that a check of `is_private` misses. Nothing is dialed."""
    forms = [
        "::ffff:0:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "::127.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "224.0.0.1",
        "192.88.99.1",
        "5f00::1",
        "3fff::1",
    ]
    through = [form for form in forms if not ipaddress.ip_address(form).is_private]
    policy = OutboundPolicy()
    for form in forms:
        host = f"[{form}]" if ":" in form else form
        with pytest.raises(Invalid):
            policy.check_url(f"https://{host}/v1")
    assert len(through) >= 7
