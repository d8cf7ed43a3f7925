"""Tests of the detection of weak secrets."""

import secrets
from base64 import b64encode

import pytest

from webapp.domain.accounts.weak_secrets import is_weak

# Secrets from public documentation, compose files and examples. Only long ones, because short ones are rejected for their length.
KNOWN = [
    "CHANGE_ME_TO_A_COMPLEX_RANDOM_SECRET",
    "your_own_random_generated_secret_key",
    "changeme_please_this_is_not_a_secret_key",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "9jsrJd2WSfIiuMmoYfeeL6RRAu1z68+Cox9VdwtrwtgaZsvRiShPJpDh",
    "a25mQ1FHTUh3MnFRSk5KMEIyVVU2YmN0VGRyYTVXY08=",
    "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",
    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "you_will_never_guess_you_will_never_guess",
    "you-will-never-guess-this-secret-key",
    "thisISaSECRET_1234thisISaSECRET_1234",
    "sk-1234sk-1234sk-1234sk-1234sk-1234",
    "your-secret-key-min-32-chars-long!!!",
    "a-string-secret-at-least-256-bits-long",
    "test-secret-key-for-testing-only-32chars!",
    "change-me-to-a-random-32-byte-secret",
    "your_super_secret_jwt_key_change_this_in_production",
    "your_jwt_super_secret_key_here_please",
    "test-key-12345678901234567890123456789012345678901234567890",
    "django-insecure-change-me-in-production",
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "zyxwvutsrqponmlkjihgfedcba9876543210",
    "qwertyuiopasdfghjklzxcvbnm1234567890",
    "12345678901234567890123456789012",
    "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    "00000000000000000000000000000001",
    "passwordpasswordpasswordpassword",
    "supersecretsupersecretsupersecret!",
    "secret-secret-secret-secret-secret-1",
    "REPLACE_ME_WITH_A_LONG_RANDOM_STRING",
    "please-set-a-strong-secret-key-here",
    "this-is-a-very-secret-key-for-development",
    "SuperSecretKeyForSigningSessionTokens",
    "default_secret_key_change_in_production",
    "my-super-secret-signing-key-for-testing",
    "generate_a_secure_random_key_for_production",
    "dev-secret-key-do-not-use-in-production-2024",
]


@pytest.mark.parametrize("known", KNOWN)
def test_t03_a_secret_that_was_published_or_says_that_it_is_to_be_changed_is_weak(known):
    assert (is_weak(known), is_weak(known.upper()), is_weak(known.lower())) == (True, True, True)


@pytest.mark.parametrize("honest", ["superset_secret_5f1c9e77b2a84d03", "seven honest words nobody else combined: teapot glacier"])
def test_what_holds_enough_of_its_own_is_not(honest):
    assert not is_weak(honest)


CHANCE = {
    "hex": lambda: secrets.token_hex(16),
    "url": lambda: secrets.token_urlsafe(24),
    "base64": lambda: b64encode(secrets.token_bytes(24)).decode(),
}


@pytest.mark.parametrize("made", CHANCE.values(), ids=CHANCE)
def test_what_chance_made_is_not(made):
    assert [secret for secret in (made() for _ in range(2_000)) if is_weak(secret)] == []
