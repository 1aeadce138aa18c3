"""What the tests on a booted device share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.machine import ROOT
from tests.system import booted
from tests.system.bundles import make_bundle

LONG = (
    "*/test_update.py::*",
    "*/test_install.py::*bookworm*",
    "*/test_arm64.py::*Pi 5*",
    "*/test_arm64.py::test_pictures*",
    "*/test_updating.py::test_power_lost_at_a_step*",
    "*/test_updating.py::test_every_step*",
    "*/test_updating.py::test_a_bad_version*migrates badly*",
    "*/test_updating.py::test_a_bad_version*blind*",
)
"""Run with `make system` only: with them all tests take 40 minutes on two slow cores, without them 25."""

ALWAYS = ("*at_a_step?switch?", "*at_a_step?confirm?", "*at_a_step?undo-switch?")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long ones out, unless LONG=1."""
    if os.environ.get("LONG"):
        return

    def is_long(name: str) -> bool:
        return any(fnmatchcase(name, each) for each in LONG) and not any(
            fnmatchcase(name, each) for each in ALWAYS
        )

    left_out = [item for item in items if is_long(item.nodeid)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not is_long(item.nodeid)]


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
