"""The outbound policy: the addresses that drivers can reach. This module opens no connection."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.domain.shared.errors import Invalid
from webapp.domain.shared.urls import BaseUrl, IpAddress, base_url_error, parse_base_url, parse_ip

Resolver = Callable[..., Sequence[tuple[Any, ...]]]  # Same signature as socket.getaddrinfo.

HOW_TO_ALLOW = "Whoever runs Modeldesk can allow it in MODELDESK_OUTBOUND_ALLOW."
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa", "localdomain")
# Never public, whatever `is_global` returns: Python 3.11 predates CVE-2024-4032 and the transition formats.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "3ffe::/16")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(Invalid):
    """Drivers cannot reach this address."""

    code = "address_refused"


def is_public(address: str | IpAddress) -> bool:
    """Return whether an address belongs to the public internet. IPv4 inside IPv6 is checked as IPv4; tunnels are rejected."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not any(parsed in network for network in _REFUSED_V4)
    if parsed.scope_id is not None:
        return False
    embedded = parsed.ipv4_mapped or (ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else None)
    if embedded is not None:
        return is_public(embedded)
    # All public IPv6 is in 2000::/3. This excludes compatible (::/96), SIIT (::ffff:0:0/96) and local NAT64 (64:ff9b:1::/48) addresses.
    # 6to4 (2002::/16) and Teredo (inside 2001::/23) are tunnels to IPv4 addresses, and no vendor's API is behind one.
    return parsed in _PUBLIC_V6 and parsed.is_global and not any(parsed in network for network in _REFUSED_V6)


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """The addresses that drivers can reach: public ones over https, and those that the operator allows as `host` or `host:port`."""

    allow: frozenset[str] = frozenset()
    resolver: Resolver = field(default=socket.getaddrinfo, repr=False)

    def allows(self, host: str, port: int) -> bool:
        """Return whether the operator allows this host, with this port or without a port."""
        literal = f"[{host}]" if ":" in host else host
        entries = {entry.strip().lower() for entry in self.allow}
        return bool(entries & {host.lower(), literal.lower(), f"{literal}:{port}".lower()})

    def check_url(self, url: str) -> BaseUrl:
        """Parse a base URL and check it as far as possible without a name server. Raises `Invalid` with a complete sentence."""
        base = parse_base_url(url)
        if self.allows(base.host, base.port):
            return base
        if base.scheme != "https":
            raise base_url_error(AddressRefused, f"The address must begin with https://. {HOW_TO_ALLOW}")
        if address := parse_ip(base.host):
            self._require_public(address)
        elif "." not in base.host or any(base.host == name or base.host.endswith(f".{name}") for name in _LOCAL_NAMES):
            raise base_url_error(AddressRefused, f"The host of the address is a name of an internal network. {HOW_TO_ALLOW}")
        return base

    def vet(self, host: str, port: int, resolver: Resolver | None = None) -> list[str]:
        """Return the only addresses to connect to. Every resolved address must be allowed. Raises `AddressRefused`.

        Raises `OSError` (`socket.gaierror`) if the name has no address.
        """
        answers = (resolver or self.resolver)(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if not self.allows(host, port):
            for address in addresses:
                self._require_public(address)
        return addresses

    def _require_public(self, address: str | IpAddress) -> None:
        if not is_public(address):
            raise base_url_error(AddressRefused, f"The address leads into a private, local or reserved network. {HOW_TO_ALLOW}")
