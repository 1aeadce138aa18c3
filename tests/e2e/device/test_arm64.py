"""The boards' processors give the same answers as this one: arm64 Debian, aarch64 wheels, emulated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.inference.manifest import DetectorModel, Manifest
from appliance.values import Tensor
from appliance.vision.tensors import InputEncoder
from tests.e2e.device import arm64
from tests.e2e.device.answers import answers
from tests.e2e.device.arm64 import Arm64
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(1500)

SUITES = os.environ.get("ARM64_SUITES", "trixie").split()
"""trixie has ai-edge-litert, bookworm tflite-runtime."""

BOARDS = list(arm64.CPUS) if "ARM64_SUITES" in os.environ else ["Raspberry Pi 5"]
"""Boards whose processors run every model; the other one reads the pictures."""

FRAMES = (0, 130, 300)
FLOAT_TOLERANCE = 1e-4
"""A share of the largest value of the same output. Only the order of additions may differ."""
INT8_MEAN_STEPS = 1.0
"""Of 256, on average. Measured: 0.8 at most; single values of the short range differ by up to 62 steps."""


@pytest.fixture(scope="module")
def share(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of the demo clip as pictures."""
    folder = tmp_path_factory.mktemp("arm64")
    clip = cv2.VideoCapture(str(demo_clip))
    for number in range(max(FRAMES) + 1):
        read, image = clip.read()
        assert read
        if number in FRAMES:
            assert cv2.imwrite(str(folder / f"{number}.png"), image)
    clip.release()
    return folder


@pytest.fixture(scope="module")
def here(share: Path) -> list[dict[str, Any]]:
    """What this machine reads in the pictures."""
    command = [sys.executable, "-m", "appliance", "analyze", "--jsonl", *(f"{share}/{n}.png" for n in FRAMES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    read = [json.loads(line)["faces"] for line in done.stdout.splitlines()]
    assert len(read) == len(FRAMES) and all(len(faces) == 2 for faces in read)
    return read


@pytest.fixture(scope="module")
def inputs(share: Path, here: list[list[dict[str, Any]]], models_dir: Path) -> dict[str, Tensor]:
    """Inputs for each model, cut from the pictures."""
    manifest = Manifest.load(models_dir)
    made = {}
    for name, model in manifest.document.models.items():
        tensors = []
        for number, faces in zip(FRAMES, here, strict=True):
            image = cv2.imread(f"{share}/{number}.png")
            for face in faces:
                x, y, side, _ = (round(value) for value in face["box"])
                # A detector needs the surroundings of the face.
                reach = side // 2 if isinstance(model, DetectorModel) else 0
                crop = image[max(0, y - reach) : y + side + reach, max(0, x - reach) : x + side + reach]
                tensors.append(_fitting(crop, model))
        made[name] = np.stack(tensors)
    return made


def _fitting(crop: Tensor, model: Any) -> Tensor:
    size = model.preprocessing.size
    colour = cv2.COLOR_BGR2GRAY if model.preprocessing.colour == "grey" else cv2.COLOR_BGR2RGB
    pixels = cv2.resize(cv2.cvtColor(crop, colour), (size, size), interpolation=cv2.INTER_AREA)
    return InputEncoder(model.preprocessing.range, model.inputs[0].spec()).encode(pixels)


@pytest.fixture(scope="module", params=SUITES)
def board(request: pytest.FixtureRequest, share: Path) -> Iterator[Arm64]:
    """A system of a board."""
    if reason := arm64.lacking():
        pytest.skip(f"nothing can be run for arm64: {reason}")
    yield Arm64(request.param, share)
    shutil.rmtree(share / "own")


@pytest.mark.parametrize("model", BOARDS)
def test_every_model_answers_as_here(
    board: Arm64, model: str, inputs: dict[str, Tensor], share: Path
) -> None:
    cpu = arm64.CPUS[model]
    shutil.copy2(ROOT / "tests/e2e/device/answers.py", share)
    np.savez(share / "inputs.npz", **inputs)
    done = board.run(cpu, "/mnt/answers.py", "/mnt/inputs.npz", "/mnt/outputs.npz")
    assert done.returncode == 0, done.stderr
    expected = answers(inputs)
    with np.load(share / "outputs.npz") as file:
        found = dict(file)
    assert found.keys() == expected.keys()
    far = {name: np.abs(there.astype(np.float64) - expected[name]) for name, there in found.items()}
    for name, there in found.items():
        print(f"{cpu} {name}: {there.dtype} max {far[name].max():.3g}, mean {far[name].mean():.2g}")
    for name, there in found.items():
        assert len(np.unique(there)) > 4, f"{name}: no answers to compare"
        if there.dtype == np.int8:
            assert far[name].mean() <= INT8_MEAN_STEPS, name
        else:
            assert far[name].max() <= FLOAT_TOLERANCE * np.abs(expected[name]).max(), name


def test_pictures_are_read_as_here(board: Arm64, here: list[list[dict[str, Any]]]) -> None:
    pictures = [f"/mnt/{number}.png" for number in FRAMES]
    one_process = ("--jobs", "1")  # a process cannot start another: the emulator is a program of this machine
    done = board.run(
        arm64.CPUS["Raspberry Pi 4"], "-m", "appliance", "analyze", "--jsonl", *one_process, *pictures
    )
    assert done.returncode == 0, done.stderr
    read = [json.loads(line)["faces"] for line in done.stdout.splitlines()]
    for faces, expected in zip(read, here, strict=True):
        assert len(faces) == len(expected)
        for face, twin in zip(faces, expected, strict=True):
            assert face["label"] == twin["label"]
            assert np.abs(np.subtract(face["box"], twin["box"])).max() < 0.04 * twin["box"][2]
            assert abs(face["emotions"][face["label"]] - twin["emotions"][twin["label"]]) < 0.05
            assert all(abs(face["pose"][angle] - twin["pose"][angle]) < 5 for angle in face["pose"])
