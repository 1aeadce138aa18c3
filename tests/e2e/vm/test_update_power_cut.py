"""Power cuts while a device is installed and updated: a complete version starts afterwards.

Killing the updater (`tests/e2e/device/test_updating.py`) shows that every step can be the last one. It does
not show that what a step has written is on the card when the next one relies on it, because the kernel
continues and writes it later. So the complete device is on the drive that keeps only what was flushed
(`drive.py`).

The first cut is in the middle of the installation; the next run must complete it, or begin again. The others
are at the steps `install`, `start` and `confirm`, and right after the updater has ended, one after the other
on one device. `UPDATE_CUTS="unpack install try …"` uses any of its steps. In `install`, which takes long, the
cut comes up to 20 s later. It always waits for the next moment at which the drive holds something back, if
there is one within 2 s.

After each cut of an update, of what starts automatically: the service is active and healthy, `current` leads
to the old version (to the new one from `tidy`), that version answers, no change is left over, every system
file is as that release has it, there is none of another release, and systemd has no failed unit.

The newer release is made by hand and borrows the libraries of the older one, as in all tests of updates. It
reads one picture of the demo clip instead of 42: an emulated processor would need more than the ten minutes
that the updater allows. For the same reason the device waits for consent: reading a picture takes this
processor longer than the watchdog of the vision worker allows, so the service would end repeatedly.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from device.update.transaction import STEPS

import appliance
from tests.e2e.vm.guest import Drive, Guest, until
from tests.e2e.vm.image import PYTHON, Image, must
from tests.e2e.vm.installed import INSTALL, UNIT, as_disk, install, prepare, put_bundle
from tests.e2e.vm.product import Daemon
from tests.fakes import releases as variants

OLD, NEW = appliance.__version__, "9.1.0"
OPT = "/opt/interview-grader"
WISH = """[camera]
backend = "demo"
needs_agreement = true
[engine]
backend = "tflite"
"""
"""Idle: an emulated processor needs longer for a picture of the demo clip than a worker may take."""

UPDATE = "/usr/local/sbin/interview-grader-update"
LIMIT_S = 1800.0

CUTS = tuple(os.environ.get("UPDATE_CUTS", "install start confirm done").split())
"""The updater's steps at which the power is cut, one after the other; "done": after the last one."""
_AFTER_S = {"installation": (30.0, 150.0), "install": (0.0, 20.0)}
"""The delay after its beginning, so that long steps are cut off in the middle. Emulated, the first takes four
minutes."""

STAYS = ("tidy", "done")
"""From here on the newer version stays."""

EDITS = {
    **variants.MIGRATES,
    "commands/update_hooks.py": variants.replaced("_FRAME_STEP = 10\n", "_FRAME_STEP = 1000\n"),
}
"""One frame of the demo clip: an emulated processor would need longer for all of it than an updater waits."""

_WATCH = f"""
import json, subprocess, sys, time

number, wanted, bundle = sys.argv[1:]
steps = {STEPS}
line = open("/dev/ttyS0", "w")
updater = subprocess.Popen(["{UPDATE}", bundle], stdout=line, stderr=line)
step = ""
while updater.poll() is None and (not step or wanted == "done" or steps.index(step) < steps.index(wanted)):
    time.sleep(0.01)
    try:
        step = json.load(open("{OPT}/changing.json"))["step"]
    except (OSError, ValueError):
        pass
print(f"cut {{number}} at {{step}}, exit code {{updater.poll()}}", file=line, flush=True)
updater.wait()
"""
"""Updates, and reports on the serial line when the updater is at a step, is past it, or has ended."""

_AS_RELEASED = f"""
import sys

sys.path.insert(0, "{OPT}/current/provisioning")
from device.system import board, release_files
from device.layout import Layout

layout = Layout()
files = release_files.all_files(layout, board.find_board().name, layout.current)
print(*(file.path for file in files if not file.is_current()), *release_files.stale_files(layout, files))
"""
"""The system files that differ from those of the current release."""

pytestmark = pytest.mark.timeout(3 * 3600)


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """A disk with the old release and the newer one."""
    folder = tmp_path / "share"
    folder.mkdir()
    put_bundle(folder)
    libraries = f"{OPT}/releases/{OLD}/venv/lib/python{PYTHON}/site-packages"
    more = {"system": variants.NEW_SYSTEM, "python": PYTHON}
    made = variants.make_bundle(tmp_path, folder / "key", NEW, EDITS, libraries, **more)
    made.rename(folder / NEW)
    disk = as_disk(folder)
    yield disk
    disk.unlink()


def test_power_cuts_while_it_is_installed_and_updated(image: Image, share: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    disk = tmp_path / "root.img"
    must("cp", "--sparse=always", image.disk, disk)
    with Drive(disk, tmp_path) as drive, Guest(image, [share], root=drive, memory="2048") as guest:
        drive.power_on(seed=0)
        prepare(guest, WISH)
        guest.run(f"systemd-run --quiet {INSTALL}")
        lost = [cut(drive, guest, "installation", chance)]
        drive.power_on(seed=1)
        prepare(guest, WISH)
        assert install(guest).endswith(("install: done", "as it should be")), "it is finished or repeated"
        guest.run("sync")
        for number, wanted in enumerate(CUTS):
            step = update_until(guest, number, wanted)
            lost.append(cut(drive, guest, step, chance))
            drive.power_on(seed=number + 2)
            guest.power_on()
            judge(guest, NEW if step in STAYS else OLD)
    assert any(lost), "no cut happened while the drive had unwritten data"


def cut(drive: Drive, guest: Guest, step: str, chance: random.Random) -> int:
    """Cut the power as soon as the drive has unwritten data, if that is soon; returns how much it lost."""
    time.sleep(chance.uniform(*_AFTER_S.get(step, (0.0, 1.0))))
    end = time.monotonic() + 2.0
    while not drive.holds() and time.monotonic() < end:
        time.sleep(0.001)
    lost = drive.cut_power()
    guest.cut_power()
    print(f"cut at {step}, the drive lost {lost} sectors", flush=True)
    return lost


def update_until(guest: Guest, number: int, wanted: str) -> str:
    """Begin the update, and wait until it is at a step, past it, or has ended; returns its step."""
    guest.run("mkdir -p /share && mountpoint -q /share || mount -o ro /dev/vdb /share")
    guest.run("cat >/run/watch.py", stdin=_WATCH)
    guest.run(f"systemd-run --quiet --unit=updating python3 /run/watch.py {number} {wanted} /share/{NEW}")

    def reported() -> list[tuple[str, str]]:
        return re.findall(rf"cut {number} at (\w*), exit code (\w+)\r?\n", guest.console())

    step, code = until(reported, LIMIT_S, f"the updater is at {wanted}")[0]
    assert code == "None" or (code == "0" and wanted in STAYS), guest.console()[-2000:]
    return step if code == "None" else "done"


def judge(guest: Guest, runs: str) -> None:
    """Check that this version answers with its own system files, and that no change is left over."""
    until(lambda: guest.run(f"systemctl is-active {UNIT}", check=False) == "active", LIMIT_S, "it is active")
    assert guest.run(f"readlink {OPT}/current") == f"releases/{runs}"
    assert guest.run("interview-grader --version").endswith(runs)
    assert Daemon(guest, 443, tls=True).get("/healthz")["status"] in ("ok", "idle")
    assert guest.run(f"ls {OPT}/changing.json", check=False) == ""
    assert guest.run("python3 -B -", stdin=_AS_RELEASED) == ""
    listed = guest.run(f"{UPDATE} list")
    assert f"* {runs}" in listed
    assert guest.run("systemctl --failed --no-legend") == ""
