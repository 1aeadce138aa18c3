"""The device that `setup.sh install` makes in the machine from a signed bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.device.bundles import make_whole_bundle
from tests.e2e.vm.guest import Guest
from tests.e2e.vm.image import SUITE, disk_of
from tests.machine import ROOT

UNIT = "interview-grader.service"
GAVE_UP = "interview-grader-gave-up.service"
OWNERS = "/etc/interview-grader/config.d"
WISH = """[camera]
backend = "usb"
width = 640
height = 360
[engine]
backend = "tflite"
[lawful]
region = "other"
purpose = "practice"
"""
"""With a chosen engine: measuring all of them takes too long on an emulated processor."""

INSTALL = "/share/checkout/setup.sh install --offline /share/bundle --signers /share/signers"


def bundle_disk(folder: Path) -> Path:
    """A disk with a bundle of this checkout, its installer, and the other files in `folder`."""
    put_bundle(folder)
    return as_disk(folder)


def put_bundle(folder: Path) -> None:
    """Put a bundle of this checkout, its key and signers, and its installer into `folder`."""
    make_whole_bundle(SUITE, folder).rename(folder / "bundle")
    for name in ("provisioning", "systemd"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "checkout" / name, ignore=ignored)
    shutil.copy2(ROOT / "setup.sh", folder / "checkout")


def as_disk(folder: Path) -> Path:
    """A disk with the files in `folder`."""
    disk = folder.with_suffix(".img")
    disk_of(folder, disk, "1G")
    return disk


LOCAL = '[access]\nloopback = "operator"\n'
"""The tests reach the device through a tunnel to its loopback, and have no login."""


def prepare(guest: Guest, wish: str = WISH) -> None:
    """Switch the machine on, with that disk as /share, a camera, and the owner's settings."""
    guest.power_on()
    guest.run(f"mkdir -p /share {OWNERS} && mount -o ro /dev/vdb /share")
    guest.run(f"cat >{OWNERS}/test.toml", stdin=wish + LOCAL)
    guest.run("modprobe vivid n_devs=1 && udevadm settle")


def install(guest: Guest) -> str:
    """Run the installer; returns its output."""
    return guest.run(f"{INSTALL} 2>&1", limit_s=3600)
