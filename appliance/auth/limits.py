"""Limits per address: how often somebody may guess, and how many requests a second are answered."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import TooManyTries

FREE_TRIES = 5
"""So many wrong tries are free."""

LONGEST_S = 60.0
"""The pause never grows beyond this: who shares an address with somebody who guesses still gets in."""

FORGET_S = 900.0
MOST_ADDRESSES = 4096

_IPV6_NETWORK = 64  # one household has all of these addresses
_OWN_IPV6 = Path("/proc/net/if_inet6")


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, a /64 of IPv6 elsewhere, an IPv6 address on our own link.

    On our own link the owner and whoever guesses have their addresses in the same /64.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(found, "ipv4_mapped", None)
    if (mapped or found).is_loopback:
        return "loopback"  # a local account may use 16 million of these addresses
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
class _Guesser:
    wrong: dict[str, int] = field(default_factory=dict)
    """Wrong tries by account."""
    last: float = 0.0

    def free_at(self) -> float:
        """When the next try may come, on the monotonic clock."""
        over = sum(self.wrong.values()) - FREE_TRIES
        return self.last + (min(LONGEST_S, 2.0**over) if over >= 0 else 0.0)


class Tries:
    """Wrong tries slow their address down: after five, 1, 2, 4 … 60 s to the next. Others are not touched.

    A right password clears the wrong tries of its own account only. Otherwise an account here would
    allow guessing the operator's password without a pause, by logging in between.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def begin(self, address: str, account: str = "") -> None:
        """Count a try as wrong before it is made: many at once gain nothing. Too early: `TooManyTries`.

        `account`: a name that exists, or "" for any other, so that made-up names take no memory.
        """
        now = self._clock()
        with self._lock:
            guesser = self._guessers.setdefault(network_of(address), _Guesser())
            if now - guesser.last > FORGET_S:
                guesser.wrong = {}
            wait_s = guesser.free_at() - now
            if wait_s > 0:
                raise TooManyTries(
                    f"too many wrong tries from this address; try again in {math.ceil(wait_s)} s",
                    wait_s=wait_s,
                )
            guesser.wrong[account] = guesser.wrong.get(account, 0) + 1
            guesser.last = now
            self._guessers.move_to_end(network_of(address))
            while len(self._guessers) > MOST_ADDRESSES:
                self._guessers.popitem(last=False)

    def succeeded(self, address: str, account: str = "") -> None:
        """The try was right: this address begins anew with this account, and with no other."""
        network = network_of(address)
        with self._lock:
            if guesser := self._guessers.get(network):
                guesser.wrong.pop(account, None)
                if not guesser.wrong:
                    del self._guessers[network]

    def take_back(self, address: str, account: str = "") -> None:
        """The try was not made, or says nothing of those before it: it alone does not count."""
        network = network_of(address)
        with self._lock:
            guesser = self._guessers.get(network)
            if guesser and guesser.wrong.get(account):
                guesser.wrong[account] -= 1


class Rates:
    """A bucket of requests per address that fills again: bursts are fine, floods are not."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._room = per_s, 4 * per_s
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """One request of this address; raises `TooManyTries` when its bucket is empty."""
        now, network = self._clock(), network_of(address)
        with self._lock:
            left, since = self._buckets.pop(network, (self._room, now))
            left = min(self._room, left + (now - since) * self._per_s)
            self._buckets[network] = (left - 1.0 if left >= 1.0 else left, now)
            if len(self._buckets) > MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        if left < 1.0:
            raise TooManyTries(
                f"more than {self._per_s:g} requests a second from this address; ask less often",
                wait_s=(1.0 - left) / self._per_s,
            )
