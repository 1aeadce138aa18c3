"""The wheel has everything that the command needs, with only the runtime dependencies and no checkout.

Their versions are those of the locks: no network is needed once they are in the cache.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
from device.bundle.container import NUMPY_2
from device.bundle.own_wheel import make_wheel

import appliance
from tests.e2e.device.bundles import gathered
from tests.e2e.device.environments import Environment
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return make_wheel(sys.executable, ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Environment:
    found = gathered(f"{sys.version_info.major}.{sys.version_info.minor}")
    folders = [f"--find-links={folder}" for folder in (found, found / NUMPY_2)]
    folder = tmp_path_factory.mktemp("installed") / "venv"
    return Environment.make(folder, sys.executable, "--no-index", *folders, f"{wheel}[litert]")


def test_the_wheel_has_the_package_and_the_models_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {
        "appliance",
        f"interview_grader-{appliance.__version__}.dist-info",
    }
    for source in [*(ROOT / "appliance").rglob("*"), *(ROOT / "models").rglob("*")]:
        path = source.relative_to(ROOT)
        if source.is_file() and "__pycache__" not in path.parts and path.parts[:2] != ("models", "build"):
            carried = (
                str(path).replace("models/", "appliance/_models/", 1)
                if path.parts[0] == "models"
                else str(path)
            )
            assert carried in names
    assert not [name for name in names if "_models/build" in name or "__pycache__" in name]


def test_the_command_runs_with_only_the_wheel(installed, tmp_path):
    done = installed.command("--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert appliance.__version__ in done.stdout
    done = installed.command("check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ai-edge-litert" in done.stdout + done.stderr
