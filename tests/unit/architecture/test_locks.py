"""The locks in requirements/ hold what pyproject.toml asks for, on every Python and both architectures."""

from __future__ import annotations

import functools
import re

import pytest
from device.bundle.wheels import GLIBC, pins
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.machine import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

FOLDER = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BASE, EXTRAS = PROJECT["project"]["dependencies"], PROJECT["project"]["optional-dependencies"]
ARCHITECTURES = ("x86_64", "aarch64")
WANTED = {
    "litert": [*BASE, *EXTRAS["litert"]],
    "litert-numpy1": [*BASE, *EXTRAS["litert-numpy1"]],
    "tflite-runtime": [*BASE, *EXTRAS["tflite-runtime"]],
    "jetpack6": EXTRAS["jetpack6"],
    "jetpack7": EXTRAS["jetpack7"],
    "test": [*EXTRAS["test"], *EXTRAS["dev"]],
    "manual": EXTRAS["manual"],
    "quantiser": [*EXTRAS["quantiser"], *EXTRAS["onnx"]],
    "docs": EXTRAS["docs"],
    "build": PROJECT["build-system"]["requires"],
}
"""Lock -> what it must satisfy."""

NUMPY_1 = ("3.10", "3.11", "3.12")
"""The last Pythons that numpy 1 has wheels for."""


@functools.cache
def versions(name: str, python: str, arch: str) -> dict[str, Version]:
    found = pins(FOLDER / f"{name}.txt", arch, python)
    return {package: Version(re.split("==| ", line)[1]) for package, line in found.items()}


@pytest.fixture(params=[(python, arch) for python in GLIBC for arch in ARCHITECTURES], ids="-".join)
def target(request) -> tuple[str, str]:
    return request.param


def test_there_is_a_lock_for_each_of_these_and_no_other():
    assert {path.stem for path in FOLDER.glob("*.txt")} == WANTED.keys()


@pytest.mark.parametrize("name", WANTED)
def test_every_line_is_pinned_with_hashes_and_names_no_index(name):
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    lines = [
        line
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if name != "manual":  # argparse-manpage has no wheel; where bundles are made it may be built
        assert lines.pop(0) == "--only-binary :all:"
    pinned = re.compile(r"[a-z0-9.-]+==[\w.]+( ; [^;@]+)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert lines and not [line for line in lines if not pinned.fullmatch(line)]


@pytest.mark.parametrize("name", WANTED)
def test_the_lock_satisfies_pyproject(name, target):
    python, arch = target
    found = versions(name, python, arch)
    about = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": arch}
    for wanted in map(Requirement, WANTED[name]):
        if wanted.marker is None or wanted.marker.evaluate(about):
            version = found.get(canonicalize_name(wanted.name))
            assert version is not None, f"{wanted}: not in {name}.txt; run make lock"
            assert version in wanted.specifier, f"{wanted}: {version} in {name}.txt; run make lock"


@pytest.mark.parametrize(
    ("runtime", "additions"),
    [("litert", WANTED), ("litert-numpy1", ("test",)), ("tflite-runtime", ("test",))],
)
def test_locks_that_are_installed_together_agree(runtime, additions, target):
    first = versions(runtime, *target)
    for other in additions:
        if other in ("litert-numpy1", "tflite-runtime", "docs"):
            continue  # in another environment
        second = versions(other, *target)
        differ = {name for name in first.keys() & second.keys() if first[name] != second[name]}
        assert not differ, f"{runtime}.txt and {other}.txt: {differ}; run make lock ARGS=--upgrade"


def test_opencv_without_known_holes_but_where_numpy_1_is_needed(target):
    """CVE-2025-53644 is mended in 4.12; 5.0.0.93 carries the FFmpeg of CVE-2026-8461."""
    opencv = versions("litert", *target)["opencv-python-headless"]
    assert opencv >= Version("4.14") and opencv != Version("5.0.0.93")
    for name in ("litert-numpy1", "tflite-runtime"):
        found = versions(name, *target)
        assert found["numpy"].major == 1 and found["opencv-python-headless"] < Version("4.12")
