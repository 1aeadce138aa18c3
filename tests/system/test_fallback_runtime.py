"""The other TFLite runtime gives the same answers: a second environment, made by the extra of that name."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.doubles.edgetpu import Stick
from tests.machine import ROOT, fallback_python
from tests.system.environments import Environment

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def fallback() -> Environment:
    """Kept between runs while pyproject.toml and the interpreter stay the same."""
    python = fallback_python()
    if python is None:
        pytest.skip("no Python 3.10 or 3.11 here")
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    key = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + f"{version}{ROOT}".encode()).hexdigest()[
        :16
    ]
    kept = ROOT / ".venv-fallback"
    if not (kept / key / "complete").exists():
        shutil.rmtree(kept, ignore_errors=True)
        Environment.make(kept / key, python, "--editable", f"{ROOT}[tflite-runtime]")
        (kept / key / "complete").touch()
    return Environment(kept / key)


@pytest.fixture(scope="module")
def picture(demo_clip: Path, tmp_path_factory) -> Path:
    """One picture of the demo clip."""
    clip = cv2.VideoCapture(str(demo_clip))
    read, image = clip.read()
    clip.release()
    assert read
    path = tmp_path_factory.mktemp("picture") / "frame.png"
    assert cv2.imwrite(str(path), image)
    return path


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes [x, y, width, height]."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    return common / (one[2] * one[3] + other[2] * other[3] - common)


def test_check_names_the_runtime_that_runs(fallback, tmp_path):
    done = fallback.command("check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tflite-runtime 2.14.0" in done.stdout + done.stderr


def test_both_runtimes_read_the_same(fallback, picture):
    expected = Environment(Path(sys.prefix)).reading(picture)["faces"]
    found = fallback.reading(picture)["faces"]
    assert len(found) == len(expected) > 0
    for face in expected:
        twin = max(found, key=lambda other: overlap(face["box"], other["box"]))
        assert overlap(face["box"], twin["box"]) > 0.9
        assert twin["dominant"] == face["dominant"]


def test_a_delegate_goes_through_it_too(fallback, models_dir, tmp_path):
    stick = Stick(tmp_path, *models_dir.glob("*_int8.tflite"))
    arguments = ["check", *stick.arguments]
    done = fallback.command(*arguments, cwd=tmp_path, **stick.environment)
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert told.count("Edge TPU through tflite-runtime 2.14.0") == 3, told
    stick.is_now("absent")
    told = fallback.command(*arguments, cwd=tmp_path, **stick.environment)
    assert "no Edge TPU answers at usb" in told.stdout + told.stderr
