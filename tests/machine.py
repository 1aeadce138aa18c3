"""The capabilities of this machine: the conditions under which a test may skip."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def fallback_python() -> str | None:
    """A Python that can create environments and has wheels of the fallback runtime, if there is one."""
    probe = "import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))"
    for name in (sys.executable, "/usr/bin/python3", "python3.11", "python3.10"):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", probe], capture_output=True, check=False).returncode == 0:
            return found
    return None


def free_memory_mb() -> int:
    """Memory that is still available to programs."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1000
    return 0


def folder_in_memory() -> Path | None:
    """A folder in memory in which programs may run, if it has enough space for the tests."""
    folder, needed_mb = Path("/dev/shm"), 12_000
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return None
    there = os.statvfs(folder)
    free_mb = there.f_bavail * there.f_frsize // 1_000_000
    return None if there.f_flag & os.ST_NOEXEC or min(free_mb, free_memory_mb()) < needed_mb else folder


def shared_data() -> Path | None:
    """The folder of pictures and clips next to some checkouts."""
    folder = ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@functools.cache
def has_gstreamer() -> bool:
    """Whether the distribution's PyGObject and GStreamer fit this Python."""
    there = "import sys; sys.path.append('/usr/lib/python3/dist-packages')"
    words = f"{there}; import gi; gi.require_version('GstApp', '1.0')"
    return subprocess.run([sys.executable, "-c", words], capture_output=True, check=False).returncode == 0


@functools.cache
def has_rtsp_server() -> bool:
    """Whether the distribution's GStreamer has its RTSP server and the elements of a sender."""
    python, program = Path("/usr/bin/python3"), ROOT / "tests" / "fakes" / "rtsp_server.py"
    command = [str(python), "-I", str(program), "--check"]
    return python.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


def has_compiled_model() -> bool:
    """Whether the TFLite runtime here is a LiteRT with its newer interface."""
    try:
        return importlib.util.find_spec("ai_edge_litert.compiled_model") is not None
    except ModuleNotFoundError:  # the package itself
        return False


def can_trace() -> bool:
    """Whether strace is installed and may trace another process."""
    sleeper = subprocess.Popen(["sleep", "30"])
    try:
        command = ["timeout", "--signal=INT", "1", "strace", "-o", "/dev/null", "-p", str(sleeper.pid)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return shutil.which("strace") is not None and "attached" in found.stderr
    except OSError:
        return False
    finally:
        sleeper.kill()
        sleeper.wait()


def proxies_lacking() -> list[str]:
    """The proxies in front of the page that are not installed here."""
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [name for name in ("nginx", "haproxy", "caddy") if not shutil.which(name, path=folders)]


def boots_nothing() -> bool:
    """Whether a complete device cannot be booted in a container here."""
    from tests.e2e.device.booted import lacking

    return bool(lacking())


def runs_no_arm64() -> bool:
    """Whether programs for arm64 cannot run here."""
    from tests.e2e.device.arm64 import lacking

    return bool(lacking())


@functools.cache
def can_mount_image() -> bool:
    """Whether a file system in a file may be mounted here."""
    return can_mount() and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4") is not None


def has_module(name: str) -> bool:
    """Whether a module in a package exists; the checkout's folder systemd/ also looks like a package."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def can_mount() -> bool:
    """Whether file systems may be mounted here."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def has_own_network() -> bool:
    """Whether a process may have a network of its own here, and change it."""
    command = ["unshare", "--net", "ip", "link", "set", "lo", "up"]
    return (
        os.geteuid() == 0
        and all(map(shutil.which, ("unshare", "ip")))
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def network_address() -> str:
    """The address of this machine in its network, or 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.9", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(sock.getsockname()[0])


BROWSERS = {
    "chromium": ("chromium",),
    "firefox": ("firefox-esr",),
    "webkit": ("WebKitWebDriver", "Xvfb", "setpriv"),
}
"""The programs that tests in each browser engine need."""


def browser_lacking(engine: str) -> str:
    """The programs of a browser engine that are missing here, separated by commas."""
    return ", ".join(name for name in BROWSERS[engine] if shutil.which(name) is None)


CONDITIONS: dict[str, Callable[[], bool]] = {
    "ci": lambda: bool(os.environ.get("CI")),
    "boots-nothing": boots_nothing,
    "runs-no-arm64": runs_no_arm64,
    "no-ai-edge-litert": lambda: importlib.util.find_spec("ai_edge_litert") is None,
    "no-compiled-model": lambda: not has_compiled_model(),
    "no-ai-edge-quantizer": lambda: importlib.util.find_spec("ai_edge_quantizer") is None,
    "edgetpu-compiler": lambda: shutil.which("edgetpu_compiler") is not None,
    "no-exporter": lambda: any(
        importlib.util.find_spec(name) is None for name in ("onnx", "ai_edge_litert", "ai_edge_quantizer")
    ),
    "no-camera": lambda: not list(Path("/dev").glob("video*")),
    "no-buildah": lambda: os.geteuid() != 0 or not all(map(shutil.which, ("buildah", "mmdebstrap"))),
    "no-chromium-and-not-root": lambda: bool(browser_lacking("chromium")) and os.geteuid() != 0,
    "no-firefox": lambda: bool(browser_lacking("firefox")),
    "no-network": lambda: network_address().startswith("127."),
    "no-webkit": lambda: bool(browser_lacking("webkit")),
    "no-picamera2": lambda: importlib.util.find_spec("picamera2") is None,
    "no-python3.11": lambda: fallback_python() is None,
    "no-right-to-mount": lambda: not can_mount(),
    "no-right-to-mount-images": lambda: not can_mount_image(),
    "no-own-network": lambda: not has_own_network(),
    "no-gstreamer-for-this-python": lambda: not has_gstreamer(),
    "no-rtsp-server": lambda: not has_rtsp_server(),
    "no-gcc": lambda: shutil.which("gcc") is None,
    "no-strace": lambda: not can_trace(),
    "no-systemd-python": lambda: not has_module("systemd.journal"),
    "no-proxies": lambda: bool(proxies_lacking()),
    "no-man": lambda: shutil.which("man") is None,
    "no-node": lambda: shutil.which("node") is None,
    "no-shared-data": lambda: shared_data() is None,
}
