"""What machine this is: facts for a table of figures. Nothing that tells one device from its twin."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = ("numpy", "opencv-python-headless", "ai-edge-litert", "tflite-runtime", "tensorrt")


def name() -> str:
    """The board as its firmware names it, else the processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    return processor()


def processor() -> str:
    """The processor, its cores and its architecture."""
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return f"{line.partition(':')[2].strip()}, {cores}"
    return cores


def system() -> str:
    """The distribution and the kernel."""
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}"
    return f"Linux {platform.release()}"


def libraries() -> str:
    """Python and the libraries that figures depend on, with their versions."""
    found = [f"Python {platform.python_version()}"]
    for package in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def memory_mb() -> int:
    """All memory, in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


def temperature(sys: Path = Path("/sys")) -> float | None:
    """The hottest thermal zone, in degrees Celsius; None where none is told."""
    found = []
    for zone in (sys / "class/thermal").glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
    return max(found, default=None)
