"""The vault: a ciphertext belongs to one context, and the vault is locked while its keys do not fit."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from webapp.domain.shared.errors import KeysLocked
from webapp.security.vault import SecretContext, Vault

ONE, TWO = Fernet.generate_key().decode(), Fernet.generate_key().decode()
PLACE = SecretContext(7, "https://api.acme.example")
SECRET = "sk-nobody-sees-this"


@given(st.text(), st.integers(0, 2**63), st.text())
def test_a_secret_comes_back_from_its_own_place(secret, number, origin):
    context = SecretContext(number, origin)
    assert Vault(ONE).decrypt(Vault(ONE).encrypt(secret, context), context) == secret


@pytest.mark.parametrize(
    "other",
    [
        SecretContext(8, PLACE.origin),
        SecretContext(7, "https://evil.example"),
        SecretContext(7, PLACE.origin, "check"),
        SecretContext(7, ""),
    ],
)
def test_t22_a_ciphertext_is_worth_nothing_in_another_place(other):
    vault = Vault(ONE)
    with pytest.raises(KeysLocked, match="another provider or address"):
        vault.decrypt(vault.encrypt(SECRET, PLACE), other)


def test_t22_no_changed_byte_decrypts():
    vault = Vault(ONE)
    ciphertext = vault.encrypt(SECRET, PLACE)
    for position in range(len(ciphertext)):
        changed = ciphertext[:position] + chr(ord(ciphertext[position]) ^ 1) + ciphertext[position + 1 :]
        try:
            assert vault.decrypt(changed, PLACE) == SECRET  # The last Base64 characters hold unused bits.
        except KeysLocked:
            continue


@pytest.mark.parametrize("text", ["", "x", "é", "gAAAA", "\x00"])
def test_what_is_no_ciphertext_is_refused_in_words(text):
    with pytest.raises(KeysLocked):
        Vault(ONE).decrypt(text, PLACE)


def test_an_older_key_still_decrypts_and_the_first_one_encrypts():
    old = Vault(ONE).encrypt(SECRET, PLACE)
    both = Vault(f" {TWO} , {ONE},")
    assert both.decrypt(old, PLACE) == SECRET
    assert Vault(TWO).decrypt(both.encrypt(SECRET, PLACE), PLACE) == SECRET
    assert both.key_id == Vault(TWO).key_id != Vault(ONE).key_id


@pytest.mark.parametrize(
    "keys",
    [None, "", " , ", "x", "é", ONE[:-1], f"{ONE},x"],
    ids=["missing", "empty", "commas", "short", "not ASCII", "cut off", "one bad of two"],
)
def test_t24_without_good_keys_it_is_locked_and_says_why(keys):
    vault = Vault(keys)
    assert (vault.locked, "MODELDESK_ENCRYPTION_KEYS" in vault.reason) == (True, True)
    for use in (lambda: vault.encrypt(SECRET, PLACE), lambda: vault.fingerprint(SECRET), lambda: vault.key_id, vault.create_key_check):
        with pytest.raises(KeysLocked, match="Everything that needs no key goes on"):
            use()


@pytest.mark.parametrize(("keys", "words"), [(None, "is missing or empty"), ("x", "cannot be read, or is no comma-separated list")])
def test_whoever_never_set_the_variable_hears_of_the_file(keys, words):
    assert Vault(keys, "the file encryption-keys").reason.startswith(f"the file encryption-keys {words}")
    assert "MODELDESK" not in Vault(keys, "the file encryption-keys").reason


@pytest.mark.parametrize(
    "known",
    [
        "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",
        base64.urlsafe_b64encode(bytes(32)).decode(),
        base64.urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode(),
        base64.urlsafe_b64encode(b"change-me-to-a-32-byte-secret-!!").decode(),
    ],
)
def test_t03_a_key_that_others_know_encrypts_nothing_and_can_be_rotated_away_from(known):
    assert (Vault(known).locked, "others know" in Vault(known).reason, known in Vault(known).reason) == (True, True, False)
    stored = Fernet(known).encrypt(b'[7, "https://api.acme.example", "api_key", "sk-0"]').decode()
    both = Vault(f"{ONE},{known}")
    assert both.decrypt(stored, PLACE) == "sk-0"
    assert Vault(ONE).decrypt(both.reencrypt(stored), PLACE) == "sk-0"


def test_it_is_locked_for_a_database_that_another_key_encrypted_and_unlocked_for_its_own():
    vault, own, foreign = Vault(ONE), Vault(ONE).create_key_check(), Vault(TWO).create_key_check()
    locked = []
    for check in (own, foreign, foreign, own, foreign, own):
        vault.verify_key_check(check)
        locked.append(vault.locked)
    assert locked == [False, True, True, False, True, False]


def test_a_check_never_unlocks_a_vault_without_keys():
    vault = Vault(None)
    vault.verify_key_check(Vault(ONE).create_key_check())
    assert "is not set" in vault.reason


def test_it_shows_neither_keys_nor_secrets():
    vault = Vault(ONE)
    texts = repr(vault) + vault.key_id + vault.fingerprint(SECRET)
    assert ONE[:8] not in texts
    assert SECRET not in texts
