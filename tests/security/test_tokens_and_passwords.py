"""Tokens and passwords: strong, recognized without a lookup, and never the cause of an exception."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.shared.errors import Invalid
from webapp.security import passwords, tokens

TOKEN = tokens.new_token()


def test_a_token_has_its_prefix_and_enough_randomness():
    assert TOKEN.text.startswith(f"mdk_{TOKEN.public_id}_")
    assert len(TOKEN.text.split("_")[2]) == 43
    assert len({tokens.new_token().text for _ in range(100)}) == 100
    assert TOKEN.text not in repr(TOKEN)


def test_a_token_is_recognised_by_its_check_digits():
    assert tokens.public_id_of(TOKEN.text) == TOKEN.public_id


@pytest.mark.parametrize("position", range(4, len(TOKEN.text)))
def test_t14_a_misspelt_token_is_refused_without_a_look_up(position):
    replacement = "A" if TOKEN.text[position] != "A" else "B"
    assert tokens.public_id_of(TOKEN.text[:position] + replacement + TOKEN.text[position + 1 :]) is None


@given(st.text(st.characters(codec=None)) | st.text().map(lambda more: TOKEN.text + more) | st.text().map(lambda more: more + TOKEN.text))
def test_t14_whatever_is_sent_is_a_token_or_none(text):
    assert tokens.public_id_of(text) == (TOKEN.public_id if text == TOKEN.text else None)
    assert tokens.digests_match(tokens.digest_of(text), TOKEN.digest) is (text == TOKEN.text)


def test_a_password_is_verified_against_its_own_hash_only():
    stored = passwords.hash_password("a long enough sentence")
    assert passwords.verify(stored, "a long enough sentence")
    for wrong in ("a long enough sentencE", "", "x" * 1000, "\ud800", "a long enough sentence\x00"):
        assert not passwords.verify(stored, wrong)
    assert "sentence" not in stored


@pytest.mark.parametrize("kept", [None, "", "no hash", "$argon2id$v=19$m=1"])
def test_without_a_good_hash_no_password_is_right(kept):
    for password in ("nobody has this password", "", "x"):
        assert passwords.verify(kept, password) is False


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "x" * 201, "\ud800" * 20])
def test_a_password_that_is_too_short_too_long_or_unstorable_is_refused(password):
    with pytest.raises(Invalid) as refused:
        passwords.hash_password(password)
    assert refused.value.errors[0].field == "password"


@pytest.mark.parametrize(
    "password", ["password12345678", "qwertyuiopasdfg", "a" * 20, "123456789012345", "letmeinletmein12", "abcdefghijklmnop"]
)
def test_t03_a_password_that_everybody_tries_is_refused_with_what_to_do(password):
    with pytest.raises(Invalid) as refused:
        passwords.hash_password(password)
    assert "easy to guess" in refused.value.errors[0].message


def test_t03_a_long_password_takes_no_time_to_look_at():
    began = time.process_time()
    assert not passwords.is_guessable("correct horse battery staple and the rest " * 5)
    assert time.process_time() - began < 5  # Seconds. A pattern with catastrophic backtracking would take minutes.
