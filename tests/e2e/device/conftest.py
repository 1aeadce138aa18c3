"""What the tests on a booted device share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.device import booted
from tests.e2e.device.bundles import make_bundle
from tests.machine import ROOT


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By suite: a folder with `checkout/`, `bundle` and `signers`, which a device sees as /share."""
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
