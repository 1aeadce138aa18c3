"""The boards' processor on this PC: Python of a Debian for arm64, run by qemu's user mode.

The packages are only unpacked, and this machine's pip adds the wheels, so none of their programs runs before
the test does, and the kernel needs no support for them (binfmt_misc). It cannot test speed, the kernel or
cameras.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.e2e.device.booted import kept, mirror
from tests.e2e.device.bundles import PYTHONS, gathered, unpack_wheels
from tests.machine import ROOT

QEMU = "qemu-aarch64-static"
"""Debian's package: qemu-user-static."""

CPUS = {"Raspberry Pi 4": "cortex-a72", "Raspberry Pi 5": "cortex-a76"}
"""Board -> its processor. Never qemu's default, which no board has: with qemu 7.2, numpy multiplied by a
transposed matrix wrongly on it, and correctly on these."""

_MACHINE = "aarch64"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
_PACKAGES = "base-files,python3,libstdc++6"

_INSIDE = """set -e
root=$1 site=$2 share=$3 qemu=$4; shift 4
mount --bind "$site" "$root/opt/site"
mount --bind "$share" "$root/mnt"
mount --bind "$qemu" "$root/opt/qemu"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" /opt/qemu /usr/bin/python3 "$@"
"""
"""Run in its own mount namespace, so that nothing stays mounted."""


def lacking() -> str:
    """Why nothing can be run for arm64 here, "" if it can."""
    if os.geteuid() != 0:
        return "not root"
    tools = {"mmdebstrap": "mmdebstrap", QEMU: "qemu-user-static"}
    absent = [package for command, package in tools.items() if shutil.which(command) is None]
    if absent:
        return f"not installed: {' '.join(absent)}"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "this root may not unshare" if done.returncode else ""


class Arm64:
    """Python of a Debian with this checkout's wheels. Folder `share` appears as /mnt, the appliance in it.

    The system and the third-party wheels are kept in the cache, with the bytecode of the first run.
    """

    def __init__(self, suite: str, share: Path) -> None:
        self._share = share
        wheels = gathered(PYTHONS[suite], _MACHINE)
        self._root = kept(f"{suite}-arm64-{_digest(_PACKAGES)}", partial(_unpack_system, suite))
        others = [wheel for wheel in wheels.glob("*.whl") if not wheel.name.startswith("interview_grader-")]
        self._site = kept(f"site-{wheels.name}", partial(unpack_wheels, others, _MACHINE, PYTHONS[suite]))
        (share / "own").mkdir()
        _must(*_PIP, "install", "--quiet", "--no-deps", "--no-compile", "--target", f"{share}/own", str(ROOT))

    def run(self, cpu: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments on this processor; it sees nothing else of this machine."""
        qemu = shutil.which(QEMU)
        assert qemu is not None
        places = [str(self._root), str(self._site), str(self._share), qemu]
        environment = {
            "QEMU_CPU": cpu,
            "PYTHONPATH": "/mnt/own:/opt/site",
            "HOME": "/tmp",
            "LC_ALL": "C.UTF-8",
        }
        environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", _INSIDE, "sh", *places, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )


def _unpack_system(suite: str, into: Path) -> None:
    command = [
        "mmdebstrap",
        "--quiet",
        "--architectures=arm64",
        "--variant=extract",
        f"--include={_PACKAGES}",
    ]
    # If base-files is older than trixie's, a hook makes /lib and the like links.
    hooks = ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"] if suite == "bookworm" else []
    _must(*command, *hooks, "--dpkgopt=path-exclude=/usr/share/man/*", suite, str(into), *mirror())
    for folder in ("proc", "mnt", "opt/site"):
        (into / folder).mkdir(parents=True, exist_ok=True)
    (into / "opt/qemu").touch()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
