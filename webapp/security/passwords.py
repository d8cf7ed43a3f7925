"""Password hashing: argon2id at four times the OWASP work factor, equally slow for unknown users, with a limit on concurrent hashes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.domain.shared.errors import Invalid, TooManyConcurrentCalls

# NIST SP 800-63B-4, for a password that can be the only factor.
MIN_LENGTH, MAX_LENGTH = 15, 200
TOO_GUESSABLE = "is easy to guess: it is common, repeats itself or follows a row. Four or five words of your own are good"
# zxcvbn scores from 0 to 4; 3 is "safely unguessable, moderate protection from an offline attack". It accepts only this many characters.
MIN_SCORE, MAX_SCORED_LENGTH = 3, 72
HASHER = PasswordHasher(time_cost=4, memory_cost=47_104, parallelism=1)
# Verified for an unknown address, so that the response takes as long as for a known one. It is a constant, because computing it takes as
# long as verifying it.
DUMMY_HASH = "$argon2id$v=19$m=47104,t=4,p=1$20PcKivKwre2LQr9FQTiGw$qzffyJ42HejKgugLes6TP/w02YNGAJyHc6/rX/oddC8"
# Each hash takes 46 MiB and a core for a tenth of a second. Without a limit, one client could occupy all threads of a process.
MAX_CONCURRENT_HASHES = 4
_hash_slots = threading.BoundedSemaphore(MAX_CONCURRENT_HASHES)


@contextmanager
def _hash_slot() -> Iterator[None]:
    """Hold one of the few hash slots of this process. Raises `TooManyConcurrentCalls` if none is free.

    Callers do not wait: a queue would occupy the threads that serve other requests.
    """
    if not _hash_slots.acquire(blocking=False):
        raise TooManyConcurrentCalls("Too many people are signing in at this moment. Wait a few seconds and send it again.")
    try:
        yield
    finally:
        _hash_slots.release()


def hash_password(password: str, field: str = "password") -> str:
    """Return the hash to store.

    Raises `Invalid` for a password that is too short, too long or easy to guess, and `TooManyConcurrentCalls` if no hash slot is free.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid.field(field, f"must have {MIN_LENGTH} to {MAX_LENGTH} characters; a sentence of your own is good")
    if is_guessable(password):
        raise Invalid.field(field, TOO_GUESSABLE)
    try:
        with _hash_slot():
            return HASHER.hash(password)
    except UnicodeEncodeError:
        raise Invalid.field(field, "holds characters that cannot be stored") from None


def is_guessable(password: str) -> bool:
    """Return whether zxcvbn considers a password easy to guess: common passwords, names, repetitions or keyboard rows."""
    from zxcvbn import zxcvbn

    return int(zxcvbn(password[:MAX_SCORED_LENGTH])["score"]) < MIN_SCORE


def rehash_or_none(password_hash: str | None, password: str) -> str | None:
    """Return a hash of a verified password at the current cost, or None if the stored hash already has that cost.

    Returns None also if no hash slot is free: the sign-in continues, and the next one tries again.
    """
    if password_hash is None or not HASHER.check_needs_rehash(password_hash):
        return None
    try:
        with _hash_slot():
            return HASHER.hash(password)
    except TooManyConcurrentCalls:
        return None


def verify(password_hash: str | None, password: str) -> bool:
    """Return whether the password is correct, in the same time without a hash. Raises `TooManyConcurrentCalls` if no slot is free."""
    if len(password) > MAX_LENGTH:
        return False
    try:
        with _hash_slot():
            return HASHER.verify(password_hash or DUMMY_HASH, password) and bool(password_hash)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
