"""Gathers the wheels of a release, for this machine or another. Runs where bundles are made."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from device.bundle.container import NUMPY_2
from device.bundle.own_wheel import LOCKS, make_wheel
from device.errors import BundleError, last_error

GLIBC = {"3.10": 35, "3.11": 36, "3.12": 39, "3.13": 41, "3.14": 41}
"""Python -> the glibc (2.x) of the system that has it: Ubuntu 22.04, Debian 12, Ubuntu 24.04, Debian 13."""

JETPACKS = {("aarch64", "3.10"): "jetpack6", ("aarch64", "3.12"): "jetpack7"}
"""Machine and Python of a JetPack -> the lock with what its TensorRT needs in addition."""

NUMPY_1_PYTHON = "3.11"
"""Python of the system whose camera packages are built against numpy 1: Raspberry Pi OS bookworm."""

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def gather(checkout: Path, into: Path, *, arch: str, python: str) -> None:
    """Put the appliance's wheel and those of the locks into an empty folder; raises `BundleError`.

    `arch` as `uname -m` prints it, `python` such as "3.11". For `NUMPY_1_PYTHON`, these are the wheels for a
    board whose camera packages need numpy 1; those for other boards go into the subfolder `numpy2`.
    """
    if python not in GLIBC:
        raise BundleError(f"Python {python}: expected one of {', '.join(GLIBC)}")
    make_wheel(sys.executable, checkout, into)

    def locked(name: str) -> dict[str, str]:
        return pins(checkout / LOCKS / f"{name}.txt", arch, python)

    wanted = locked("litert-numpy1" if python == NUMPY_1_PYTHON else "litert")
    if jetpack := JETPACKS.get((arch, python)):
        wanted |= locked(jetpack)
    _download(into, wanted, arch, python)
    if python == NUMPY_1_PYTHON:
        others = {name: line for name, line in locked("litert").items() if line != wanted.get(name)}
        _download(into / NUMPY_2, others, arch, python)


def pins(lock: Path, arch: str, python: str) -> dict[str, str]:
    """Name -> what a lock installs on this machine and Python, as a line without its marker.

    pip would evaluate markers for the Python it runs on.
    """
    from pip._vendor.packaging.requirements import Requirement  # pip is needed only where bundles are made

    about = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": arch,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = {}
    for line in lock.read_text("utf-8").replace("\\\n", "").splitlines():
        if line[:1].isalnum():
            words, *hashes = line.split(" --hash=")
            requirement = Requirement(words)
            if requirement.marker is None or requirement.marker.evaluate(about):
                plain = f"{requirement.name}{requirement.specifier}"
                found[requirement.name] = " --hash=".join([plain, *(each.strip() for each in hashes)])
    return found


def platform_options(arch: str, python: str) -> list[str]:
    """Options of pip for the wheels of this machine and Python, which may not be pip's own."""
    platforms = [f"manylinux_2_{minor}_{arch}" for minor in range(GLIBC[python], 4, -1)]
    named = [f"--platform={each}" for each in (*platforms, f"manylinux2014_{arch}")]
    return [*named, f"--python-version={python}", "--implementation=cp"]


def _download(into: Path, lines: dict[str, str], arch: str, python: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("".join(f"{line}\n" for line in lines.values()))
        requirements.flush()
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        where = [*platform_options(arch, python), "--dest", str(into), "-r", requirements.name]
        command = [*_PIP, "download", *options, *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"pip download failed ({last_error(done.stderr or done.stdout)})")
