"""The addresses of the interfaces, compared with what the kernel says elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.system.interfaces import own_addresses
from tests.machine import ROOT, has_own_network

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
    found = {str(each) for each in own_addresses(tmp_path / "none") if each.version == 4}
    assert found == {"127.0.0.1", *known}


def test_of_ipv6_only_lasting_addresses_count(tmp_path: Path) -> None:
    listed = tmp_path / "if_inet6"
    listed.write_text(INET6)
    found = [str(each) for each in own_addresses(listed) if each.version == 6]
    assert found == ["::1", "fd00::1", "2001:db8::3"]


@pytest.mark.skipif(not has_own_network(), reason="no right to a network")
def test_addresses_are_found_as_they_come_without_a_default_route() -> None:
    program = """
import subprocess
from appliance.system.interfaces import own_addresses
print(*own_addresses())
for command in (
    "link set lo up",
    "address add 192.0.2.5/24 dev lo",
    "address add 198.51.100.5/24 dev lo",
    "address add fd00::5/64 dev lo nodad",
):
    subprocess.run(["ip", *command.split()], check=True)
print(*own_addresses())
"""
    command = ["unshare", "--net", sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, _, then = done.stdout.rstrip().partition("\n")
    assert first == "127.0.0.1 ::1", done.stderr
    assert then == "127.0.0.1 ::1 192.0.2.5 198.51.100.5 fd00::5", done.stderr
