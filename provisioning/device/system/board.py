"""Detects the board, and what it lacks for an installation."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from device.errors import DeviceError

MACHINES = ("x86_64", "aarch64")
NEEDS_MB = 1500
"""Two releases (about 450 MB each) and a bundle, unpacked."""

NEEDS_MEMORY_MB = 700
"""Less than 1 GB, since the kernel does not count what the GPU takes: about 930 MB are left with gpu_mem=76,
760 with 256. More than 512 MB, of which a Zero 2 W counts 436."""

OVERLAY_ROOT = (
    "the root file system is an overlay: a restart would undo what is written there, but not the changes to "
    "the records; switch the overlay off first (sudo raspi-config) and restart"
)


@dataclass(frozen=True)
class Board:
    """A kind of board. `name`: of its files in provisioning/boards."""

    name: str
    model: str


def find_board(root: Path = Path("/")) -> Board:
    """The board that the firmware names; an unknown one is a PC."""
    model = _model(root)
    if model.startswith("Raspberry Pi"):
        return Board("raspberry-pi", model)
    if (root / "etc/nv_tegra_release").exists() or "Jetson" in model:
        return Board("jetson", model or "NVIDIA Jetson")
    return Board("pc", model or platform.machine())


def _model(root: Path) -> str:
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        try:
            return (root / path).read_bytes().rstrip(b"\0").decode(errors="replace").strip()
        except OSError:
            continue
    return ""


def has_overlay_root(proc: Path = Path("/proc")) -> bool:
    """Whether the root is an overlay in memory, which loses its content at a restart.

    raspi-config sets it on the kernel's command line; Debian's overlayroot mounts it by that name.
    """
    mounts = [line.split() for line in (proc / "mounts").read_text(encoding="utf-8").splitlines()]
    roots = [source for source, place, kind, *_ in mounts if (place, kind) == ("/", "overlay")]
    words = (proc / "cmdline").read_text(encoding="utf-8").split()
    return bool(roots) and (roots[-1] == "overlayroot" or "boot=overlay" in words)


def missing_requirements(
    opt: Path,
    *,
    version: tuple[int, int] = (sys.version_info[0], sys.version_info[1]),
    bits: int = 64 if sys.maxsize > 2**32 else 32,
    machine: str = platform.machine(),
    free_mb: int | None = None,
    memory_mb: int | None = None,
    needs_mb: int = NEEDS_MB,
    systemd: bool | None = None,
    proc: Path = Path("/proc"),
) -> list[str]:
    """Why the appliance cannot be installed, one line for each reason. Arguments default to this system.

    `opt`: the folder for the releases. `free_mb`, `memory_mb`: None measures them. `bits`: of the system's
    programs, which on a Raspberry Pi can be 32 under a 64-bit kernel.
    """
    found = []
    if bits != 64:
        found.append("this system is 32-bit; install the 64-bit image of the operating system")
    if machine not in MACHINES:
        found.append(f"there are no packages for {machine}; expected {' or '.join(MACHINES)}")
    if version < (3, 10):
        found.append(
            f"Python {version[0]}.{version[1]} is too old, expected 3.10 or newer; "
            "install a newer release of the operating system"
        )
    free = _free_mb(opt) if free_mb is None else free_mb
    if free < needs_mb:
        found.append(f"{opt} has {free} MB left, expected {needs_mb}; make room or use a larger card")
    memory = _memory_mb(proc) if memory_mb is None else memory_mb
    if memory < NEEDS_MEMORY_MB:
        found.append(
            f"this board has {memory} MB of memory, expected a board with 1 GB or more "
            f"({NEEDS_MEMORY_MB} MB besides the GPU's share)"
        )
    if not (Path("/run/systemd/system").is_dir() if systemd is None else systemd):
        found.append("this system was not started by systemd; expected a system with systemd, such as Debian")
    if has_overlay_root(proc):
        found.append(OVERLAY_ROOT)
    if os.path.ismount(opt):
        found.append(f"{opt} is a separate file system, but units must be readable before it is mounted")
    return found


def _memory_mb(proc: Path) -> int:
    """The memory that the kernel counts, in MB of a million bytes."""
    for line in (proc / "meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024 // 1_000_000
    raise DeviceError(f"{proc}/meminfo: expected a line MemTotal")


def _free_mb(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 1_000_000
