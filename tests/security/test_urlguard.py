"""The outbound policy on every spelling in the threat list. Name resolution is a recorder, and no connection is made."""

import ipaddress
import socket

import pytest

from webapp.domain.shared.errors import Invalid
from webapp.security.urlguard import AddressRefused, OutboundPolicy, is_public

# Address formats that point to internal networks, although Python 3.11 does not report them as private.
NOT_CALLED_PRIVATE = (
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
)
FORBIDDEN = (
    *NOT_CALLED_PRIVATE,
    "0.0.0.0",
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.0.2.1",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "239.255.255.250",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:10.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "100::1",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:808:808::",
    "fec0::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "::ffff:0:8.8.8.8",
    "::8.8.8.8",
    "3ffe::1",
    "4000::1",
)
PUBLIC = (
    "8.8.8.8",
    "1.1.1.1",
    "104.18.6.192",
    "172.32.0.1",
    "2606:4700::6810:84e5",
    "2a00:1450:4014:80e::200a",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
)


def recorder(*addresses):
    def resolve(host, port, **_):
        resolve.asked.append((host, port))
        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    resolve.asked = []
    return resolve


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_leads_inside_is_not_public(address):
    assert not is_public(address)
    with pytest.raises(AddressRefused):
        OutboundPolicy().vet("api.vendor.test", 443, recorder(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert is_public(address)
    assert OutboundPolicy().vet("api.vendor.test", 443, recorder(address)) == [address]


def test_a_guard_that_only_asks_is_private_lets_seven_forms_or_more_through():
    leaks = [address for address in FORBIDDEN if not ipaddress.ip_address(address).is_private]
    assert len(leaks) >= 7
    assert not any(is_public(address) for address in leaks)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.1", "8.8.8.8 ", "٨.8.8.8", "8.8.8.8.8"])
def test_what_is_no_address_is_not_public(text):
    assert not is_public(text)


@pytest.mark.parametrize("answers", [("8.8.8.8", "10.0.0.1"), ("10.0.0.1", "8.8.8.8"), ("2606:4700::1", "::1")])
def test_t17_one_bad_answer_refuses_the_name(answers):
    with pytest.raises(AddressRefused):
        OutboundPolicy().vet("api.vendor.test", 443, recorder(*answers))


def test_a_name_without_answers_is_no_address():
    with pytest.raises(OSError, match="no address"):
        OutboundPolicy().vet("api.vendor.test", 443, recorder())


SPELLINGS = (
    "2130706433",
    "2852039166",
    "0x7f000001",
    "0xA9FEA9FE",
    "0177.0.0.1",
    "0251.0376.0251.0376",
    "127.1",
    "127.0.1",
    "0",
    "①②⑦.⓪.⓪.①",
    "ⓛocalhost",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "api.localhost",
    "metadata.google.internal",
    "metadata",
    "printer.local",
    "router.lan",
    "nas.home.arpa",
    "127.0.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "[::1]",
    "[::]",
    "[fd00:ec2::254]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[::127.0.0.1]",
    "[::ffff:0:169.254.169.254]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[0:0:0:0:0:0:0:1]",
    "0.0.0.0",
    "user@example.com",
    "user:pw@example.com",
    "api.openai.com@127.0.0.1",
    "127.0.0.1%2f@api.openai.com",
    "api.openai.com\\@127.0.0.1",
    "api.openai.com%2f@evil.com",
    "api.openai.com\t",
    "api.openai.com\n",
    " api.openai.com",
    "api.openai.com\x00",
    "api..openai.com",
    ".openai.com",
    "-api.openai.com",
    "api.openai.com:0",
    "api.openai.com:65536",
    "api.openai.com:99999",
    "api.openai.com:+443",
    "api.openai.com:",
    "xn--.0x7f",
    "api.openai.com.",
    "",
    "[",
    "[]",
    "[127.0.0.1]",
    "0x7f.0.0.1",
    "1.0x1",
    "%6c%6f%63%61%6c%68%6f%73%74",
)


@pytest.mark.parametrize("host", SPELLINGS)
def test_t16_a_forbidden_spelling_is_refused_when_it_is_saved(host):
    resolve = recorder("8.8.8.8")
    with pytest.raises(Invalid) as caught:
        OutboundPolicy(resolver=resolve).check_url(f"https://{host}/v1")
    assert caught.value.errors[0].field == "base_url"
    assert caught.value.detail.endswith((".", ")"))
    assert resolve.asked == []  # Saving does not query a name server.


BAD_URLS = (
    "http://api.openai.com/v1",
    "ftp://api.openai.com",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_",
    "//api.openai.com",
    "api.openai.com",
    "https:api.openai.com",
    "https:/api.openai.com",
    "https:\\\\api.openai.com",
    "https://api.openai.com/v1?key=x",
    "https://api.openai.com/v1?",
    "https://api.openai.com/v1#x",
    "https://api.openai.com/%2e%2e/",
    "https://api.openai.com/\\evil",
    "https://api.openai.com/a b",
    "https://api.openai.com/\u202e",
    " https://api.openai.com",
    "https://api.openai.com/\r\nHost: x",
    "javascript:alert(1)",
    "",
    "https://",
)


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_is_not_plainly_https_is_refused(url):
    with pytest.raises(Invalid):
        OutboundPolicy().check_url(url)


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "HTTPS://API.OPENAI.COM", "https://models.github.ai/inference/", "https://8.8.8.8:8443/x"]
)
def test_a_vendors_url_is_accepted(url):
    assert OutboundPolicy().check_url(url).scheme == "https"


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("localhost:11434", "http://localhost:11434", True),
        ("localhost:11434", "http://LocalHost:11434/v1", True),
        ("localhost:11434", "http://localhost:11435", False),
        ("localhost:11434", "http://127.0.0.1:11434", False),
        ("localhost:11434", "http://localhost.evil.example:11434", False),
        ("ollama", "http://ollama:8080", True),
        ("127.0.0.1", "http://127.0.0.1:9", True),
        ("[::1]:8080", "http://[::1]:8080/v1", True),
        ("::1", "http://[::1]:8080/v1", True),
        ("gateway.example.com", "http://gateway.example.com/v1", True),
        ("gateway.example.com:443", "http://gateway.example.com/v1", False),
    ],
)
def test_the_operator_allows_exact_hosts_and_ports(entry, url, allowed):
    policy = OutboundPolicy(frozenset({entry}))
    if allowed:
        base = policy.check_url(url)
        assert policy.vet(base.host, base.port, recorder("127.0.0.1")) == ["127.0.0.1"]
    else:
        with pytest.raises(AddressRefused, match="MODELDESK_OUTBOUND_ALLOW"):
            policy.check_url(url)


def test_an_allowed_host_still_has_no_user_name():
    with pytest.raises(Invalid, match="user name"):
        OutboundPolicy(frozenset({"localhost:11434"})).check_url("http://me@localhost:11434")
