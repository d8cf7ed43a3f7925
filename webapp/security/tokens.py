"""API tokens, and the secrets of sessions and links.

A token has the form `mdk_<public id>_<secret>_<check>`. The prefix lets scanners detect it. The check digits (CRC-32) expose a misspelled
token without a lookup. The public id selects the row. Only the SHA-256 digest of the whole token is stored.
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
    """A new token. Show `text` once and store the rest."""

    text: str = field(repr=False)
    public_id: str
    digest: bytes


def new_token() -> NewToken:
    public_id = _random_text(10)
    body = f"mdk_{public_id}_{_random_text(43)}"  # 43 characters from an alphabet of 62 hold 256 bits.
    text = f"{body}_{check_digits(body)}"
    return NewToken(text, public_id, digest_of(text))


def public_id_of(text: str) -> str | None:
    """Return the public id of a well-formed token, else None. A token with wrong check digits never causes a lookup."""
    match = PATTERN.fullmatch(text)
    if match is None or check_digits(match[1]) != match[3]:
        return None
    return match[2]


def new_secret() -> str:
    """Return a 256-bit secret for a session cookie or a link."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def digests_match(left: bytes, right: bytes) -> bool:
    """Compare digests in constant time."""
    return hmac.compare_digest(left, right)


def check_digits(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(6):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
