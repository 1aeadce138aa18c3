"""What the tests on a booted device share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.device import booted
from tests.e2e.device.bundles import libraries, make_small_bundle, make_whole_bundle
from tests.e2e.device.environments import make_quick_python
from tests.machine import ROOT


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By suite: a folder with `checkout/`, `bundle` and `signers`, which a device has as /share.

    The bundle is a small one, for a device of `system`.
    """
    return _share(tmp_path_factory, make_small_bundle)


@pytest.fixture(scope="session")
def whole_share(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same with a complete bundle."""
    return _share(tmp_path_factory, make_whole_bundle)


@pytest.fixture(scope="session")
def system() -> Callable[..., list[Path]]:
    """By suite and further packages: the layers of a device for small bundles."""
    return lambda suite, *more: [booted.base_system(suite, *more), libraries(suite)]


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that makes environments quickly."""
    return str(make_quick_python(tmp_path_factory.mktemp("quick")))


def _share(
    tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[[str, Path], Path]
) -> Callable[[str], Path]:
    if reason := booted.lacking():
        pytest.skip(f"no device can be booted: {reason}")
    made: dict[str, Path] = {}

    def make(suite: str) -> Path:
        if suite not in made:
            folder = made[suite] = tmp_path_factory.mktemp(f"share-{suite}")
            make_bundle(suite, folder).rename(folder / "bundle")
            (folder / "checkout").mkdir()
            shutil.copy2(ROOT / "setup.sh", folder / "checkout")
            for name in ("provisioning", "systemd"):
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / "checkout" / name, ignore=ignored)
        return made[suite]

    return make
