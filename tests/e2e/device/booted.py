"""A complete device on this PC: a real systemd as PID 1 in a container, on a LAN of two hosts.

The system is a Debian, made once and kept in a cache folder; each boot runs on a temporary overlay over it.
The container is the device (10.77.0.2); `viewer` runs a command on the other host of its LAN (10.77.0.1).
It cannot test cameras, pins and kernel modules, nor the limits of memory and addresses if the host has
version 1 of control groups.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from tests.machine import free_memory_mb

TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2", "curl": "curl"}
"""Command -> Debian package."""

DEVICE, VIEWER = "10.77.0.2", "10.77.0.1"
NAME = "raspberrypi"
"""The factory name of the system."""

_PACKAGES = (
    "systemd systemd-sysv dbus udev kmod procps iproute2 python3 python3-venv openssh-client "
    "avahi-daemon polkitd openssh-server sudo"
)
_PACKAGES_OF: dict[str, tuple[str, ...]] = {"bookworm": (), "trixie": ("python3-systemd",)}
"""Suite -> further packages: tests talk to systemd with the standard library and the optional package."""

_UNWANTED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer "
    "console-getty.service"
)
_CARD_MB = 4000
"""How much a device can write."""

_BOOT_S, _STOP_S = 60.0, 40.0


def cache() -> Path:
    """Where systems and wheels are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "interview-grader-tests"


def lacking() -> str:
    """Why nothing can be booted here, "" if it can."""
    if os.geteuid() != 0:
        return "not root"
    absent = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    if absent:
        return f"not installed: {' '.join(absent)}"
    return (
        "" if _run(["unshare", "--mount", "--net", "true"]).returncode == 0 else "this root may not unshare"
    )


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The file or folder of this name in the cache; `make` makes it if it is missing."""
    place = cache() / name
    if not place.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache(), prefix="making-") as folder:
            make(Path(folder, "made"))
            with contextlib.suppress(OSError):  # another run was faster
                Path(folder, "made").rename(place)
    return place


def base_system(suite: str, *more: str) -> Path:
    """The files of a fresh Debian of this suite with `more` packages."""
    packages = " ".join((_PACKAGES, *_PACKAGES_OF[suite], *more))
    recipe = hashlib.sha256(f"{suite} {packages} {_UNWANTED} {NAME}".encode()).hexdigest()[:12]
    return kept(f"{suite}-{recipe}", partial(_make_system, suite, packages))


def _make_system(suite: str, packages: str, into: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages.split())}"]
    command += ['--aptopt=APT::Install-Recommends "false"', "--dpkgopt=path-exclude=/usr/share/man/*"]
    command += ["--dpkgopt=path-exclude=/usr/share/doc/*", suite, str(into), *mirror()]
    _must(command)
    units = into / "etc/systemd/system"
    for unit in _UNWANTED.split():
        (units / unit).symlink_to("/dev/null")
    (into / "etc/machine-id").write_text("")
    (into / "etc/hostname").write_text(f"{NAME}\n")
    (into / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {NAME}\n")


def mirror() -> list[str]:
    """An argument for mmdebstrap: where this machine's apt gets packages; none if apt does not list it."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return [each for each in found if "security" not in each][:1]


class Booted:
    """One device, from power on to power off. `layers`: folders whose files it has, the lowest first.

    `shared` appears as /share, read-only. `boot_s`: the limit until systemd has started everything; a device
    that installs itself takes longer.
    """

    def __init__(self, layers: Sequence[Path], shared: Path, boot_s: float = _BOOT_S) -> None:
        self._layers, self._shared, self._boot_s = list(layers), shared, boot_s
        self._folder = Path(tempfile.mkdtemp(dir=cache(), prefix="run-"))
        self._console = self._folder / "console.log"
        self._lan = f"igt{os.getpid()}{os.urandom(2).hex()}"
        self._machine: subprocess.Popen[bytes] | None = None
        self._leader = 0

    # --- power ---

    def __enter__(self) -> Booted:
        try:
            self._mount()
            self._connect()
            self.power_on()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.cut_power()
        finally:
            self._clean_up()

    def power_on(self, *, read_only: bool = False, writable: Sequence[str] = ()) -> None:
        """Start it and wait until systemd has started everything.

        `read_only`: nothing can be written but in memory, as on a card behind an overlay, and in the folders
        `writable`, copies of which are mounted there.
        """
        command = ["systemd-nspawn", "--quiet", "-D", str(self._folder / "root"), f"--machine={self._lan}"]
        command += ["--register=no", "--keep-unit", "--link-journal=no", "--boot"]
        command += [f"--network-namespace-path=/run/netns/{self._lan}d", f"--bind-ro={self._shared}:/share"]
        if read_only:
            command += ["--read-only", *(f"--tmpfs={folder}" for folder in ("/tmp", "/var/tmp", "/var/log"))]
        command += [f"--bind={self._copied(folder)}:{folder}" for folder in writable]
        with self._console.open("ab") as console:
            self._machine = subprocess.Popen(
                [*command, "--console=pipe"], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        wait_for(self._is_up, self._boot_s, lambda: f"systemd did not come up:\n{self.console()}")

    def _copied(self, folder: str) -> Path:
        """A copy outside the root, which becomes read-only with everything in it."""
        copy = Path(tempfile.mkdtemp(dir=self._folder, prefix="writable-"))
        _must(["cp", "--archive", "--no-target-directory", str(self.path(folder)), str(copy)])
        return copy

    def _is_up(self) -> bool:
        assert self._machine is not None
        if self._machine.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended:\n{self.console()}")
        self._leader = _leader(self._machine.pid)
        if not self._leader:
            return False
        return self._enter("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def reboot(self) -> None:
        """Restart it in good order."""
        self.shut_down("reboot")
        self.power_on()

    def shut_down(self, how: str = "poweroff") -> None:
        """Stop it in good order: `poweroff` or `reboot`."""
        self._enter("systemctl", how, "--no-block")
        self.wait_off()

    def wait_off(self) -> None:
        """Wait until something on the device has stopped it in good order."""
        assert self._machine is not None
        self._machine.wait(timeout=_STOP_S)
        self._leader = 0

    def cut_power(self) -> None:
        """Switch it off at once."""
        if self._machine is not None and self._machine.poll() is None:
            if self._leader:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._leader, 9)
            self._machine.terminate()
            self._machine.wait(timeout=_STOP_S)

    # --- commands and files ---

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the device, as root, as a service of its systemd."""
        variables = [f"--setenv={name}={value}" for name, value in environment.items()]
        unit = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *variables, "--", *command]
        done = self._enter(*unit)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def says(self, *command: str) -> str:
        """The output of a command on the device, whatever its exit code."""
        return self.run(*command, check=False).stdout.strip()

    def viewer(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the other host of the LAN."""
        return _run(["ip", "netns", "exec", f"{self._lan}v", *command])

    def viewers(self, program: str) -> Path:
        """A wrapper that runs a program of this PC on the other host of the LAN."""
        wrapper = self._folder / Path(program).name
        wrapper.write_text(f'#!/bin/sh\nexec ip netns exec {self._lan}v {program} "$@"\n')
        wrapper.chmod(0o755)
        return wrapper

    def path(self, inside: str) -> Path:
        """A file of the device as this host sees it."""
        return self._folder / "root" / inside.lstrip("/")

    def changes(self) -> Path:
        """The folder of all that differs from the layers; a further layer, once the device is off."""
        return self._folder / "upper"

    def journal(self, *arguments: str) -> str:
        """Lines of the log, without stamps."""
        return self.says("journalctl", "--no-pager", "-o", "cat", *arguments)

    def console(self) -> str:
        """The output on the console while it started and stopped."""
        return self._console.read_text(errors="replace")[-4000:] if self._console.exists() else ""

    def _enter(self, *command: str) -> subprocess.CompletedProcess[str]:
        assert self._leader, "the device is off"
        inside = [
            "env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C.UTF-8",
        ]
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return _run(["nsenter", f"--target={self._leader}", *spaces, "--", *inside, *command])

    # --- files and network ---

    def _mount(self) -> None:
        if free_memory_mb() > 2 * _CARD_MB:  # thousands of small files: a disk would take as long as the test
            _must(["mount", "-t", "tmpfs", "-o", f"size={_CARD_MB}m", "tmpfs", str(self._folder)])
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir()
        lower = ":".join(str(layer) for layer in reversed(self._layers))
        options = f"lowerdir={lower},upperdir={self._folder}/upper,workdir={self._folder}/work,volatile"
        _must(["mount", "-t", "overlay", "overlay", "-o", options, str(self._folder / "root")])

    def _connect(self) -> None:
        device, viewer = f"{self._lan}d", f"{self._lan}v"
        for space in (device, viewer):
            _must(["ip", "netns", "add", space])
        _must(["ip", "link", "add", "lan0", "netns", device, "type", "veth", "peer", "lan0", "netns", viewer])
        for space, address in ((device, DEVICE), (viewer, VIEWER)):
            _must(["ip", "-n", space, "address", "add", f"{address}/24", "dev", "lan0"])
            for link in ("lo", "lan0"):
                _must(["ip", "-n", space, "link", "set", link, "up"])
            _must(["ip", "-n", space, "route", "add", "224.0.0.0/4", "dev", "lan0"])

    def _clean_up(self) -> None:
        _run(["umount", "--lazy", str(self._folder / "root")])
        _run(["umount", "--lazy", str(self._folder)])
        for space in (f"{self._lan}d", f"{self._lan}v"):
            _run(["ip", "netns", "del", space])
        shutil.rmtree(self._folder, ignore_errors=True)


def _leader(nspawn: int) -> int:
    """The container's first process, 0 before there is one: nspawn's child in its own namespaces."""
    for child in Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split():
        with contextlib.suppress(OSError):
            spaces = [
                (os.readlink(f"/proc/{child}/ns/{kind}"), os.readlink(f"/proc/self/ns/{kind}"))
                for kind in ("mnt", "uts", "ipc", "net", "pid")
            ]
            if all(theirs != ours for theirs, ours in spaces):
                return int(child)
    return 0


def wait_for(happened: Callable[[], object], seconds: float, otherwise: Callable[[], str]) -> None:
    """Wait until it happened, or fail with the message of `otherwise`."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(0.2)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=500,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _must(command: list[str]) -> None:
    done = _run(command)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
