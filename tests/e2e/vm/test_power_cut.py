"""A power cut while the device records: everything it reported as kept exists, and the next start is clean.

`kill -9` of the daemon shows little: the kernel continues and writes what it was given. So the machine is
killed, which loses its memory, and its drive is killed too, which loses all that was not flushed except for a
random part (`drive.py`). `CUTS` is the number of cuts, 10 by default; each uses what the cuts before left.

Every other cut waits for a moment at which the drive holds something back, so it falls in the middle of a
commit. The others come at any time. Before each cut the machine reports over HTTP what it has kept. After it,
SQLite's `integrity_check` succeeds (on a copy, before the daemon has opened the file), `audit verify`
succeeds, every reported second exists, no second is missing except the one in progress and the one being
handed over, and the session has ended with "power" and the date of its last row.

Seen on 2026-11-25: ten cuts, of which the five timed ones hit the drive with 16 to 38 sectors in its cache.
Every reported second was kept, every start clean. With `synchronous=OFF` in the store, the first cut loses
the complete session, and the test fails.

Not shown: drives that lie about a flush, or that damage other sectors while they lose power, as cheap cards
can. No software helps against those except setting a damaged file aside (decision 13).
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.vm.guest import Drive, Guest, until
from tests.e2e.vm.image import Image, disk_of, must
from tests.e2e.vm.product import BARE, CLIP, STATE, Daemon, command, start_daemon

LIMIT_S = 600.0
CUTS = int(os.environ.get("CUTS", "10"))


def test_the_drive_loses_what_it_was_not_told_to_flush(tmp_path: Path) -> None:
    disk, sector = tmp_path / "disk.img", 512
    must("truncate", "-s", "1M", disk)
    drive = Drive(disk, tmp_path)
    drive.power_on(seed=1)
    words = ["write -P 1 0 64k", "flush", "write -P 2 64k 64k", "read -P 2 64k 64k", "sigraise 9"]
    client = ["qemu-io", "-f", "raw", "-t", "none", f"nbd+unix:///?socket={drive.socket}"]
    done = subprocess.run(
        [*client, *(each for word in words for each in ("-c", word))],
        capture_output=True,
        text=True,
        check=False,
    )
    lost = drive.cut_power()
    content = disk.read_bytes()
    assert "Pattern verification failed" not in done.stdout, "what was written is read back before the cut"
    assert content[: 128 * sector] == b"\x01" * 128 * sector
    kept = sum(content[at] == 2 for at in range(128 * sector, 256 * sector, sector))
    assert kept + lost == 128
    assert 0 < kept < 128, "some by chance, not all"


@pytest.mark.timeout(900 + 600 * CUTS)
def test_the_power_goes_while_recording(image: Image, product_disk: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    (tmp_path / "empty").mkdir()
    disk = tmp_path / "data.img"
    disk_of(tmp_path / "empty", disk, "512M")
    told: dict[str, Told] = {}
    lost = []
    with Drive(disk, tmp_path) as drive, Guest(image, [product_disk, drive], start=BARE) as guest:
        for cut in range(CUTS):
            daemon = _start(guest, drive, cut, told)
            _record(daemon, told, chance.randint(2, 6), chance.uniform(0, 2))
            if cut % 2:
                _wait_for_a_write(drive)
            lost.append(drive.cut_power())
            guest.cut_power()
            print(f"cut {cut + 1} of {CUTS}, sectors lost: {lost[-1]}", end="", flush=True)
        _start(guest, drive, CUTS, told)
    assert CUTS < 2 or any(lost), "no cut hit the drive while it held anything back"


def _wait_for_a_write(drive: Drive) -> None:
    """Until the drive holds something back: a moment, in the midst of a commit."""
    end = time.monotonic() + LIMIT_S
    while not drive.holds():
        assert time.monotonic() < end, "nothing was written"


@dataclass
class Told:
    """What the device said of a recording before the cut, and how long it was recording then."""

    seconds: int
    lived: float


def _start(guest: Guest, drive: Drive, cut: int, told: dict[str, Told]) -> Daemon:
    """Switch on, look at what the cut before left, and start the daemon on it."""
    drive.power_on(seed=cut)
    guest.power_on()
    if told:
        _judge_files(guest)
    daemon = start_daemon(guest, f"--camera replay:{CLIP}")
    _judge_sessions(daemon, told)
    return daemon


def _record(daemon: Daemon, told: dict[str, Told], seconds: int, more: float) -> None:
    """Start with the notice, record so many seconds, then a little more, so that any moment may be the cut.

    Notes what the device says that it has kept.
    """
    daemon.agree()
    daemon.post("/api/session/record", {})
    [id] = [each["id"] for each in daemon.get("/api/sessions")["sessions"] if each["ended"] is None]

    def kept() -> int:
        one = next(each for each in daemon.get("/api/sessions")["sessions"] if each["id"] == id)
        told[id] = Told(one["seconds"], daemon.heard - unix(one["recorded"]))
        return told[id].seconds

    until(lambda: kept() >= seconds, LIMIT_S, f"{seconds} seconds are recorded")
    end = time.monotonic() + more
    while time.monotonic() < end:
        kept()


def unix(text: str) -> float:
    """Unix seconds of a time as the device writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _judge_sessions(daemon: Daemon, told: dict[str, Told]) -> None:
    """Each ended by the cut, at its last row, with every second that was told and all but the last one."""
    sessions = {each["id"]: each for each in daemon.get("/api/sessions")["sessions"]}
    assert sorted(sessions) == sorted(told)
    for id, before in list(told.items())[-1:]:
        print(f"  told {before.seconds} of {before.lived:.0f} s, kept {sessions[id]['seconds']}", flush=True)
    for id, before in told.items():
        one = sessions[id]
        assert one["ending"] == "power", one
        assert one["seconds"] >= before.seconds, (one, before)
        # The one under way, the one being handed over, and one for two times that are whole seconds.
        assert one["seconds"] >= before.lived - 3, (one, before)
        assert unix(one["ended"]) == pytest.approx(unix(one["recorded"]) + one["seconds"], abs=0.01), one


def _judge_files(guest: Guest) -> None:
    """SQLite finds it sound, the audit chain holds. Asked of a copy: the product meets what the cut left."""
    guest.run(f"rm -rf /tmp/look && cp -a {STATE} /tmp/look")
    ask = "sqlite3.connect('/tmp/look/records.db').execute('pragma integrity_check')"
    assert guest.run(f'python3 -c "import sqlite3; print(*{ask})"') == "('ok',)"
    guest.run(command("audit", "verify", "--data-dir", "/tmp/look"))
