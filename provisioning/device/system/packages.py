"""The distribution's packages a board needs, from provisioning/boards/*.packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError
from device.system.shell import run, succeeds, try_run

_APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=500")


@dataclass(frozen=True)
class Package:
    """A package and what it is for; without a `needed` one nothing can be installed."""

    name: str
    purpose: str
    needed: bool


def read_packages(boards: Path, board: str) -> list[Package]:
    """Those of every board and of this one. A line: NAME PURPOSE…, with a * before a name that is needed."""
    found = []
    for path in (boards / "all.packages", boards / f"{board}.packages"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, purpose = line.partition(" ")
            if name and not name.startswith("#"):
                found.append(Package(name.lstrip("*"), purpose.strip(), name.startswith("*")))
    return found


def missing(packages: Sequence[Package]) -> list[Package]:
    """Those that are not installed."""
    return [package for package in packages if not _installed(package.name)]


def by_availability(packages: Sequence[Package], *, offline: bool) -> tuple[list[Package], list[Package]]:
    """Which of these can be installed, and which cannot: there is no such package, or no network."""
    known = [] if offline else [each for each in packages if succeeds("apt-cache", "show", each.name)]
    return known, [each for each in packages if each not in known]


def require(packages: Sequence[Package]) -> None:
    """Raises `UserError` when a package is among these without which nothing works."""
    if names := [each.name for each in packages if each.needed]:
        raise UserError(
            f"missing and not to be had here: {' '.join(names)}; sudo apt-get install {' '.join(names)}"
        )


def has_package_lists(folder: Path = Path("/var/lib/apt/lists")) -> bool:
    """Whether this system has ever asked its distribution which packages there are."""
    return any(folder.glob("*_Packages*"))


def update_package_lists() -> None:
    """Ask the distribution which packages there are; without the network what is known stays."""
    try_run(*_APT, "update")


def install(packages: Sequence[Package]) -> None:
    """Install these and nothing that they only recommend; raises `DeviceError`."""
    command = (*_APT, "install", "-y", "--no-install-recommends", *(each.name for each in packages))
    if try_run(*command).returncode:
        update_package_lists()
        run(*command)


def not_installed(files: Sequence[Path]) -> list[Path]:
    """Those package files whose package is not installed in this version; raises `UserError` for others."""
    return [path for path in files if not _is_installed_from(path)]


def install_files(files: Sequence[Path]) -> None:
    """Install these packages; what they need must be there or to be had. Raises `DeviceError`."""
    run(*_APT, "install", "-y", "--no-install-recommends", *(str(path.resolve()) for path in files))


def _is_installed_from(path: Path) -> bool:
    told = try_run("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(path))
    if told.returncode:
        raise UserError(f"{path}: not a package of the distribution's kind; give a .deb file for this board")
    name, version = told.stdout.split()
    wanted = f"installed {version}"
    return try_run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name).stdout == wanted


def _installed(name: str) -> bool:
    return try_run("dpkg-query", "-W", "-f", "${db:Status-Status}", name).stdout == "installed"
