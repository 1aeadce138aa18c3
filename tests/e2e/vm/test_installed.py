"""An installed device on its own kernel, to test what a container cannot of the service's sandbox.

The kernel's limits of memory and addresses, the watchdog for a stopped process, and the virtual camera, all
with the unit that `setup.sh install` installs from a signed bundle. The tests go from top to bottom.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.vm.guest import Guest, until
from tests.e2e.vm.image import Image
from tests.e2e.vm.installed import UNIT, bundle_disk, install, prepare
from tests.e2e.vm.product import Daemon

GROUP = f"/sys/fs/cgroup/system.slice/{UNIT}"
OUTSIDE = "198.51.100.7"
"""An unassigned address (RFC 5737), outside of every local network."""
LIMIT_S = 900.0

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def guest(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with a camera and a bundle; every packet is captured, starting before the installation."""
    disk = bundle_disk(tmp_path_factory.mktemp("share"))
    with Guest(image, [disk], memory="2048") as one:
        prepare(one)
        one.run("systemd-run --quiet --unit=capture tcpdump -i eth0 -U -w /run/packets")
        yield one
    disk.unlink()


@pytest.fixture(scope="module")
def daemon(guest: Guest) -> Daemon:
    """The installed service."""
    print(install(guest))
    return Daemon(guest, 443, tls=True)


def show(guest: Guest, key: str) -> str:
    return guest.run(f"systemctl show --value -p {key} {UNIT}")


def in_the_service(script: str) -> str:
    """A shell line that runs a script in the service's control group, under its limits."""
    return f"sh -c 'echo $$ >{GROUP}/cgroup.procs && {script}'"


def wait_active_again(guest: Guest, restarts: int) -> None:
    def again() -> bool:
        return int(show(guest, "NRestarts")) > restarts and show(guest, "ActiveState") == "active"

    until(again, LIMIT_S, "the service was started again")


def test_the_sandboxed_service_reads_the_kernel_camera(daemon: Daemon, guest: Guest) -> None:
    assert show(guest, "ActiveState") == "active"
    assert daemon.get("/api/state")["camera"]["state"] == "closed"
    daemon.agree()
    daemon.wait_camera("open", LIMIT_S)
    daemon.wait_frames(5, LIMIT_S)
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
    daemon.wait_camera("lost", LIMIT_S)
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind && udevadm settle")
    daemon.wait_camera("open", LIMIT_S)
    daemon.wait_frames(5, LIMIT_S)
    daemon.post("/api/session/stop")


def test_the_kernel_keeps_packets_of_the_service_in_the_local_networks(daemon: Daemon, guest: Guest) -> None:
    send = f'import socket; socket.socket(2, 2).sendto(b"x", ("{OUTSIDE}", 9))'
    guest.run(f"python3 -c '{send}'")
    refused = guest.run(
        in_the_service(f'python3 -c "{send.replace(chr(34), chr(92) + chr(34))}" 2>&1 || true')
    )
    assert "Operation not permitted" in refused, refused
    guest.run("sleep 2")
    sent = packets(guest, f"dst host {OUTSIDE}")
    assert len(sent) == 1, "only the one from outside of the service is on the wire: " + "\n".join(sent)


def test_it_makes_no_outside_connection_and_no_dns_query(daemon: Daemon, guest: Guest) -> None:
    assert packets(guest, "tcp dst port 22"), "the capture has at least this connection"
    local = "dst net 10.0.0.0/8 or dst net 224.0.0.0/4 or dst host 255.255.255.255"
    outside = packets(guest, f"ip and not ({local}) and not dst host {OUTSIDE}")
    assert outside == []
    assert packets(guest, "ip6 and not (dst net fe80::/10 or dst net ff00::/8)") == []
    assert packets(guest, "port 53") == []


def packets(guest: Guest, which: str) -> list[str]:
    """One line for each captured packet that matches a filter."""
    return guest.run(f"tcpdump -nn -r /run/packets '{which}' 2>/dev/null").splitlines()


def test_a_stopped_process_is_found_by_the_watchdog_and_restarted(daemon: Daemon, guest: Guest) -> None:
    restarts = int(show(guest, "NRestarts"))
    guest.run(f"kill -STOP {show(guest, 'MainPID')}")
    wait_active_again(guest, restarts)
    assert "watchdog" in guest.run(f"journalctl -u {UNIT} --no-pager -o cat | grep -i watchdog").lower()
    until(lambda: daemon.request("/healthz")[0] == 200, LIMIT_S, "healthy again")


def test_memory_beyond_the_limit_is_refused_by_the_kernel(daemon: Daemon, guest: Guest) -> None:
    limit = int(guest.run(f"cat {GROUP}/memory.max"))
    assert limit == int(show(guest, "MemoryMax")) < 2**30
    restarts = int(show(guest, "NRestarts"))
    # Above MemoryHigh the kernel only slows the process down, for hours, so that limit is removed.
    guest.run(f"systemctl set-property --runtime {UNIT} MemoryHigh=infinity")
    eat = f"x = []; [x.append(bytes([1]) * 2**20) for _ in range({limit // 2**20 + 256})]"
    guest.run(in_the_service(f'python3 -c "{eat}"'), check=False, limit_s=LIMIT_S)
    wait_active_again(guest, restarts)
    assert "oom-kill" in guest.run(f"journalctl -u {UNIT} --no-pager -o cat")
    until(lambda: daemon.request("/healthz")[0] == 200, LIMIT_S, "healthy again")
