"""Gathering the wheels of a release, for this machine or another; where bundles are made, not on a device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from device.faults import BundleError, told
from device.releases import RUNTIMES

GLIBC = {"3.10": 35, "3.11": 36, "3.12": 39, "3.13": 41, "3.14": 41}
"""Python -> the glibc (2.x) of the system that has it: Ubuntu 22.04, Debian 12, Ubuntu 24.04, Debian 13."""

NUMPY = {"3.10": "1", "3.11": "1", "3.12": "1", "3.13": "2"}
"""Python -> major version of that system's numpy, for which its camera packages are compiled."""

JETSON = ("aarch64", "3.10")
"""Machine and Python of JetPack 6."""

_FOR_JETSON = "cuda-python>=12.6,<13"
"""What TensorRT's own package, which JetPack brings, does not: copying to and from the GPU."""

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def gather(checkout: Path, into: Path, *, arch: str, python: str) -> str:
    """Put the appliance's wheel and those of all that it needs into an empty folder; raises `BundleError`.

    `arch` as `uname -m` says, `python` as in "3.11". Returns which runtime it has: ai-edge-litert where there
    is a wheel of it, else tflite-runtime.
    """
    if python not in GLIBC:
        raise BundleError(f"Python {python}: expected one of {', '.join(GLIBC)}")
    own = make_wheel(checkout, into)
    where = platform_options(arch, python)
    pins = [f"numpy=={NUMPY[python]}.*"] if python in NUMPY else []
    failures = []
    for extra in RUNTIMES:
        try:
            _download(into, where, [f"{own}[{extra}]", *pins])
            if (arch, python) == JETSON:
                _download(into, where, [_FOR_JETSON, *pins])
            _add_missing(into, where, pins, python, arch, extra)
            return extra
        except BundleError as error:
            failures.append(f"with {extra}: {error}")
            for wheel in into.glob("*.whl"):
                if wheel != own:
                    wheel.unlink()
    raise BundleError("; ".join(failures))


def make_wheel(checkout: Path, into: Path) -> Path:
    """The appliance's own wheel, made into a folder that has none yet; raises `BundleError`."""
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(into), str(checkout))
    (own,) = into.glob("interview_grader-*.whl")
    return own


def platform_options(arch: str, python: str) -> list[str]:
    """What tells pip to choose wheels for this machine and Python instead of its own."""
    platforms = [f"manylinux_2_{minor}_{arch}" for minor in range(GLIBC[python], 4, -1)]
    named = [f"--platform={each}" for each in (*platforms, f"manylinux2014_{arch}")]
    return [*named, f"--python-version={python}", "--implementation=cp"]


def _download(into: Path, where: list[str], requirements: list[str]) -> None:
    _pip("download", "--quiet", "--only-binary=:all:", *where, "--dest", str(into), *requirements)


def _add_missing(into: Path, where: list[str], pins: list[str], python: str, arch: str, extra: str) -> None:
    """pip asks the markers of the Python it runs on: add what only the other Python or machine needs."""
    program = Path(__file__).with_name("unmet.py")
    while True:
        done = subprocess.run(
            [sys.executable, str(program), str(into), python, arch, extra],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BundleError(f"the wheels' requirements cannot be read ({told(done.stderr)})")
        unmet = done.stdout.split("\n")[:-1]
        if not unmet:
            return
        _download(into, where, [*unmet, *pins])


def _pip(*arguments: str) -> None:
    done = subprocess.run([*_PIP, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"pip {arguments[0]} failed ({told(done.stderr or done.stdout)})")
