"""Limits per address: how often a client may guess, and how many requests a second are answered."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import TooManyAttempts

FREE_TRIES = 5
"""Wrong attempts without a pause."""

LONGEST_S = 60.0
"""The longest pause: a user who shares an address with an attacker still gets in."""

FORGET_S = 900.0
MOST_ADDRESSES = 4096

_IPV6_NETWORK = 64  # one household has all of these addresses
_OWN_IPV6 = Path("/proc/net/if_inet6")


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, a remote IPv6 /64, or an IPv6 address on our own link.

    On our own link the owner and an attacker have addresses in the same /64.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    if (mapped or found).is_loopback:
        return "loopback"  # a local user may use 16 million of these addresses
    if found.version == 4 or mapped:
        return str(mapped or found)
    network = ipaddress.ip_network(f"{found}/{_IPV6_NETWORK}", strict=False)
    return str(found if found.is_link_local or network in _own_networks() else network)


def _own_networks() -> set[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks of this device's own IPv6 addresses, which the kernel lists in hexadecimal."""
    try:
        lines = _OWN_IPV6.read_text(encoding="ascii").splitlines()
        own = [ipaddress.IPv6Address(int(line.split()[0], 16)) for line in lines if line.strip()]
    except (OSError, ValueError):
        return set()
    return {ipaddress.ip_network(f"{each}/{_IPV6_NETWORK}", strict=False) for each in own}


@dataclass
class _Client:
    wrong: dict[str, int] = field(default_factory=dict)
    """Wrong attempts by account."""
    last: float = 0.0

    def free_at(self) -> float:
        """When the next attempt is allowed, on the monotonic clock."""
        over = sum(self.wrong.values()) - FREE_TRIES
        return self.last + (min(LONGEST_S, 2.0**over) if over >= 0 else 0.0)


class AttemptLimiter:
    """Wrong attempts slow their address down, and no other: after five, 1, 2, 4 … 60 s to the next.

    A right password clears only the wrong attempts of its own account. Otherwise the owner of any account
    could guess the operator's password without a pause, by logging in between.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def begin(self, address: str, account: str = "") -> None:
        """Count an attempt as wrong before it is made: many at once gain nothing.

        Raises `TooManyAttempts` when it is too early.

        `account`: a name that exists, or "" for any other, so that made-up names take no memory.
        """
        now = self._clock()
        with self._lock:
            client = self._clients.setdefault(network_of(address), _Client())
            if now - client.last > FORGET_S:
                client.wrong = {}
            wait_s = client.free_at() - now
            if wait_s > 0:
                raise TooManyAttempts(
                    f"too many wrong tries from this address; try again in {math.ceil(wait_s)} s",
                    wait_s=wait_s,
                )
            client.wrong[account] = client.wrong.get(account, 0) + 1
            client.last = now
            self._clients.move_to_end(network_of(address))
            while len(self._clients) > MOST_ADDRESSES:
                self._clients.popitem(last=False)

    def succeeded(self, address: str, account: str = "") -> None:
        """The attempt was right: forget the wrong ones of this address with this account."""
        network = network_of(address)
        with self._lock:
            if client := self._clients.get(network):
                client.wrong.pop(account, None)
                if not client.wrong:
                    del self._clients[network]

    def undo(self, address: str, account: str = "") -> None:
        """Do not count this attempt: it was not made, or must not clear those before it."""
        network = network_of(address)
        with self._lock:
            client = self._clients.get(network)
            if client and client.wrong.get(account):
                client.wrong[account] -= 1


class RequestRates:
    """A token bucket of requests for each address: bursts are allowed, floods are not."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._room = per_s, 4 * per_s
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one request of this address; raises `TooManyAttempts` when its bucket is empty."""
        now, network = self._clock(), network_of(address)
        with self._lock:
            left, since = self._buckets.pop(network, (self._room, now))
            left = min(self._room, left + (now - since) * self._per_s)
            self._buckets[network] = (left - 1.0 if left >= 1.0 else left, now)
            if len(self._buckets) > MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        if left < 1.0:
            raise TooManyAttempts(
                f"more than {self._per_s:g} requests a second from this address; ask less often",
                wait_s=(1.0 - left) / self._per_s,
            )
