"""Internet addresses: parsing, and which ones only this machine can reach."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    address = parse_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A numeric address, None for a name. A dual-stack socket reports IPv4 as ::ffff:127.0.0.1."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
