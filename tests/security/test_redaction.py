"""Redaction of secrets, URLs and control characters in external text."""

import base64
from urllib.parse import quote

import pytest

from webapp.security.redaction import redact

SECRET = "sk-CANARY/0123+456=789"


@pytest.mark.parametrize(
    "spelled",
    [SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode(), base64.urlsafe_b64encode(SECRET.encode()).decode()],
)
def test_a_known_secret_goes_in_every_spelling(spelled):
    redacted = redact(f"Incorrect key {spelled}, see the docs", [SECRET])
    assert spelled not in redacted
    assert "CANARY" not in redacted
    assert redacted.startswith("Incorrect key ***")


@pytest.mark.parametrize(
    "leak",
    [
        "Authorization: Bearer abcdefghijklmnop",
        "x-api-key: 0123456789abcdef",
        '{"api_key": "0123456789abcdef"}',
        "sk-proj-abcdefghijklmnop",
        "AIzaSyA-0123456789abcdef",
        "ghp_0123456789abcdefghij",
        "password=hunter2hunter2",
    ],
)
def test_what_looks_like_a_secret_goes_although_it_is_not_known(leak):
    redacted = redact(f"failed: {leak} !")
    assert "***" in redacted
    assert not any(secret in redacted for secret in ("klmnop", "cdef", "hunter2"))
    assert redacted.startswith("failed:")


def test_a_url_goes_with_its_query():
    assert redact("see https://api.example.com/v1?key=abc now") == "see <url> now"


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens is too large: 9000. This model supports at most 4096 tokens.",
        "The token expired yesterday; basic authentication is off; skateboarding-tricks and keyboard-layouts stay.",
    ],
)
def test_ordinary_words_stay(said):
    assert redact(said) == said


def test_control_characters_go_and_the_text_is_one_short_line():
    redacted = redact("a\x00b\r\nc\x1b[31m\u202ed" + "x" * 1_000)
    assert redacted.isprintable()
    assert len(redacted) == 300


def test_no_half_of_a_secret_is_left_at_the_cut():
    text = "x " * 9_998 + SECRET
    assert "CANARY" not in redact(text, [SECRET], limit=100_000)


@pytest.mark.parametrize("secret", [None, "", "a", "abc"])
def test_a_secret_that_is_too_short_to_be_one_masks_nothing(secret):
    assert redact("an abc of keys", [secret]) == "an abc of keys"
