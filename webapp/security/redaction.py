"""Redaction of secrets in external text before it reaches an error, a log or a page."""

import base64
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote

LIMIT, LOG_LIMIT = 300, 2_000
MASK = "***"
_MAX_READ = 20_000  # Longer texts are cut after the known secrets are removed, so that no part of a secret stays.
_MIN_SECRET_LENGTH = 4
_SECRET = re.compile(
    r"(?i)\b(?:[a-z0-9-]*api[-_ ]?key|token|password|passwd|secret|authorization)[\"']?\s*[=:]\s*[\"']?"
    r"(?:(?:bearer|basic|token)\s+)?[^\s\"',;]{6,}"
    r"|\bbearer\s+[A-Za-z0-9._~+/=-]{8,}|\b(?:basic|token)\s+(?=\S*\d)[A-Za-z0-9._~+/=-]{8,}"
    r"|\b(?:(?:sk|pk|rk|xai|gsk|ghp|gho|ghu|ghs|github_pat|glpat|hf|r8)[-_]|aiza)[-_A-Za-z0-9]{12,}"
)
_URL = re.compile(r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]+")
_QUERY = re.compile(r"(?<=[\w/])\?\S+")


def redact(text: str, secrets: Iterable[str | None] = (), limit: int = LIMIT) -> str:
    """Return one short line without the given secrets (also encoded), without text that looks like a secret, and without URLs."""
    for spelling in sorted(_spellings(secrets), key=len, reverse=True):
        text = text.replace(spelling, MASK)
    text = _URL.sub("<url>", _SECRET.sub(MASK, text[:_MAX_READ]))
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return f"{text[: limit - 1]}…" if len(text) > limit else text


def log_redactor(*secrets: str | None) -> Callable[[str], str]:
    """Return the redactor for every log message, including those of libraries. It also removes the query string of a path."""
    return lambda text: _QUERY.sub("?…", redact(text, secrets, LOG_LIMIT))


def _spellings(secrets: Iterable[str | None]) -> set[str]:
    """Return each secret as it is, percent-encoded, escaped as in JSON or repr, and in base64."""
    spellings: set[str] = set()
    for secret in secrets:
        if secret and len(secret) >= _MIN_SECRET_LENGTH:
            raw = secret.encode("utf-8", "surrogatepass")
            encoded = {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
            spellings |= {secret, secret.strip(), quote(secret, safe="", errors="replace"), repr(secret)[1:-1]} | encoded
    return {spelling for spelling in spellings if len(spelling) >= _MIN_SECRET_LENGTH}
