"""The outbound HTTP client: only vetted addresses, host and TLS names of the URL, and new connections after a fork."""

import datetime
import os
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_provider import ASK, Upstream

from webapp.drivers.core.base import DriverError
from webapp.security.urlguard import OutboundPolicy


def resolving_to(*addresses, seconds=0.0):
    """Return a resolver that records its queries and returns these addresses. Nothing leaves the server."""

    def resolve(host, port, **_):
        resolve.asked.append((host, port))
        time.sleep(seconds)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    resolve.asked = []
    return resolve


def refused(driver, request=ASK):
    with pytest.raises(DriverError) as caught:
        driver.chat(request)
    return caught.value


@pytest.mark.parametrize("answers", [("127.0.0.1",), ("203.0.114.7", "127.0.0.1"), ("127.0.0.1", "203.0.114.7"), ("::ffff:127.0.0.1",)])
def test_a_name_that_leads_inside_gets_no_connection(upstream, make_driver, answers):
    driver = make_driver(f"https://api.vendor.test:{upstream.port}/v1", allow=(), resolver=resolving_to(*answers))
    caught = refused(driver)
    assert (caught.kind, caught.retryable, upstream.accepted) == ("config", False, 0)
    assert "MODELDESK_OUTBOUND_ALLOW" in caught.detail


def test_t17_a_name_that_turns_inside_between_saving_and_use_gets_no_connection(upstream, make_driver):
    answers = [resolving_to("203.0.114.7"), resolving_to("127.0.0.1")]
    rebinding = lambda *args, **more: answers.pop(0)(*args, **more)  # noqa: E731 - two answers, in turn
    assert OutboundPolicy(resolver=rebinding).vet("api.vendor.test", upstream.port) == ["203.0.114.7"]
    driver = make_driver(f"https://api.vendor.test:{upstream.port}/v1", allow=(), resolver=rebinding)
    assert refused(driver).kind == "config"
    assert (upstream.accepted, answers) == (0, [])


def test_the_vetted_address_is_connected_to_and_the_host_header_is_the_urls(upstream, make_driver):
    resolve = resolving_to("127.0.0.1")
    driver = make_driver(f"http://models.lan:{upstream.port}/v1", resolver=resolve)
    driver.chat(ASK)
    assert upstream.requests[0][2]["host"] == f"models.lan:{upstream.port}"
    assert resolve.asked == [("models.lan", upstream.port)]


def test_a_name_without_an_address_is_said_to_be_one(make_driver):
    caught = refused(make_driver("https://api.vendor.test/v1", allow=(), resolver=resolving_to()))
    assert caught.kind == "connect"
    assert "no address" in caught.detail


def test_a_name_server_that_does_not_answer_cannot_hold_a_call(make_driver):
    driver = make_driver("https://api.vendor.test/v1", allow=(), resolver=resolving_to("127.0.0.1", seconds=3))
    started = time.monotonic()
    assert refused(driver, replace(ASK, deadline_s=0.4)).kind == "connect"
    assert time.monotonic() - started < 2.5


@pytest.fixture
def self_signed(tmp_path):
    """Return the context of a TLS server for vendor.test with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vendor.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - datetime.timedelta(1), now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("vendor.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_name_is_the_urls(make_driver, self_signed):
    names = []
    self_signed.sni_callback = lambda _, name, __: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(2):  # The call and its one retry.
            connection = listener.accept()[0]
            try:
                self_signed.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    base_url = f"https://vendor.test:{listener.getsockname()[1]}/v1"
    caught = refused(make_driver(base_url, resolver=resolving_to("127.0.0.1")))
    server.join(5)
    listener.close()
    assert (caught.kind, names) == ("connect", ["vendor.test", "vendor.test"])
    assert "certificate" in caught.detail


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # From Python 3.12 on.
def test_a_forked_child_makes_its_own_connections(upstream, driver):
    driver.chat(ASK)
    before = upstream.accepted
    child = os.fork()
    if child == 0:
        try:
            driver.chat(ASK)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    driver.chat(ASK)
    assert upstream.accepted == before + 1  # The child's connection. The parent kept its own, which still works.


def test_calls_side_by_side_do_not_disturb_each_other(upstream, driver):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(driver.chat(ASK).http_status)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert answers == [200] * 12


def test_an_upstream_on_another_loopback_address_is_not_allowed_by_the_first(upstream, make_driver):
    second = Upstream("127.0.0.2")
    with pytest.raises(DriverError) as caught:
        make_driver(second.base_url, allow={upstream.place})
    second.stop()
    assert (caught.value.kind, second.accepted) == ("config", 0)
