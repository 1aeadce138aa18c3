"""The unit tests on Python 3.13, in a Debian 13: the Python of Raspberry Pi OS trixie."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.e2e.device import booted
from tests.e2e.device.bundles import LIBRARIES, libraries, libraries_of_tests
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(900)

SUITE = "trixie"
LEFT_OUT = (
    "tests/unit/architecture",
    "tests/unit/models",
    "tests/unit/provisioning/test_manual.py",
    "tests/unit/provisioning/test_release_tag.py",
)
"""They check files of the checkout, or need Git or packages of other locks; none of it runs on a device."""

_INSIDE = """set -e
layers=$1 checkout=$2; shift 2
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$layers,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
cd /mnt/root
mkdir checkout
mount --bind "$checkout" checkout
mount -o remount,bind,ro checkout
mount -t tmpfs tmpfs tmp
mount -t proc proc proc
mount --rbind /dev dev
exec chroot . sh -c 'cd /checkout && exec "$@"' sh "$@"
"""
"""Run in namespaces of its own: nothing stays mounted, no process stays, and the checkout is read-only."""


def test_the_units_pass_on_the_python_of_trixie() -> None:
    if reason := booted.lacking():
        pytest.skip(f"no device can be booted: {reason}")
    layers = [libraries_of_tests(SUITE), libraries(SUITE), booted.base_system(SUITE)]  # the topmost first
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", *(f"--ignore={each}" for each in LEFT_OUT)]
    command = ["python3", "-m", "pytest", *options, "tests/unit"]
    places = [":".join(map(str, layers)), str(ROOT)]
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": LIBRARIES,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DEBUG_TEMPROOT": "/tmp",
        "HOME": "/tmp",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            _INSIDE,
            "sh",
            *places,
            *command,
        ],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 1000, done.stdout[-500:]
