"""The other sets of packages give the same answers, in environments made from their locks."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.e2e.device.environments import Environment
from tests.machine import ROOT, fallback_python
from tests.vendor_stubs.edgetpu import Stick

pytestmark = pytest.mark.timeout(600)


def environment(name: str) -> Environment:
    """The environment of a lock, kept between runs while the lock and the interpreter are unchanged."""
    python = fallback_python()
    if python is None:
        pytest.skip("no Python 3.10 or 3.11 here")
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    lock = ROOT / "requirements" / f"{name}.txt"
    key = hashlib.sha256(lock.read_bytes() + f"{version}{ROOT}".encode()).hexdigest()[:16]
    kept = ROOT / ".venv-fallback" / name
    if not (kept / key / "complete").exists():
        shutil.rmtree(kept, ignore_errors=True)
        made = Environment.make(kept / key, python, "--require-hashes", "-r", str(lock))
        made.pip("install", "--no-deps", "--editable", str(ROOT))
        made.pip("check")
        (kept / key / "complete").touch()
    return Environment(kept / key)


@pytest.fixture(scope="module")
def fallback() -> Environment:
    return environment("tflite-runtime")


@pytest.fixture(scope="module")
def numpy_1() -> Environment:
    """The set for a board whose camera packages are built against numpy 1."""
    return environment("litert-numpy1")


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


@pytest.fixture(scope="module")
def followed(demo_clip: Path, tmp_path_factory) -> list[list[tuple[int, str]]]:
    """The people that the tests' own environment follows through the clip."""
    return faces(Environment(Path(sys.prefix)), demo_clip, tmp_path_factory.mktemp("followed"))


def faces(environment: Environment, clip: Path, cwd: Path) -> list[list[tuple[int, str]]]:
    """Number and label of each face, for each tenth frame."""
    done = environment.command("analyze", "--jsonl", "--every", "10", str(clip), cwd=cwd)
    assert done.returncode == 0, done.stderr
    read = [json.loads(line)["faces"] for line in done.stdout.splitlines()]
    return [[(face["id"], face["label"]) for face in each] for each in read]


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


def test_the_set_for_numpy_1_runs_with_numpy_1(numpy_1, tmp_path):
    done = numpy_1.command("check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ai-edge-litert" in done.stdout + done.stderr
    versions = numpy_1.python("import numpy, cv2; print(numpy.__version__, cv2.__version__)").split()
    assert versions[0].startswith("1.") and versions[1].startswith("4.11."), versions


@pytest.mark.parametrize("name", ["fallback", "numpy_1"])
def test_every_set_reads_the_same(name, picture, request):
    expected = Environment(Path(sys.prefix)).reading(picture)["faces"]
    found = request.getfixturevalue(name).reading(picture)["faces"]
    assert len(found) == len(expected) > 0
    for face in expected:
        twin = max(found, key=lambda other: overlap(face["box"], other["box"]))
        assert overlap(face["box"], twin["box"]) > 0.9
        assert twin["dominant"] == face["dominant"]


@pytest.mark.parametrize("name", ["fallback", "numpy_1"])
def test_every_set_follows_people_through_the_clip(name, demo_clip, followed, request, tmp_path):
    """Tracking, movement and pose too: what numpy 1 and the older OpenCV are used for."""
    found = faces(request.getfixturevalue(name), demo_clip, tmp_path)
    assert len(found) == len(followed) > 20
    same = sum(one == other for one, other in zip(followed, found, strict=True))
    assert same >= 0.9 * len(followed), (same, len(followed))


def test_it_runs_a_delegate_too(fallback, models_dir, tmp_path):
    stick = Stick(tmp_path, *models_dir.glob("*_int8.tflite"))
    arguments = ["check", *stick.arguments]
    done = fallback.command(*arguments, cwd=tmp_path, **stick.environment)
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert told.count("Edge TPU through tflite-runtime 2.14.0") == 3, told
    stick.is_now("absent")
    told = fallback.command(*arguments, cwd=tmp_path, **stick.environment)
    assert "no Edge TPU responds at usb" in told.stdout + told.stderr
