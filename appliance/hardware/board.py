"""Facts about the machine for benchmark tables; nothing that identifies a single device."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = ("numpy", "opencv-python-headless", "ai-edge-litert", "tflite-runtime", "tensorrt")


def board_name() -> str:
    """The name of the board from its firmware, else of the processor."""
    with contextlib.suppress(OSError):
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    return processor_name()


def processor_name() -> str:
    """The processor, its cores and its architecture."""
    cores = f"{os.cpu_count()} cores, {platform.machine()}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return f"{line.partition(':')[2].strip()}, {cores}"
    return cores


def processor_key() -> str:
    """What decides how fast the processor is at models: its name, and a digest of what else the kernel says.

    The name alone does not decide: virtual machines share it, with and without fast int8 instructions.
    """
    wanted = ("flags", "Features", "CPU ", "cpu family", "model\t", "stepping", "vendor_id")
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found = sorted({line for line in lines if line.startswith(wanted)})
        digest = hashlib.sha256("\n".join(found).encode()).hexdigest()
        return f"{processor_name()}, {digest[:12]}"
    return processor_name()


def system_name() -> str:
    """The distribution and the kernel."""
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}"
    return f"Linux {platform.release()}"


def library_versions() -> str:
    """Python and the libraries that affect figures, with versions."""
    found = [f"Python {platform.python_version()}"]
    for package in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def total_memory_mb() -> int:
    """Memory of the machine, in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


def read_temperature(sys: Path = Path("/sys")) -> float | None:
    """The temperature of the hottest thermal zone, in degrees Celsius; None if the machine has none."""
    found = []
    for zone in (sys / "class/thermal").glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(zone.read_text(encoding="ascii")) / 1000)
    return max(found, default=None)
