"""Tests of base URLs and origins. `tests/security/test_urlguard.py` tests the rejected URLs."""

import pytest

from webapp.domain.shared.urls import parse_base_url, parse_origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://API.openai.com/v1", "https://api.openai.com"),
        ("https://api.openai.com:443/v1/", "https://api.openai.com"),
        ("https://api.openai.com:8443", "https://api.openai.com:8443"),
        ("http://localhost:11434/v1", "http://localhost:11434"),
        ("http://[::1]:80/x", "http://[::1]"),
    ],
)
def test_an_origin_has_one_spelling(url, expected):
    assert parse_origin(url) == expected


def test_the_parts_of_a_url():
    base = parse_base_url("https://Gateway.example.com:8443/llm/v1")
    assert (base.scheme, base.host, base.port, base.path) == ("https", "gateway.example.com", 8443, "/llm/v1")
