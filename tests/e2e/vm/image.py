"""The virtual machine's disk, kernel and start disk: Debian trixie, made once and kept in a cache folder.

It contains systemd, a login by key for root, the kernel's virtual camera, and the product's dependencies (not
the product) in ``/opt/site``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from device.bundle.wheels import platform_options

from tests.e2e.device.booted import mirror
from tests.machine import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

SUITE, PYTHON = "trixie", "3.13"
PACKAGES = (
    "systemd systemd-sysv dbus udev kmod procps iproute2 python3 python3-venv python3-systemd openssh-client "
    "openssh-server avahi-daemon polkitd ca-certificates e2fsprogs tcpdump v4l-utils zstd initramfs-tools "
    "linux-image-amd64"
)
UNWANTED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service "
    "fstrim.timer getty@tty1.service"
)
START_MODULES = "virtio_pci\nvirtio_blk\next4\n"
SIZE = "6G"
NETWORK = "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n"


class Image:
    """The files of an image."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk.img"
        self.kernel = folder / "vmlinuz"
        self.start_disk = folder / "initrd.img"
        self.key = folder / "key"


def cache() -> Path:
    """Where images are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "interview-grader-tests"


def base_image(*more: str) -> Image:
    """The image with `more` packages, made if it is not in the cache (some minutes)."""
    packages = " ".join((PACKAGES, *more))
    recipe = json.dumps([SUITE, packages, UNWANTED, START_MODULES, SIZE, NETWORK, dependencies()])
    made = cache() / f"vm-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not made.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache(), prefix="making-vm-") as folder:
            _make(packages, Path(folder, "tree"), Path(folder, "image"))
            Path(folder, "image").rename(made)
    return Image(made)


def dependencies() -> list[str]:
    """The product's dependencies from PyPI."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["litert"]]


def disk_of(folder: Path, disk: Path, size: str) -> None:
    """Make an ext4 disk image with a folder's content."""
    with disk.open("wb"):
        os.truncate(disk, 0)
    must("truncate", "-s", size, disk)
    must("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", folder, disk)


def must(*command: str | Path) -> None:
    """Run a command; an error contains its output."""
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def _make(packages: str, tree: Path, into: Path) -> None:
    into.mkdir()
    image = Image(into)
    _debian(packages, tree)
    must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", image.key)
    _settle(tree, image.key.with_suffix(".pub").read_text())
    _site(tree / "opt/site")
    [kernel], [start_disk] = (tree / "boot").glob("vmlinuz-*"), (tree / "boot").glob("initrd.img-*")
    shutil.copy(kernel, image.kernel)
    shutil.copy(start_disk, image.start_disk)
    disk_of(tree, image.disk, SIZE)


def _debian(packages: str, tree: Path) -> None:
    # Only the modules that the machine needs to start: smaller and faster than all of them.
    settings = "MODULES=list\\nCOMPRESS=zstd\\n"
    modules = START_MODULES.replace("\n", "\\n")
    hook = (
        f'mkdir -p "$1/etc/initramfs-tools/conf.d"; printf "{settings}" >"$1/etc/initramfs-tools/conf.d/vm"; '
        f'printf "{modules}" >"$1/etc/initramfs-tools/modules"'
    )
    options = ['--aptopt=APT::Install-Recommends "false"', f"--setup-hook={hook}"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")]
    include = f"--include={','.join(packages.split())}"
    must("mmdebstrap", "--quiet", "--variant=minbase", include, *options, SUITE, tree, *mirror())


def _settle(tree: Path, key: str) -> None:
    units = tree / "etc/systemd/system"
    for unit in UNWANTED.split():
        (units / unit).symlink_to("/dev/null")
    enabled = {
        "multi-user.target.wants/systemd-networkd.service": "systemd-networkd.service",
        "sockets.target.wants/systemd-networkd.socket": "systemd-networkd.socket",
    }
    for link, unit in enabled.items():
        (units / link).parent.mkdir(exist_ok=True)
        (units / link).symlink_to(f"/usr/lib/systemd/system/{unit}")
    (tree / "etc/systemd/network/vm.network").write_text(NETWORK)
    (tree / "etc/hostname").write_text("raspberrypi\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 raspberrypi\n")
    (tree / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    (tree / "root/.ssh/authorized_keys").write_text(key)


def _site(into: Path) -> None:
    wanted = ["--target", str(into), "--only-binary=:all:", *platform_options("x86_64", PYTHON)]
    must(sys.executable, "-m", "pip", "install", "--quiet", *wanted, *dependencies())


if __name__ == "__main__":
    print(base_image().disk)
