"""Tests in a virtual machine, for what a container cannot show. They run only with `make system-vm`.

A container shares the host's kernel: it has no kernel camera, and on hosts with control groups of version 1
no limits of memory or addresses. Here Debian trixie boots with its own kernel. The tests cut the power while
the device records, installs and updates, read the kernel's virtual camera with `usb` and with the installed
service in its sandbox, let the kernel enforce `MemoryMax` and `IPAddressDeny`, capture every packet, and
trigger the watchdog.

Emulated, they take about an hour, most of it for starting. If the host has KVM, `VM_ACCEL=kvm` should take a
tenth. The image (about four minutes) is kept in `${XDG_CACHE_HOME:-~/.cache}/interview-grader-tests`; each
start has a fresh layer over it.

Commands go in by ssh, and the page comes out through a tunnel to its loopback, as an owner would use it.
There is no shared folder and no agent of ours in the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.vm.guest import lacking
from tests.e2e.vm.image import Image, base_image, disk_of
from tests.e2e.vm.product import product_folder

collect_ignore_glob = [] if os.environ.get("SYSTEM_VM") else ["test_*.py"]


@pytest.fixture(scope="session")
def image() -> Image:
    """The machine's disk, made if it is not in the cache."""
    assert not lacking(), lacking()
    return base_image()


@pytest.fixture(scope="session")
def product_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with the checkout's code and models."""
    folder = tmp_path_factory.mktemp("product")
    disk = folder / "product.img"
    disk_of(product_folder(folder / "content"), disk, "200M")
    yield disk
    disk.unlink()
