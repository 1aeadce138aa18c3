"""The installed releases: `releases/VERSION/` with an environment each, and the link `current`.

A release is complete if it has `release.json`, which is written last. Incomplete ones are removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from device.bundle.container import (
    FOLDERS,
    METADATA,
    NUMPY_2,
    ONNX,
    REQUIREMENTS,
    REQUIREMENTS_NUMPY_2,
    WHEELS,
    Release,
    version_in,
)
from device.bundle.own_wheel import LOCKS, make_wheel
from device.errors import ReleaseError, explain, last_error
from device.system.files import replacing

ROOT = Path("/opt/interview-grader")
RUNTIMES = ("ai_edge_litert", "tflite_runtime")
"""Modules of the runtimes; a release has exactly one."""

CAMERA_PACKAGES = Path("/usr/lib/python3/dist-packages/picamera2")
"""The distribution's camera library, compiled for its numpy: the environment must see both."""

COMMAND = Path("venv", "bin", "interview-grader")
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")


class Releases:
    """The releases under `root`. `python` makes their environments.

    `system_packages`: whether those see the distribution's packages. None: as the release in use does, or
    else if the distribution has its camera library.
    """

    def __init__(
        self, root: Path = ROOT, *, python: str = sys.executable, system_packages: bool | None = None
    ) -> None:
        self.root, self.folder, self.link = root, root / "releases", root / "current"
        self._python, self._system_packages = python, system_packages

    def path(self, version: str) -> Path:
        """The folder of a release, whether it exists or not."""
        return self.folder / version

    def command(self, version: str) -> Path:
        """The program of a release."""
        return self.path(version) / COMMAND

    def python_version(self) -> str:
        """Version of the Python that makes the environments, as in "3.11"."""
        return _machine_and_version(self._python)[1]

    def python_mismatch(self) -> str:
        """A message if the release in use needs another Python than the system has, else "".

        `provisioning/command` prints the same, without a Python.
        """
        for library in (self.link / "venv/lib").glob("python3.*"):
            if library.name != f"python{self.python_version()}":
                return (
                    f"this release needs {library.name}, but the system has another Python (was the system "
                    "upgraded?): run sudo interview-grader-update uninstall, which keeps your records and "
                    f"settings, then install a bundle for Python {self.python_version()}"
                )
        return ""

    def current(self) -> str | None:
        """The version that `current` links to, None without one."""
        try:
            version = os.readlink(self.link).rpartition("/")[2]
        except OSError:
            return None
        return version if self._is_complete(version) else None

    def all(self) -> list[str]:
        """Every complete release, the oldest version first."""
        found = [path.name for path in self.folder.glob("*") if self._is_complete(path.name)]
        return sorted(found, key=version_key)

    def metadata(self, version: str) -> Release:
        """The content of a release's `release.json`; raises `ReleaseError`."""
        try:
            return Release.read((self.path(version) / METADATA).read_bytes())
        except (OSError, ValueError) as error:
            raise ReleaseError(
                f"{self.path(version)}: not a complete release ({error}); `list` shows the complete ones"
            ) from error

    def add(self, unpacked: Path) -> str:
        """Install an unpacked bundle next to the others, without the network; returns its version.

        An incomplete release of that version is replaced; a different complete one is a `ReleaseError`.
        """
        release = Release.read((unpacked / METADATA).read_bytes())
        if self._has_release(release):
            return release.version
        wheels = unpacked / WHEELS
        lines = wheels / REQUIREMENTS
        if (wheels / REQUIREMENTS_NUMPY_2).exists() and not self._needs_numpy_1():
            lines = wheels / REQUIREMENTS_NUMPY_2
        folders = (f"--find-links={wheels}", f"--find-links={wheels / NUMPY_2}")
        place = self._begin(release.version)
        try:
            self._make_venv(place)
            self._pip(place, "--no-index", *folders, "--require-hashes", "-r", str(lines))
            return self._finish(release, unpacked)
        except BaseException as error:
            raise self._abort(place, error) from error

    def add_online(self, checkout: Path) -> str:
        """Install from a checkout, with pip and the network; returns the version.

        If another release has that version, the checkout's digest is appended to it.
        """
        release = _release_of_checkout(checkout, self._python)
        if self._is_complete(release.version) and self.metadata(release.version).files != release.files:
            release = replace(release, version=f"{release.version}+{release.files['checkout'][:8]}")
        if self._has_release(release):
            return release.version
        place = self._begin(release.version)
        try:
            self._make_venv(place)
            self._install_checkout(place, checkout)
            return self._finish(release, checkout)
        except BaseException as error:
            raise self._abort(place, error) from error

    def switch(self, version: str) -> None:
        """Make `current` link to a complete release, atomically; raises `ReleaseError`."""
        self.metadata(version)
        try:
            with replacing(self.link, "{}.new") as new:
                new.symlink_to(f"{self.folder.name}/{version}")
            sync_folder(self.root)
        except OSError as error:
            raise ReleaseError(f"{self.link}: cannot be set: {explain(error)}") from error

    def remove(self, version: str) -> None:
        """Remove a release that is not in use; raises `ReleaseError`. After a kill it is incomplete."""
        if version == self.current():
            raise ReleaseError(f"{version} is in use; switch to another release first")
        place = self.path(version)
        try:
            (place / METADATA).unlink(missing_ok=True)
            shutil.rmtree(place)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ReleaseError(f"{place}: cannot be removed: {explain(error)}") from error

    def prune(self, keep: int, spare: Iterable[str] = ()) -> list[str]:
        """Keep `keep` releases: the current one, those of `spare`, the newest; returns the removed ones."""
        current = self.current()
        first = [current, *spare, *reversed(self.all())]
        kept = [version for version in dict.fromkeys(first) if version and self._is_complete(version)][:keep]
        gone = [version for version in self.all() if version not in kept]
        for version in gone:
            self.remove(version)
        self.sweep()
        return gone

    def sweep(self) -> None:
        """Remove incomplete releases, but never the one that `current` links to."""
        for path in self.folder.glob("*"):
            if not self._is_complete(path.name) and path.resolve() != self.link.resolve():
                shutil.rmtree(path, ignore_errors=True)

    def _is_complete(self, version: str) -> bool:
        return (self.path(version) / METADATA).is_file()

    def _has_release(self, release: Release) -> bool:
        if not self._is_complete(release.version):
            return False
        if self.metadata(release.version).files == release.files:
            return True
        raise ReleaseError(
            f"another release {release.version} is already installed; give the new one a new version"
        )

    def _begin(self, version: str) -> Path:
        place = self.path(version)
        if place.exists():  # incomplete
            shutil.rmtree(place)
        place.mkdir(parents=True, mode=0o755)
        return place

    def _abort(self, place: Path, error: BaseException) -> BaseException:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, OSError):
            return ReleaseError(f"{place}: cannot be created: {explain(error)}")
        return error

    def _finish(self, release: Release, source: Path) -> str:
        """Copy the other files, test the environment, and write the file that completes the release."""
        place = self.path(release.version)
        shutil.copy2(source / "setup.sh", place / "setup.sh")
        for name in (*FOLDERS, ONNX):
            if (source / name).is_dir():
                shutil.copytree(source / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        self._try(place)
        os.sync()
        partial = place / (METADATA + ".part")
        partial.write_bytes(release.json())
        _sync_file(partial)
        partial.replace(place / METADATA)
        sync_folder(place)
        return release.version

    # The environment is made at its final path, which its scripts contain.
    def _make_venv(self, place: Path) -> None:
        options = ["--system-site-packages"] if self._sees_system() else []
        self._run_or_fail(
            [self._python, "-m", "venv", *options, str(place / "venv")], "the environment cannot be created"
        )

    def _sees_system(self) -> bool:
        if self._system_packages is not None:
            return self._system_packages
        config = self.link / "venv" / "pyvenv.cfg"
        if config.is_file():
            return "include-system-site-packages = true" in config.read_text()
        return CAMERA_PACKAGES.is_dir()

    def _install_checkout(self, place: Path, checkout: Path) -> None:
        failures = []
        for runtime in ("litert-numpy1" if self._needs_numpy_1() else "litert", "tflite-runtime"):
            try:
                self._pip(place, "--require-hashes", "-r", str(checkout / LOCKS / f"{runtime}.txt"))
                break
            except ReleaseError as error:
                failures.append(f"with {runtime}: {error}")
        else:
            words = "; ".join(failures)
            raise ReleaseError(f"{words}; without the network: setup.sh install --offline BUNDLE")
        with tempfile.TemporaryDirectory() as folder:
            own = make_wheel(str(place / "venv" / "bin" / "python"), checkout, Path(folder))
            self._pip(place, "--no-deps", str(own))

    def _needs_numpy_1(self) -> bool:
        """Whether the environment sees camera packages that are built against numpy 1."""
        if not (self._sees_system() and CAMERA_PACKAGES.is_dir()):
            return False
        program = "import numpy; print(numpy.__version__.split('.')[0])"
        done = _run([self._python, "-I", "-c", program])
        return done.stdout.strip() == "1"

    def _pip(self, place: Path, *arguments: str) -> None:
        self._run_or_fail(
            [str(place / "venv" / "bin" / "python"), *_PIP, *arguments], "the packages cannot be installed"
        )

    def _try(self, place: Path) -> None:
        """Test that all compiled libraries load together, such as numpy and the distribution's packages.

        Imports only what releases of every age have, since this may be an older one.
        """
        modules = ["numpy", "cv2", "appliance.build"]
        if self._sees_system() and CAMERA_PACKAGES.is_dir():
            modules.append("picamera2")
        python = str(place / "venv" / "bin" / "python")
        runtime = [module for module in RUNTIMES if _run([python, "-c", f"import {module}"]).returncode == 0]
        if not runtime:
            raise ReleaseError(f"neither {' nor '.join(RUNTIMES)} can be imported on this machine")
        self._run_or_fail(
            [python, "-c", f"import {', '.join(modules)}"], "its libraries cannot be loaded together"
        )

    @staticmethod
    def _run_or_fail(command: list[str], fault: str) -> None:
        done = _run(command)
        if done.returncode != 0:
            raise ReleaseError(f"{fault} ({last_error(done.stderr or done.stdout)})")


def version_key(version: str) -> tuple[int, int, int, int, int]:
    """A key that sorts versions: 1.2.0a1 < 1.2.0rc1 < 1.2.0. Ignores what follows a plus."""
    plain = version.partition("+")[0]
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?", plain)
    if not found:
        return (0, 0, 0, 0, 0)
    major, minor, patch, stage, number = found.groups()
    return (int(major), int(minor), int(patch), ("a", "b", "rc", None).index(stage), int(number or 0))


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _machine_and_version(python: str) -> tuple[str, str]:
    """Machine and version of a Python, as in a bundle's name."""
    program = "import platform, sys; print(platform.machine(), '%d.%d' % sys.version_info[:2])"
    machine, version = _run([python, "-I", "-c", program]).stdout.split()
    return machine, version


def _release_of_checkout(checkout: Path, python: str) -> Release:
    arch, version = _machine_and_version(python)
    digest = hashlib.sha256()
    parts = ("appliance", "models", *FOLDERS, ONNX, LOCKS, "pyproject.toml", "setup.sh")
    for path in (found for part in parts for found in _files(checkout / part)):
        digest.update(
            f"{path.relative_to(checkout)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Release(version_in(checkout), arch, version, created, 0, {"checkout": digest.hexdigest()})


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [each for each in found if each.is_file() and "__pycache__" not in each.parts]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command without the caller's Python settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, env=kept, capture_output=True, text=True, errors="replace", check=False, cwd="/"
    )
