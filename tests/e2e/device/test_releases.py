"""Several releases: real environments from small wheels, the link, and the state after a kill."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from device.bundle import container
from device.bundle.container import Release
from device.errors import ReleaseError
from device.update.releases import Releases, version_key

from tests.fakes.releases import ARCH, PYTHON, small_wheel

# What every release has, older ones too; small enough to be installed in a moment.
LIBRARIES = {"numpy": b"", "cv2": b"", "ai_edge_litert": b""}


def unpacked(folder: Path, version: str, two_sets: bool = False, **without: bool) -> Path:
    """A folder as `container.unpack` makes one, of small wheels."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    files = {
        "appliance/__init__.py": b"",
        "appliance/build.py": b"",
        "appliance/cli.py": b"def main():\n    print('it runs')\n",
    }
    small_wheel(wheels, "interview_grader", version, files, command="interview-grader = appliance.cli:main")
    for name, content in LIBRARIES.items():
        if not without.get(name):
            small_wheel(wheels, name, "1.0", {f"{name}.py": content})
    if two_sets:
        (wheels / container.NUMPY_2).mkdir()
        small_wheel(wheels / container.NUMPY_2, "numpy", "2.0", {"numpy.py": b""})
    for name, lines in container.requirements(wheels).items():
        (wheels / name).write_text(lines)
    (folder / "provisioning").mkdir()
    (folder / "provisioning" / "update").write_text("#!/bin/sh\n")
    (folder / "systemd").mkdir()
    (folder / "setup.sh").write_text("#!/bin/sh\n")
    files_told = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels.glob("*.*")}
    (folder / container.METADATA).write_bytes(Release(version, ARCH, PYTHON, "now", 0, files_told).json())
    return folder


@pytest.fixture
def releases(tmp_path, quick_python) -> Releases:
    return Releases(tmp_path / "opt", python=quick_python, system_packages=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Releases:
    """Two releases, made once: tests that change them undo it."""
    folder = tmp_path_factory.mktemp("two")
    made = Releases(folder / "opt", python=sys.executable, system_packages=False)
    for version in ("1.0.0", "1.1.0"):
        assert made.add(unpacked(folder / version, version)) == version
    return made


def test_a_release_is_a_complete_environment_that_runs(two):
    two.switch("1.0.0")
    assert (two.current(), two.all()) == ("1.0.0", ["1.0.0", "1.1.0"])
    done = subprocess.run([two.command("1.0.0")], capture_output=True, text=True, check=True)
    assert done.stdout == "it runs\n"
    assert {path.name for path in two.path("1.0.0").iterdir()} == {
        "venv",
        "provisioning",
        "systemd",
        "setup.sh",
        container.METADATA,
    }


@pytest.mark.parametrize(
    ("camera", "numpy", "gets"), [("1", "1", "1.0"), ("2", "2", "2.0"), ("", "1", "2.0")]
)
def test_only_a_board_whose_camera_packages_need_numpy_1_gets_that_set(
    tmp_path, monkeypatch, quick_python, camera, numpy, gets
):
    """`camera`: the numpy that those packages are built against, "" without them; `numpy`: the system's."""
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
case "$*" in *numpy*) echo {numpy};; *) exec {quick_python} "$@";; esac
""")
    python.chmod(0o755)
    folder = tmp_path / "picamera2"
    if camera:
        folder.mkdir()
    monkeypatch.setattr("device.update.releases.CAMERA_PACKAGES", folder)
    made = Releases(tmp_path / "opt", python=str(python), system_packages=True)
    source = unpacked(tmp_path / "new", "1.0.0", two_sets=True)
    if camera:
        small_wheel(source / "wheels", "picamera2", "1.0", {"picamera2.py": b""})
        for name, lines in container.requirements(source / "wheels").items():
            (source / "wheels" / name).write_text(lines)
    made.add(source)
    python_there = made.path("1.0.0") / "venv/bin/python"
    done = subprocess.run(
        [python_there, "-m", "pip", "show", "numpy"], capture_output=True, text=True, check=False
    )
    assert f"Version: {gets}\n" in done.stdout, done.stdout + done.stderr


def test_switching_replaces_the_link_at_once(two):
    two.switch("1.0.0")
    inode = two.link.lstat().st_ino
    two.switch("1.1.0")
    assert os.readlink(two.link) == "releases/1.1.0"
    assert two.link.lstat().st_ino != inode  # a new link replaced it: one existed at every moment
    with pytest.raises(ReleaseError, match="not a complete release"):
        two.switch("1.2.0")
    assert two.current() == "1.1.0"


def test_a_link_left_by_a_kill_does_no_harm(two):
    (two.root / "current.new").symlink_to("releases/nothing")
    two.switch("1.0.0")
    assert two.current() == "1.0.0"


def test_the_same_release_again_changes_nothing(two, tmp_path):
    before = two.command("1.0.0").stat().st_mtime_ns
    assert two.add(unpacked(tmp_path / "again", "1.0.0")) == "1.0.0"
    assert two.command("1.0.0").stat().st_mtime_ns == before


def test_another_release_of_the_same_version_is_refused(two, tmp_path):
    other = unpacked(tmp_path / "other", "1.0.0", cv2=True)
    with pytest.raises(ReleaseError, match=r"another release 1\.0\.0 is already installed"):
        two.add(other)
    assert two.all() == ["1.0.0", "1.1.0"]


def test_an_incomplete_release_is_not_listed_and_is_replaced(releases, tmp_path):
    half = releases.path("1.0.0")
    (half / "venv" / "bin").mkdir(parents=True)
    (half / "venv" / "bin" / "rubbish").write_text("")
    assert releases.all() == []
    with pytest.raises(ReleaseError, match="not a complete release"):
        releases.switch("1.0.0")
    assert releases.add(unpacked(tmp_path / "new", "1.0.0")) == "1.0.0"
    assert not (half / "venv" / "bin" / "rubbish").exists()


def test_sweeping_removes_only_incomplete_releases(two):
    (two.folder / "9.9.9" / "venv").mkdir(parents=True)
    two.sweep()
    assert sorted(path.name for path in two.folder.iterdir()) == ["1.0.0", "1.1.0"]


def test_sweeping_leaves_the_release_in_use_even_if_it_is_damaged(two):
    two.switch("1.0.0")
    note = two.path("1.0.0") / container.METADATA
    kept = note.read_bytes()
    note.unlink()
    two.sweep()
    assert two.command("1.0.0").exists()
    note.write_bytes(kept)


@pytest.mark.parametrize("missing", ["ai_edge_litert", "cv2"])
def test_a_release_whose_libraries_cannot_be_loaded_is_not_made(releases, tmp_path, missing):
    with pytest.raises(ReleaseError, match=r"cannot be loaded|can be imported") as told:
        releases.add(unpacked(tmp_path / "new", "1.0.0", **{missing: True}))
    assert "\n" not in str(told.value)
    assert not releases.path("1.0.0").exists()


def test_a_replaced_wheel_is_not_installed(releases, tmp_path):
    folder = unpacked(tmp_path / "new", "1.0.0")
    small_wheel(folder / "wheels", "numpy", "1.0", {"numpy.py": b"evil = True\n"})
    with pytest.raises(ReleaseError, match="packages cannot be installed"):
        releases.add(folder)
    assert not releases.path("1.0.0").exists()


def test_a_wheel_that_is_missing_is_not_fetched_from_elsewhere(releases, tmp_path):
    folder = unpacked(tmp_path / "new", "1.0.0")
    (folder / "wheels" / "numpy-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ReleaseError, match="packages cannot be installed"):
        releases.add(folder)


def test_pruning_keeps_the_current_release_and_the_spared_ones(two):
    for version in ("1.2.0", "1.3.0"):
        two.path(version).mkdir()
        (two.path(version) / container.METADATA).write_bytes(Release(version, ARCH, PYTHON, "now").json())
    two.switch("1.0.0")
    assert two.prune(2, spare=["1.1.0"]) == ["1.2.0", "1.3.0"]
    assert two.all() == ["1.0.0", "1.1.0"]
    assert two.prune(2) == []
    with pytest.raises(ReleaseError, match="in use"):
        two.remove("1.0.0")


def test_an_environment_sees_the_distribution_s_packages_as_the_one_in_use_does(tmp_path, quick_python):
    made = Releases(tmp_path / "opt", python=quick_python, system_packages=True)
    made.add(unpacked(tmp_path / "new", "1.0.0"))
    made.switch("1.0.0")
    after = Releases(tmp_path / "opt", python=quick_python)
    after.add(unpacked(tmp_path / "next", "1.1.0"))
    for version in ("1.0.0", "1.1.0"):
        config = (made.path(version) / "venv" / "pyvenv.cfg").read_text()
        assert "include-system-site-packages = true" in config


def test_versions_are_in_order():
    versions = ["1.2.0a1", "1.2.0b1", "1.2.0rc1", "1.2.0rc2", "1.2.0", "1.2.10", "1.10.0", "2.0.0"]
    assert all(version_key(one) < version_key(next) for one, next in itertools.pairwise(versions))
    assert version_key("1.2.0+abc") == version_key("1.2.0")
