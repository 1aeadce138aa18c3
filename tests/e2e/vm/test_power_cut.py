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


def test_the_drive_loses_what_it_was_not_asked_to_flush(tmp_path: Path) -> None:
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
    assert 0 < kept < 128, "a random part, not all"


@pytest.mark.timeout(900 + 600 * CUTS)
def test_power_cuts_while_recording(image: Image, product_disk: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    (tmp_path / "empty").mkdir()
    disk = tmp_path / "data.img"
    disk_of(tmp_path / "empty", disk, "512M")
    reported: dict[str, Reported] = {}
    lost = []
    with Drive(disk, tmp_path) as drive, Guest(image, [product_disk, drive], start=BARE) as guest:
        for cut in range(CUTS):
            daemon = _start(guest, drive, cut, reported)
            _record(daemon, reported, chance.randint(2, 6), chance.uniform(0, 2))
            if cut % 2:
                _wait_for_a_write(drive)
            lost.append(drive.cut_power())
            guest.cut_power()
            print(f"cut {cut + 1} of {CUTS}, sectors lost: {lost[-1]}", end="", flush=True)
        _start(guest, drive, CUTS, reported)
    assert CUTS < 2 or any(lost), "no cut happened while the drive had unwritten data"


def _wait_for_a_write(drive: Drive) -> None:
    """Wait until the drive has unwritten data: a short moment during a commit."""
    end = time.monotonic() + LIMIT_S
    while not drive.holds():
        assert time.monotonic() < end, "nothing was written"


@dataclass
class Reported:
    """What the device reported about a recording before the cut, and how long it had been recording."""

    seconds: int
    elapsed_s: float


def _start(guest: Guest, drive: Drive, cut: int, reported: dict[str, Reported]) -> Daemon:
    """Switch on, check the files after the previous cut, and start the daemon with them."""
    drive.power_on(seed=cut)
    guest.power_on()
    if reported:
        _judge_files(guest)
    daemon = start_daemon(guest, f"--camera replay:{CLIP}")
    _judge_sessions(daemon, reported)
    return daemon


def _record(daemon: Daemon, reported: dict[str, Reported], seconds: int, more: float) -> None:
    """Start with the notice, record some seconds, then a little longer, so that a cut can come at any moment.

    Keeps what the device reports as kept.
    """
    daemon.agree()
    daemon.post("/api/session/record", {})
    [id] = [each["id"] for each in daemon.get("/api/sessions")["sessions"] if each["ended"] is None]

    def kept() -> int:
        one = next(each for each in daemon.get("/api/sessions")["sessions"] if each["id"] == id)
        reported[id] = Reported(one["seconds"], daemon.heard - unix(one["recorded"]))
        return reported[id].seconds

    until(lambda: kept() >= seconds, LIMIT_S, f"{seconds} seconds are recorded")
    end = time.monotonic() + more
    while time.monotonic() < end:
        kept()


def unix(text: str) -> float:
    """Unix seconds of a time as the device writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _judge_sessions(daemon: Daemon, reported: dict[str, Reported]) -> None:
    """Each ended with the cut, at its last row, with every reported second and all but the last ones."""
    sessions = {each["id"]: each for each in daemon.get("/api/sessions")["sessions"]}
    assert sorted(sessions) == sorted(reported)
    for id, before in list(reported.items())[-1:]:
        kept = sessions[id]["seconds"]
        print(f"  reported {before.seconds} of {before.elapsed_s:.0f} s, kept {kept}", flush=True)
    for id, before in reported.items():
        one = sessions[id]
        assert one["ending"] == "power", one
        assert one["seconds"] >= before.seconds, (one, before)
        # The current second, the one being handed over, and one for rounding to seconds.
        assert one["seconds"] >= before.elapsed_s - 3, (one, before)
        assert unix(one["ended"]) == pytest.approx(unix(one["recorded"]) + one["seconds"], abs=0.01), one


def _judge_files(guest: Guest) -> None:
    """SQLite finds no damage, and the audit chain is valid. Checks a copy: the product gets the original."""
    guest.run(f"rm -rf /tmp/look && cp -a {STATE} /tmp/look")
    ask = "sqlite3.connect('/tmp/look/records.db').execute('pragma integrity_check')"
    assert guest.run(f'python3 -c "import sqlite3; print(*{ask})"') == "('ok',)"
    guest.run(command("audit", "verify", "--data-dir", "/tmp/look"))
