"""The addresses of this device's interfaces, as the kernel lists them: without a route or a name look-up."""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

INET6 = Path("/proc/net/if_inet6")
_SIOCGIFCONF = 0x8912
_IFREQ = struct.Struct("=16sH2x4s16x")  # netdevice(7): name, family, IPv4 address
_IFCONF = struct.Struct("@iP")
_MOST = 256

_SCOPE_GLOBAL, _UNSTEADY = 0x00, 0x01 | 0x08 | 0x20 | 0x40
"""Scope and flags in `if_inet6`. Unsteady: temporary (RFC 8981), failed, deprecated, tentative."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def own_addresses(inet6: Path = INET6) -> list[Address]:
    """Loopback, every IPv4 address, and the steady IPv6 addresses that others can use without a zone.

    `inet6`: the kernel's list of IPv6 addresses.
    """
    found: list[Address] = [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")]
    with contextlib.suppress(OSError):
        found.extend(_ipv4())
    with contextlib.suppress(OSError):
        found.extend(_ipv6(inet6))
    return list(dict.fromkeys(found))


def _ipv4() -> Iterator[ipaddress.IPv4Address]:
    room = array.array("B", bytes(_MOST * _IFREQ.size))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = _IFCONF.pack(len(room), room.buffer_info()[0])
        length, _ = _IFCONF.unpack(fcntl.ioctl(sock, _SIOCGIFCONF, asked))
    for _name, family, address in _IFREQ.iter_unpack(room.tobytes()[:length]):
        if family == socket.AF_INET:
            yield ipaddress.IPv4Address(address)


def _ipv6(listed: Path) -> Iterator[ipaddress.IPv6Address]:
    for line in listed.read_text(encoding="ascii").splitlines():
        address, _index, _prefix, scope, flags, _name = line.split()
        if int(scope, 16) == _SCOPE_GLOBAL and not int(flags, 16) & _UNSTEADY:
            yield ipaddress.IPv6Address(int(address, 16))
