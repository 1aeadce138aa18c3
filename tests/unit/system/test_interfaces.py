"""The addresses of the interfaces, compared with what the kernel says elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.system.interfaces import own_addresses

INET6 = """\
fd000000000000000000000000000001 02 40 00 80   eth0
fd000000000000000000000000000002 02 40 00 01   eth0
20010db8000000000000000000000003 02 40 00 00   eth0
20010db8000000000000000000000004 02 40 00 20   eth0
20010db8000000000000000000000005 02 40 00 40   eth0
20010db8000000000000000000000006 02 40 00 c8   eth0
fe800000000000000000000000000007 02 40 20 80   eth0
00000000000000000000000000000001 01 80 10 80       lo
"""
"""Permanent, temporary, lasting, deprecated, tentative, failed, of the link, loopback."""


def test_every_ipv4_address_of_this_machine_is_found(tmp_path: Path) -> None:
    routes = Path("/proc/net/fib_trie").read_text()
    known = set(re.findall(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", routes))
    assert {"127.0.0.1", *known} == {
        str(each) for each in own_addresses(tmp_path / "none") if each.version == 4
    }


def test_of_ipv6_only_lasting_addresses_count(tmp_path: Path) -> None:
    listed = tmp_path / "if_inet6"
    listed.write_text(INET6)
    found = [str(each) for each in own_addresses(listed) if each.version == 6]
    assert found == ["::1", "fd00::1", "2001:db8::3"]
