"""The files under models/: the demo clip, and the models' digests."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODELS = Path(__file__).resolve().parents[3] / "models"
CLIP = MODELS / "demo" / "demo.mp4"
MANIFEST: dict[str, Any] = tomllib.loads((MODELS / "manifest.toml").read_text(encoding="utf-8"))


@pytest.fixture
def clip() -> Iterator[cv2.VideoCapture]:
    capture = cv2.VideoCapture(str(CLIP))
    assert capture.isOpened()
    yield capture
    capture.release()


def frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield frame


def test_clip_is_small_enough_to_ship() -> None:
    assert 0 < CLIP.stat().st_size <= 3_000_000


def test_clip_is_720p_at_30_frames_a_second(clip: cv2.VideoCapture) -> None:
    size = clip.get(cv2.CAP_PROP_FRAME_WIDTH), clip.get(cv2.CAP_PROP_FRAME_HEIGHT)
    assert size == (1280, 720)
    assert clip.get(cv2.CAP_PROP_FPS) == 30.0


@pytest.mark.slow
def test_clip_is_complete_never_repeats_a_frame_and_loops(clip: cv2.VideoCapture) -> None:
    announced = clip.get(cv2.CAP_PROP_FRAME_COUNT)
    digests: list[str] = []
    small: list[np.ndarray] = []
    for frame in frames(clip):
        assert frame.shape == (720, 1280, 3)
        digests.append(hashlib.sha256(frame.tobytes()).hexdigest())
        small.append(cv2.resize(frame, (160, 90), interpolation=cv2.INTER_AREA).astype(np.float32))
    assert len(digests) == announced
    assert 10 * 30 <= len(digests) <= 20 * 30
    repeated = [n for n in range(1, len(digests)) if digests[n] == digests[n - 1]]
    assert repeated == []
    steps = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(small)]
    seam = float(np.abs(small[0] - small[-1]).mean())
    assert seam <= max(steps)


def test_clip_can_be_played_again_from_its_start(clip: cv2.VideoCapture) -> None:
    first = next(frames(clip))
    for _ in range(45):
        clip.read()
    assert clip.set(cv2.CAP_PROP_POS_FRAMES, 0)
    assert np.array_equal(next(frames(clip)), first)


@pytest.mark.parametrize(
    "source", ["scikit-image", "astronaut.png", "NASA", "matplotlib", "grace_hopper.jpg", "US Navy"]
)
def test_notice_names_the_sources_of_the_clip(source: str) -> None:
    assert source in (MODELS / "NOTICE").read_text(encoding="utf-8")


def test_every_model_file_is_in_the_manifest() -> None:
    listed = sorted(model["file"] for model in MANIFEST["models"].values())
    assert listed == sorted(path.name for path in MODELS.glob("*.tflite"))


@pytest.mark.parametrize("name", sorted(MANIFEST["models"]))
def test_model_is_the_one_in_the_manifest_and_in_the_notice(name: str) -> None:
    model = MANIFEST["models"][name]
    digest = hashlib.sha256((MODELS / model["file"]).read_bytes()).hexdigest()
    assert digest == model["sha256"]
    notice = (MODELS / "NOTICE").read_text(encoding="utf-8")
    assert model["file"] in notice
    assert digest in notice or model.get("built_by")


def test_defaults_name_models_of_the_right_role() -> None:
    roles = {use: MANIFEST["models"][name]["role"] for use, name in MANIFEST["defaults"].items()}
    assert roles == {"detector": "detector", "verifier": "detector", "classifier": "classifier"}


def test_anchors_and_classes_agree_with_the_tensors() -> None:
    for model in MANIFEST["models"].values():
        shapes = {tensor["name"]: tensor["shape"] for tensor in model["outputs"]}
        if model["role"] == "detector":
            decoding = model["decoding"]
            anchors = sum(layer["cells"] ** 2 * layer["per_cell"] for layer in model["anchors"]["layers"])
            assert shapes[decoding["boxes"]] == [1, anchors, 4 + 2 * len(decoding["keypoints"])]
            assert shapes[decoding["scores"]] == [1, anchors, 1]
        else:
            assert shapes.pop(model["covered"]) == [1, 1]
            assert list(shapes.values()) == [[1, len(model["classes"])]]
            assert len(set(model["classes"])) == len(model["classes"])
