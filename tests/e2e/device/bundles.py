"""Signed bundles of this checkout for the tests; third-party wheels are kept in the cache between runs.

A complete bundle has every library and takes half a minute to install. A small one has the appliance only,
for a device that already has the libraries, and takes seconds.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from device.bundle import container, manual, signing, wheels
from device.bundle.own_wheel import LOCKS, make_wheel

import appliance
from tests.e2e.device.booted import base_system, kept
from tests.fakes import releases
from tests.machine import ROOT

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""Suite -> its Python."""

LIBRARIES = "/srv/libraries"
"""Where a device for small bundles has the libraries of the appliance."""

_NOT_FOR_UNITS = {"mypy", "playwright", "ruff", "uv"}
"""Packages of the lock `test` that no unit test imports; they are the largest."""

_MACHINE = "x86_64"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def make_whole_bundle(suite: str, into: Path) -> Path:
    """A bundle with all libraries for a device of this suite in folder `into`, and `key` and `signers`."""
    key = _make_key(into)
    with tempfile.TemporaryDirectory() as folder:
        own, pages = Path(folder, "wheels"), Path(folder, "manual")
        _copy_libraries(gathered(PYTHONS[suite]), own)
        make_wheel(sys.executable, ROOT, own)
        manual.make(pages)
        return container.build(
            ROOT, into, arch=_MACHINE, python=PYTHONS[suite], wheels=own, key=key, manual_folder=pages
        )


def make_small_bundle(suite: str, into: Path) -> Path:
    """The same without libraries, for a device of which `libraries` is a layer."""
    key = _make_key(into)
    return releases.make_bundle(into, key, appliance.__version__, libraries=LIBRARIES, python=PYTHONS[suite])


def libraries(suite: str) -> Path:
    """A layer of a device: the libraries of the appliance as `LIBRARIES`, unpacked and compiled."""
    found = gathered(PYTHONS[suite])
    return kept(f"libraries-{found.name}", partial(_make_layer, suite, found))


def libraries_of_tests(suite: str) -> Path:
    """A further layer of the same folder: what the tests need, but for what only checks and browsers do."""
    python = PYTHONS[suite]
    wanted = wheels.pins(ROOT / LOCKS / "test.txt", _MACHINE, python)
    lines = "".join(f"{line}\n" for name, line in sorted(wanted.items()) if name not in _NOT_FOR_UNITS)
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    return kept(f"test-libraries-{python}-{digest}", partial(_make_test_layer, suite, lines))


def gathered(python: str, machine: str = _MACHINE) -> Path:
    """A folder with every wheel that this checkout needs, made again when the locks change."""
    how = [ROOT / "provisioning/device/bundle/wheels.py", *sorted((ROOT / LOCKS).glob("*.txt"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in how)).hexdigest()[:12]

    def gather(into: Path) -> None:
        into.mkdir()
        wheels.gather(ROOT, into, arch=machine, python=python)

    return kept(f"wheels-{python}-{machine}-{digest}", gather)


def unpack_wheels(found: list[Path], machine: str, python: str, into: Path) -> None:
    """Unpack these wheels into a folder, as for this machine and Python."""
    # These wheels were chosen for this platform and Python; here pip would check them against its own.
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--only-binary=:all:"]
    options += ["--ignore-requires-python", f"--target={into}", *wheels.platform_options(machine, python)]
    done = subprocess.run(
        [*_PIP, "install", *options, *map(str, found)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _make_key(into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    key = releases.make_key(into)
    (into / "signers").write_text(signing.public_line(key))
    return key


def _copy_libraries(found: Path, into: Path) -> None:
    """Link the third-party wheels, including `numpy2/`."""
    for wheel in found.rglob("*.whl"):
        if not wheel.name.startswith("interview_grader-"):
            place = into / wheel.relative_to(found)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(wheel)


def _make_layer(suite: str, found: Path, into: Path) -> None:
    # The wheels in numpy2/ come last, and replace those for numpy 1.
    newest = {path.name.split("-")[0]: path for path in (*found.glob("*.whl"), *found.glob("numpy2/*.whl"))}
    del newest["interview_grader"]
    _unpack_layer(suite, [*newest.values()], into)


def _make_test_layer(suite: str, lines: str, into: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(lines)
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", folder]
        options += [*wheels.platform_options(_MACHINE, PYTHONS[suite]), "-r", str(wanted)]
        done = subprocess.run([*_PIP, "download", *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        _unpack_layer(suite, sorted(Path(folder).glob("*.whl")), into)


def _unpack_layer(suite: str, found: list[Path], into: Path) -> None:
    unpack_wheels(found, _MACHINE, PYTHONS[suite], into / LIBRARIES.lstrip("/"))
    # With the Python that will load them; some libraries contain files that are not Python.
    inside = 'mount --bind "$1/srv" "$2/srv" && chroot "$2" python3 -m compileall -q /srv || true'
    command = ["unshare", "--mount", "sh", "-ec", inside, "sh", str(into), str(base_system(suite))]
    subprocess.run(command, capture_output=True, check=True)
