"""The distribution's packages that a board needs, from provisioning/boards/*.packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError
from device.system.shell import run, succeeds, try_run

_APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=500")


@dataclass(frozen=True)
class Package:
    """A package and its purpose. `needed`: nothing can be installed without it."""

    name: str
    purpose: str
    needed: bool


def read_packages(boards: Path, board: str) -> list[Package]:
    """The packages of every board and of this one. A line: NAME PURPOSE…, a * before a required name."""
    found = []
    for path in (boards / "all.packages", boards / f"{board}.packages"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, purpose = line.partition(" ")
            if name and not name.startswith("#"):
                found.append(Package(name.lstrip("*"), purpose.strip(), name.startswith("*")))
    return found


def missing(packages: Sequence[Package]) -> list[Package]:
    """The packages that are not installed."""
    return [package for package in packages if not _installed(package.name)]


def by_availability(packages: Sequence[Package], *, offline: bool) -> tuple[list[Package], list[Package]]:
    """Split packages into available ones, and those that do not exist or need the network."""
    known = [] if offline else [each for each in packages if succeeds("apt-cache", "show", each.name)]
    return known, [each for each in packages if each not in known]


def refuse_missing(packages: Sequence[Package]) -> None:
    """Raises `UserError` if a required package is among these unavailable ones."""
    if names := [each.name for each in packages if each.needed]:
        raise UserError(
            f"missing and not available here: {' '.join(names)}; sudo apt-get install {' '.join(names)}"
        )


def has_package_lists(folder: Path = Path("/var/lib/apt/lists")) -> bool:
    """Whether this system has ever fetched the lists of packages."""
    return any(folder.glob("*_Packages*"))


def update_package_lists() -> None:
    """Fetch the lists of packages. Without the network the old ones stay."""
    try_run(*_APT, "update")


def install(packages: Sequence[Package]) -> None:
    """Install packages without recommended ones; raises `DeviceError`."""
    command = (*_APT, "install", "-y", "--no-install-recommends", *(each.name for each in packages))
    if try_run(*command).returncode:
        update_package_lists()
        run(*command)


def not_installed(files: Sequence[Path]) -> list[Path]:
    """The package files whose version is not installed; raises `UserError` for a file that is no package."""
    return [path for path in files if not _is_installed_from(path)]


def install_files(files: Sequence[Path]) -> None:
    """Install package files with their dependencies; raises `DeviceError`."""
    run(*_APT, "install", "-y", "--no-install-recommends", *(str(path.resolve()) for path in files))


def _is_installed_from(path: Path) -> bool:
    done = try_run("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(path))
    if done.returncode:
        raise UserError(f"{path}: not a Debian package; give a .deb file for this board")
    name, version = done.stdout.split()
    wanted = f"installed {version}"
    return try_run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name).stdout == wanted


def _installed(name: str) -> bool:
    return try_run("dpkg-query", "-W", "-f", "${db:Status-Status}", name).stdout == "installed"
