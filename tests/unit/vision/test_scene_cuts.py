"""Hard cuts are detected; changes of light, movement, a pan or a fade are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.values import Image
from appliance.vision.motion.scene_cuts import CutDetector
from tests.fakes.parts import picture

FPS = 25
SIZE = 320, 240

Portraits = tuple[list[Image], list[Image]]


@pytest.fixture(scope="module")
def portraits(demo_clip: Path) -> Portraits:
    """Two seconds of each person of the demo clip, framed alike in front of the same wall."""
    capture, both = cv2.VideoCapture(str(demo_clip)), []
    for _ in range(50):
        done, image = capture.read()
        assert done
        both.append(np.asarray(image, np.uint8))
    capture.release()
    middle = both[0].shape[1] // 2
    return [on_wall(image[:, :middle]) for image in both], [on_wall(image[:, middle:]) for image in both]


def on_wall(portrait: Image) -> Image:
    """The person, cut out with an oval, in front of a wall."""
    height, width = portrait.shape[:2]
    scale = SIZE[1] / height
    small = cv2.resize(portrait, (round(width * scale), SIZE[1]), interpolation=cv2.INTER_AREA)
    mask = np.zeros(small.shape[:2], np.float32)
    middle = small.shape[1] // 2
    cv2.ellipse(
        mask, (middle, round(0.42 * SIZE[1])), (round(0.4 * middle), round(0.3 * SIZE[1])), 0, 0, 360, 1, -1
    )
    cv2.ellipse(mask, (middle, SIZE[1]), (round(0.8 * middle), round(0.28 * SIZE[1])), 0, 0, 360, 1, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[:, :, None]
    wall = np.full((SIZE[1], SIZE[0], 3), (150, 140, 130), np.float32)
    wall += np.linspace(-20, 20, SIZE[0], dtype=np.float32)[None, :, None]
    left = (SIZE[0] - small.shape[1]) // 2
    part = wall[:, max(0, left) : max(0, left) + small.shape[1]]
    inside = slice(max(0, -left), max(0, -left) + part.shape[1])
    part[:] = part * (1 - mask[:, inside]) + small[:, inside] * mask[:, inside]
    return np.asarray(wall, np.uint8)


def noisy(image: Image, seed: int, light: float = 1.0) -> Image:
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return np.asarray(np.clip(image * light + noise, 0, 255), np.uint8)


def cuts(video: Sequence[Image], fps: float = FPS) -> list[int]:
    detector = CutDetector()
    return [n for n, image in enumerate(video) if detector.is_cut(noisy(image, n), n / fps)]


def moved(image: Image, pixels: float) -> Image:
    turn = np.array([[1, 0, pixels], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(image, turn, SIZE, borderMode=cv2.BORDER_REFLECT), np.uint8)


def test_each_cut_between_two_people_framed_alike_is_found(portraits: Portraits) -> None:
    take = 38  # 1.5 s
    video = [image for turn in range(4) for image in portraits[turn % 2][:take]]
    assert cuts(video) == [take, 2 * take, 3 * take]


@pytest.mark.parametrize("seconds", [0.04, 0.08, 0.16])
def test_a_cut_through_a_few_black_frames_is_one(portraits: Portraits, seconds: float) -> None:
    black = [picture(*SIZE)] * (round(seconds * FPS) - 1)
    first, second = portraits
    assert cuts([*first[:20], *black, *second[:20]]) == [20 + len(black)]
    assert cuts([*first[:20], *black, *first[20:40]]) == []


def take(portraits: Portraits, change: Callable[[Image, int], Image]) -> list[Image]:
    return [change(image, number) for number, image in enumerate(portraits[0])]


def passing(image: Image, x: float) -> Image:
    """A dark person near the camera, centred at `x`."""
    covered = image.copy()
    cv2.ellipse(covered, (round(x), 110), (45, 60), 0, 0, 360, (45, 40, 38), -1)
    cv2.ellipse(covered, (round(x), 240), (80, 90), 0, 0, 360, (60, 50, 42), -1)
    return covered


ONE_TAKE: dict[str, Callable[[Image, int], Image]] = {
    "a still person": lambda image, _: image,
    "a lamp, on and off": lambda image, n: noisy(image, n, 1.0 if n // 8 % 2 else 0.3),
    "a lamp at one side": lambda image, n: np.asarray(
        image * np.linspace(1.0 if n // 8 % 2 else 0.3, 1, SIZE[0])[None, :, None], np.uint8
    ),
    "exposure that jumps": lambda image, n: noisy(image, n, 1.7 if n // 8 % 2 else 1.0),
    "a fade to black and back": lambda image, n: noisy(image, n, abs(1 - n / 20)),
    "a slow fade": lambda image, n: noisy(image, n, max(0.0, 1 - n / 45)),
    "a flash": lambda image, n: noisy(image, n, 2.5 if n == 20 else 1.0),
    "a quick pan": lambda image, n: moved(image, 60 * np.sin(n / 2)),
    "a shaken head": lambda image, n: moved(image, (0, 16, 32, 16)[n % 4]),
    "a person walks through": lambda image, n: passing(image, 15 * n - 100),
    "a person runs through": lambda image, n: passing(image, 26 * n - 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ONE_TAKE)
def test_one_take_has_no_cut(portraits: Portraits, what: str) -> None:
    assert cuts(take(portraits, ONE_TAKE[what])) == []


def test_frames_far_apart_are_not_compared(portraits: Portraits) -> None:
    video = [portraits[number % 2][0] for number in range(6)]
    assert cuts(video, fps=5) == [1, 2, 3, 4, 5]
    assert cuts(video, fps=4) == []


def test_a_dissolve_is_not_a_cut(portraits: Portraits) -> None:
    first, second = portraits
    mixed = [
        np.asarray(cv2.addWeighted(first[n], 1 - n / 25, second[n], n / 25, 0), np.uint8) for n in range(26)
    ]
    assert cuts(mixed) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (640, 480)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    detector = CutDetector()
    assert not any(detector.is_cut(picture(*size, value), value / 25) for value in (0, 90, 255))


def test_a_video_starts_without_a_cut(portraits: Portraits) -> None:
    detector = CutDetector()
    assert not detector.is_cut(portraits[0][0], 0.0)
    detector.reset()
    assert not detector.is_cut(portraits[1][0], 0.04)
