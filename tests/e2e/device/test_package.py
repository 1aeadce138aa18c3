"""The wheel has everything that the command needs, with only the runtime dependencies and no checkout.

Their versions are those of the locks: no network is needed once they are in the cache.
"""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
import zipfile
from pathlib import Path

import cv2
import pytest
from device.bundle.container import NUMPY_2
from device.bundle.own_wheel import make_wheel

import appliance
from tests.e2e.daemon.driver import READY_S, STOP_S, free_port, until
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


def test_a_picture_is_read_with_the_runtime_packages_alone(installed, demo_clip, tmp_path):
    clip = cv2.VideoCapture(str(demo_clip))
    read, image = clip.read()
    clip.release()
    assert read and cv2.imwrite(str(tmp_path / "picture.png"), image)
    assert len(installed.reading(tmp_path / "picture.png")["faces"]) == 2


def test_the_demo_clip_is_played_with_the_runtime_packages_alone(installed, tmp_path):
    log, port = tmp_path / "log", free_port()
    arguments = ["--camera", "demo", "--port", str(port), "--data-dir", str(tmp_path / "state")]
    process = installed.start("run", *arguments, cwd=tmp_path, log=log)

    def frame() -> int:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/state", timeout=5) as answer:
                reading = json.load(answer)["reading"]
        except OSError:
            return 0
        return reading["frame"] if reading and reading["faces"] else 0

    try:
        until(lambda: frame() > 60, READY_S, "two seconds of the clip are read")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            assert b"Interview Grader" in page.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(2 * STOP_S) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()
