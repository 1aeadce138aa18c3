"""Tests in the virtual machine take long: they run only with `make system-vm`."""

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
