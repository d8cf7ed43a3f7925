"""Strict parsing of providers' base URLs, and their origins. `security/urlguard.py` decides which addresses are allowed."""

import ipaddress
import re
from dataclasses import dataclass

from webapp.domain.shared.errors import FieldError, Invalid

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}
# A subset that every URL parser reads alike: no userinfo, query, fragment, backslash, percent-encoding or non-ASCII character.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>(?:/[A-Za-z0-9._~:@!$&'()*+,;=-]*)*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A strictly parsed base URL. `host` is in lower case and without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port in one spelling. Keys are bound to it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" if self.port == DEFAULT_PORTS[self.scheme] else f"{self.scheme}://{host}:{self.port}"


def parse_base_url(url: str) -> BaseUrl:
    """Return the parts of a base URL. Raises `Invalid` if two parsers could read the URL differently."""
    match = _URL.fullmatch(url)
    if match is None:
        raise base_url_error(Invalid, _describe_error(url))
    scheme, host = match["scheme"].lower(), match["host"].strip("[]").lower()
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if port > 65535:
        raise base_url_error(Invalid, "The port of the address must be from 1 to 65535.")
    if not (parse_ip(host) or _is_host_name(host)):
        raise base_url_error(Invalid, "The host of the address is neither a name nor an IP address in its usual spelling.")
    if {".", ".."} & set((match["path"] or "").split("/")):
        raise base_url_error(Invalid, "The path of the address must not go up or stay: no part of it may be . or ..")
    return BaseUrl(scheme, host, port, match["path"])


def parse_origin(url: str) -> str:
    """Return the origin of a base URL. Raises `Invalid` like `parse_base_url`."""
    return parse_base_url(url).origin


def base_url_error(kind: type[Invalid], sentence: str) -> Invalid:
    """Return an error of this kind about the field `base_url`."""
    return kind(sentence, [FieldError("base_url", sentence)])


def parse_ip(host: str) -> IpAddress | None:
    """Return the IP address if the host is one in canonical notation, else None."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_host_name(host: str) -> bool:
    """Return whether the host consists of labels of letters, digits and hyphens.

    A last label that begins with a digit (`127.1`, `0x7f000001`) could be read as an IP address, so it is rejected.
    """
    labels = host.split(".")
    return all(re.fullmatch(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", label) for label in labels) and not labels[-1][0].isdigit()


def _describe_error(url: str) -> str:
    """Return a message about the most likely mistake."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        return "The address must begin with https:// (or http:// where that is allowed)."
    if "@" in url.split("://", 1)[1].split("/", 1)[0]:
        return "The address must not hold a user name or password; the key has its own field."
    if "?" in url or "#" in url:
        return "The address must end with its path: no question mark and no hash sign."
    if not url.isascii():
        return "The address must be plain ASCII; write an international name in its xn-- form."
    return "The address holds characters that do not belong there: use https://host, a port if needed, and a path."
