"""The host names of this device. A request for any other is refused, against DNS rebinding."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from appliance.system.addresses import is_loopback, parse_address
from appliance.system.host_names import is_own_name


def parse_host(host: str) -> str | None:
    """The lower-case name in a Host header, without port and trailing dot; None for a malformed header."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name and name.removesuffix(".")


def host_refusal(host: str) -> str:
    """Why a request for this Host is refused, and what to do."""
    return f"Host {host!r} is not a name of this device; use its address, or add web.allowed_hosts"


def is_device_name(name: str | None, allowed: Collection[str], *, network: bool) -> bool:
    """Whether a host name belongs to this device. `allowed`: more names; `network`: others can reach it."""
    # DNS rebinding needs a name that the attacker controls, so every numeric address is allowed.
    if name is None:
        return False
    if name == "localhost" or name in allowed:
        return True
    if not network:
        return is_loopback(name)
    return parse_address(name) is not None or is_own_name(name)
