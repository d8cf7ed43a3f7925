"""Passwords: argon2id at the cost that OWASP names, and the same work for a user who does not exist."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.domain.errors import Invalid

MIN_LENGTH, MAX_LENGTH = 12, 200
HASHER = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
# What is verified for an unknown address, so that an answer takes as long as for a known one.
NOBODY = HASHER.hash("nobody has this password")


def hash_password(password: str, field: str = "password") -> str:
    """The hash to store. Raises `Invalid` for a password that is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid.field(field, f"must have {MIN_LENGTH} to {MAX_LENGTH} characters; a sentence of your own is good")
    try:
        return HASHER.hash(password)
    except UnicodeEncodeError:
        raise Invalid.field(field, "holds characters that cannot be stored") from None


def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password is right. Takes the same time when there is no hash."""
    if len(password) > MAX_LENGTH:
        return False
    try:
        return HASHER.verify(password_hash or NOBODY, password) and bool(password_hash)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
