"""A virtual machine that can be switched on, given commands and cut off.

Its root disk is the cached image with a temporary layer. A further disk may keep its content from one
power-on to the next: `drive.py` serves it, whose write cache a power cut empties.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.e2e.vm.image import Image, must

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "nbdkit": "nbdkit nbdkit-plugin-python",
    "ssh": "openssh-client",
}
"""Command -> Debian packages."""

ACCELERATION = {
    # While it runs, its clock counts its own instructions, 2 ns each: on a slow host, programs do not seem to
    # hang. An older processor: emulating newer instructions is slower than doing without.
    "tcg": ["-accel", "tcg", "-icount", "shift=1,sleep=on", "-cpu", "Nehalem", "-smp", "1"],
    "kvm": ["-accel", "kvm", "-cpu", "host", "-smp", "2"],
}
ACCEL = os.environ.get("VM_ACCEL", "tcg")
"""Emulation runs anywhere; with KVM, if the host has it, everything takes a tenth of the time."""

BOOT_S, COMMAND_S = 900.0, 400.0
T = TypeVar("T")


def lacking() -> str:
    """Why no machine can be made here, "" if it can."""
    if os.geteuid() != 0:
        return "not root"
    absent = [packages for tool, packages in TOOLS.items() if shutil.which(tool) is None]
    return f"not installed: {' '.join(absent)}" if absent else ""


def until(probe: Callable[[], T], limit_s: float, what: str) -> T:
    """What `probe` returns as soon as it is true; fails after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not (found := probe()):
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        time.sleep(0.2)
    return found


def free_port() -> int:
    """An unused port of this host."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Drive:
    """A disk image behind a write cache that `cut_power` empties."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self._folder = image, folder
        self._server: subprocess.Popen[bytes] | None = None
        self.socket = folder / "drive.socket"

    def __enter__(self) -> Drive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def power_on(self, seed: int) -> None:
        """`seed` decides which cached sectors reach the image before they must."""
        self.socket.unlink(missing_ok=True)
        settings = [f"image={self._image}", f"seed={seed}", f"told={self._folder / 'told'}"]
        plugin = Path(__file__).with_name("drive.py")
        command = ["nbdkit", "--foreground", "--unix", str(self.socket), "python", str(plugin), *settings]
        self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until(self.socket.exists, 20, "nbdkit serves the drive")

    def cut_power(self) -> int:
        """Switch it off at once; returns how many sectors its cache held."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        return self.holds()

    def holds(self) -> int:
        """How many sectors it has received but not written yet."""
        return int((self._folder / "told").read_text() or 0)


class Guest:
    """One machine. `disks`: further ones, /dev/vdb and so on; images are read-only, a `Drive` is writable.

    `root`: the drive with its root file system, which keeps its content; without one, each start has a fresh
    copy of the image. `start`: the program that is process 1, with its arguments; "" for systemd.
    """

    def __init__(
        self,
        image: Image,
        disks: list[Path | Drive],
        *,
        root: Drive | None = None,
        start: str = "",
        memory: str = "1536",
    ) -> None:
        self._image, self._disks, self._start, self._memory = image, disks, start, memory
        self._root = root
        self._folder = Path(tempfile.mkdtemp(prefix="vm-"))
        self._console = self._folder / "console.log"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()
        shutil.rmtree(self._folder, ignore_errors=True)  # ssh removes its own socket at about this time

    # --- power ---

    def power_on(self) -> None:
        """Start it and wait until it accepts commands."""
        self._port = free_port()
        with self._console.open("ab") as console:
            self._qemu = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        until(self._answers, BOOT_S, "the machine accepts commands")

    def _command(self) -> list[str]:
        command = ["nice", "-n", "4", "qemu-system-x86_64", "-M", "q35", *ACCELERATION[ACCEL]]
        command += ["-m", self._memory, "-nographic", "-nodefaults", "-no-reboot"]
        command += ["-serial", "stdio", "-kernel", str(self._image.kernel)]
        command += ["-initrd", str(self._image.start_disk), "-append"]
        kernel = "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=0 systemd.show_status=0"
        command += [kernel + (self._start and f" init={self._start}")]
        command += ["-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        command += ["-device", "virtio-rng-pci"]
        for what in (
            self._written(self._root) if self._root else self._as_new(),
            *map(self._shown, self._disks),
        ):
            command += ["-drive", f"file={what},if=virtio"]
        return command

    def _as_new(self) -> str:
        root = self._folder / "root.qcow2"
        root.unlink(missing_ok=True)
        must("qemu-img", "create", "-q", "-f", "qcow2", "-b", self._image.disk, "-F", "raw", root)
        return f"{root},format=qcow2,cache=unsafe"

    def _shown(self, disk: Path | Drive) -> str:
        return self._written(disk) if isinstance(disk, Drive) else f"{disk},format=raw,readonly=on"

    @staticmethod
    def _written(drive: Drive) -> str:
        """writeback: the machine sees a drive with a write cache, and its flushes are passed on."""
        return f"nbd:unix:{drive.socket},format=raw,cache=writeback"

    def _answers(self) -> bool:
        assert self._qemu is not None
        assert self._qemu.poll() is None, f"qemu ended with {self._qemu.returncode}:\n{self.console()}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._ssh("true", limit_s=30).returncode == 0
        return False

    def cut_power(self) -> None:
        """SIGKILL: its memory is lost, with everything that it had not written."""
        if self._qemu is not None and self._qemu.poll() is None:
            os.kill(self._qemu.pid, signal.SIGKILL)
            self._qemu.wait()

    def wait_off(self, limit_s: float) -> None:
        """Wait until it has switched itself off in good order."""
        assert self._qemu is not None
        self._qemu.wait(timeout=limit_s)
        assert self._qemu.returncode == 0, self.console()

    # --- commands and ports ---

    def run(self, script: str, *, check: bool = True, limit_s: float = COMMAND_S, stdin: str = "") -> str:
        """Run a shell script on it as root; returns its output."""
        done = self._ssh(script, limit_s=limit_s, stdin=stdin)
        assert not check or done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def forward(self, port: int) -> int:
        """Forward a port of its loopback; returns the port on this host."""
        here = free_port()
        done = subprocess.run(
            [*self._login(), "-O", "forward", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}", "root@127.0.0.1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return here

    def console(self) -> str:
        """The end of the output on its serial line."""
        return self._console.read_text(errors="replace")[-4000:]

    def _ssh(self, script: str, *, limit_s: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self._login(), "root@127.0.0.1", script]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=limit_s, check=False
        )

    def _login(self) -> list[str]:
        options = {
            "ConnectTimeout": "20",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ControlMaster": "auto",
            "ControlPersist": "600",
            "ControlPath": f"{self._folder}/ssh-{self._port}",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-i", str(self._image.key), "-p", str(self._port), *words]
