"""The host names of this device: its own label, alone or below a suffix that only local networks use."""

from __future__ import annotations

import re
import socket

LOCAL_SUFFIXES = ("local", "lan", "home", "home.arpa", "internal", "localdomain", "fritz.box")
"""What mDNS, RFC 8375, and the DNS of usual routers append. No stranger can register a name below them."""

DEFAULT_NAME = "interview-grader.local"
"""The name in the documentation; every device answers to it."""

_RENAMED = re.compile(r"-(?:[2-9]|[1-9][0-9])")
"""What avahi appends when another device has the name already."""


def device_label() -> str:
    """The first label of the host name, lower case."""
    return socket.gethostname().partition(".")[0].lower()


def is_own_name(name: str) -> bool:
    """Whether a lower-case name, without a trailing dot, is one of this device's own."""
    if name == DEFAULT_NAME:
        return True
    own, (label, dot, suffix) = device_label(), name.partition(".")
    if not own or not label.startswith(own) or (dot and suffix not in LOCAL_SUFFIXES):
        return False
    return label == own or _RENAMED.fullmatch(label, len(own)) is not None


def device_names() -> list[str]:
    """The names to certify: every own name except avahi's higher numbers, and localhost."""
    own = device_label()
    names = [own, *(f"{own}.{suffix}" for suffix in LOCAL_SUFFIXES), f"{own}-2.local"]
    usable = names if own.isascii() and own.strip("-") else []
    return list(dict.fromkeys([*usable, DEFAULT_NAME, "localhost"]))
