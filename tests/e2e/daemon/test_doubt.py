"""What `analyze` claims and what it does not: labels that follow without flickering, and reasons."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.values import Image
from tests.e2e.daemon.driver import called

SIDE = 640
FACE = 372, 367
"""Centre of the face in the pictures here, x and y; it is about 240 pixels wide."""

LEFT_IN_CLIP = {"happy": 0, "neutral": 898 - FACE[0]}
"""The regions of the demo clip from which these pictures are cut: one person each, at the same place."""


@pytest.fixture(scope="module")
def people(demo_clip: Path) -> dict[str, Image]:
    """One picture of each person of the demo clip, 720 pixels high, by expression."""
    capture = cv2.VideoCapture(str(demo_clip))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    return {name: image[:, left : left + SIDE].copy() for name, left in LEFT_IN_CLIP.items()}


def read(*arguments: str | Path) -> list[Any]:
    """The readings of `analyze`."""
    done = called("analyze", "--jsonl", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def filmed(path: Path, rate: float, pictures: Iterable[Image]) -> Path:
    """A video of pictures, each with fresh sensor noise of 2.5 levels."""
    random = np.random.default_rng(7)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (SIDE, 720))
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 98)
    assert writer.isOpened()
    for picture in pictures:
        writer.write(noisy(picture, random))
    writer.release()
    return path


def noisy(picture: Image, random: np.random.Generator) -> Image:
    noise = random.normal(0, 2.5, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def labels(readings: list[Any]) -> list[tuple[float, str]]:
    """Time and label of the only face."""
    assert all(len(reading["faces"]) == 1 for reading in readings)
    return [(reading["time_s"], reading["faces"][0]["label"]) for reading in readings]


@pytest.mark.parametrize("rate", [5, 10, 30])
@pytest.mark.parametrize(("before", "after"), [("happy", "neutral"), ("neutral", "happy")])
def test_after_a_hard_cut_the_label_follows(
    people: dict[str, Image], tmp_path: Path, rate: int, before: str, after: str
) -> None:
    frames = [people[before]] * (2 * rate) + [people[after]] * rate
    found = labels(read(filmed(tmp_path / "cut.avi", rate, frames)))
    # The cut is between two frames: the longest wait is from the earlier one until the label follows.
    cut = (2 * rate - 1) / rate
    assert {label for time_s, label in found if time_s > cut + 0.4 + 1e-6} == {after}
    assert {label for time_s, label in found if 0.5 < time_s <= cut} == {before}


@pytest.mark.parametrize("person", ["happy", "neutral"])
def test_a_still_face_under_sensor_noise_keeps_its_label(
    people: dict[str, Image], tmp_path: Path, person: str
) -> None:
    found = labels(read(filmed(tmp_path / "still.avi", 15, [people[person]] * 150)))
    changes = sum(one != other for (_, one), (_, other) in itertools.pairwise(found))
    assert len(found) == 150 and changes <= 1


def test_an_unreadable_frame_is_reported_and_changes_nothing_else(
    people: dict[str, Image], tmp_path: Path
) -> None:
    plain, bad = people["happy"], blurred(people["happy"])
    readings = read(filmed(tmp_path / "one.avi", 30, [plain] * 20 + [bad] + [plain] * 10))
    assert [label for _, label in labels(readings)] == ["happy"] * 20 + ["not_readable"] + ["happy"] * 10
    (face,) = readings[20]["faces"]
    assert (face["readable"], face["reason"]) == (False, "blurred")
    assert face["emotions"] is face["emotions_raw"] is face["dominant"] is None
    assert {reading["faces"][0]["id"] for reading in readings} == {1}


# The same person under conditions in which no one should be read


def dark(picture: Image) -> Image:
    return exposed(picture, 0.06)


def bright(picture: Image) -> Image:
    return exposed(picture, 6.0)


def exposed(picture: Image, gain: float) -> Image:
    return np.clip(picture.astype(np.float32) * gain, 0, 255).astype(np.uint8)


def blurred(picture: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 12), np.uint8)


def small(picture: Image) -> Image:
    """Far away: the face is about 15 pixels wide, in a picture in which a detector still sees it."""
    return np.asarray(cv2.resize(picture[127:607, 132:612], (30, 30), interpolation=cv2.INTER_AREA), np.uint8)


def turned(picture: Image) -> Image:
    """Nose to the right: the picture on an upright cylinder as wide as the head, which is turned.

    It has no real far side, so the detector's keypoints are those of a head that is turned less.
    """
    radius, angle = 150.0, np.radians(50)
    across, down = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(720, dtype=np.float32))
    on_it = np.arcsin(np.clip((across - FACE[0]) / radius, -1, 1)) - angle
    before = FACE[0] + radius * np.sin(np.maximum(on_it, -np.pi / 2))
    before = np.where(np.abs(across - FACE[0]) < radius, before, across).astype(np.float32)
    return np.asarray(cv2.remap(picture, before, down, cv2.INTER_LINEAR), np.uint8)


@pytest.mark.parametrize(
    ("worse", "more"),
    [
        (dark, ()),
        (bright, ()),
        (blurred, ()),
        (small, ("--set", "vision.min_face_px=20")),
        (turned, ("--set", "vision.max_yaw=9")),
    ],
)
def test_an_unreadable_face_has_a_reason(
    people: dict[str, Image], tmp_path: Path, worse: Callable[[Image], Image], more: tuple[str, ...]
) -> None:
    path = tmp_path / "picture.png"
    picture = worse(people["neutral" if worse is bright else "happy"])
    cv2.imwrite(str(path), noisy(picture, np.random.default_rng(8)))
    (reading,) = read(path, *more)
    # In damaged pictures a detector may find faces elsewhere as well.
    face = max(reading["faces"], key=lambda each: float(each["score"]))
    assert (face["analysed"], face["readable"], face["label"]) == (True, False, "not_readable")
    assert face["reason"] == worse.__name__
    assert face["emotions"] is face["emotions_raw"] is face["dominant"] is None


@pytest.mark.parametrize("person", ["happy", "neutral"])
def test_a_good_picture_is_read(people: dict[str, Image], tmp_path: Path, person: str) -> None:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), people[person])
    (face,) = read(path)[0]["faces"]
    assert (face["readable"], face["reason"], face["label"]) == (True, None, person)
    assert face["pose"]["yaw"] == pytest.approx(0, abs=20)
