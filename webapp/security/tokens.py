"""Makes and recognises applications' tokens, and the secrets of sessions and links.

A token reads `mdk_<public id>_<secret>_<check>`: the prefix lets scanners find it, the check digits (CRC-32) let anybody refuse a
misspelt one without a look-up, the public id finds the row, and only the SHA-256 digest of the whole is stored.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

ALPHABET = string.ascii_letters + string.digits
PATTERN = re.compile(r"(mdk_([A-Za-z0-9]{10})_[A-Za-z0-9]{43})_([A-Za-z0-9]{6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made: `text` is to be shown once, the rest to be stored."""

    text: str = field(repr=False)
    public_id: str
    digest: bytes


def new_token() -> NewToken:
    public_id = _random_text(10)
    body = f"mdk_{public_id}_{_random_text(43)}"  # 43 of 62 characters are 256 bits
    text = f"{body}_{check_digits(body)}"
    return NewToken(text, public_id, digest_of(text))


def public_id_of(text: str) -> str | None:
    """The public id of a well-formed token, else None: wrong check digits never reach a look-up."""
    match = PATTERN.fullmatch(text)
    if match is None or check_digits(match[1]) != match[3]:
        return None
    return match[2]


def new_secret() -> str:
    """A secret for a session cookie or a link: 256 bits."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def digests_match(one: bytes, other: bytes) -> bool:
    """Compares digests in constant time."""
    return hmac.compare_digest(one, other)


def check_digits(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(6):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
