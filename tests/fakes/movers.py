"""People who move as a test scripts it, in front of a textured wall: pictures, and faces as from a detector.

Lengths are in face widths unless stated to be pixels, times in seconds, angles in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Box, Face, Image, Movement
from appliance.vision.motion.frame_pair import FramePair, FramePairBuilder
from appliance.vision.motion.head_pose import MEAN_FACE, estimate_pose
from appliance.vision.motion.movement import MotionEstimator

Angle = Callable[[float], float]
Way = Callable[[float], tuple[float, float]]

MARGIN_PX = 160
"""The wall extends beyond the picture by this many pixels."""


def still(_time: float) -> float:
    return 0.0


def nowhere(_time: float) -> tuple[float, float]:
    return 0.0, 0.0


def bouts(rate: float, degrees: float, times: int, every: float, begin: float = 1.0) -> Angle:
    """Out and back by `degrees`, `times` in a row at `rate` a second, repeated `every` this many seconds."""

    def angle(time: float) -> float:
        into = (time - begin) % every if time >= begin else math.inf
        return degrees * (1 - math.cos(math.tau * rate * into)) / 2 if into < times / rate else 0.0

    return angle


def swings(rate: float, degrees: float, times: int, every: float, begin: float = 1.0) -> Angle:
    """To both sides by `degrees`, otherwise as `bouts`."""

    def angle(time: float) -> float:
        into = (time - begin) % every if time >= begin else math.inf
        return degrees * math.sin(math.tau * rate * into) if into < times / rate else 0.0

    return angle


def marked(
    center: tuple[float, float],
    width: float,
    yaw: float,
    pitch: float,
    roll: float,
    tremble: NDArray[np.float64],
) -> Face:
    """A face with the keypoints of the mean face, turned; a row of `tremble` is added to each.

    `center` and `width` are pixels; `tremble` has eight rows: six keypoints, the box's corners.
    """
    across, down = math.radians(yaw), math.radians(pitch)
    turn_y = [[math.cos(across), 0, math.sin(across)], [0, 1, 0], [-math.sin(across), 0, math.cos(across)]]
    turn_x = [[1, 0, 0], [0, math.cos(down), -math.sin(down)], [0, math.sin(down), math.cos(down)]]
    tilt = math.radians(roll)
    turn_z = [[math.cos(tilt), -math.sin(tilt), 0], [math.sin(tilt), math.cos(tilt), 0], [0, 0, 1]]
    turned = (MEAN_FACE - [0, 0.2, -0.3]) @ (np.array(turn_z) @ np.array(turn_y) @ np.array(turn_x)).T
    corners = np.array([(-0.5, -0.5), (0.5, 0.5)])
    points = np.vstack([turned[:, :2], corners]) + tremble
    points = points * width + np.asarray(center)
    (left, top), (right, bottom) = points[6:].tolist()
    keypoints = tuple((float(x), float(y)) for x, y in points[:6])
    return Face(Box(left, top, right - left, bottom - top), 0.95, keypoints)


@dataclass(frozen=True)
class Act:
    """The movement of the person, the light and the camera at each moment."""

    yaw: Angle = still
    pitch: Angle = still
    roll: float = 0.0
    head: Way = nowhere
    torso: Way = nowhere
    arm: Way = nowhere
    """Offset of an arm, a third of a face wide and one and a half long, from its place on the chest."""
    camera_px: Way = nowhere
    light: Callable[[float], float] = field(default=lambda _time: 1.0)
    """The factor of each pixel."""
    lamp: Callable[[float], float] = still
    """The strength of a second lamp, which lights the left more than the right."""
    banding: Callable[[float], float] = still
    """How unevenly mains light lights the rows, in a pattern that runs through the picture."""


def texture(height: int, width: int, seed: int, grain_px: float, contrast: float) -> NDArray[np.float32]:
    """A pattern with details of `grain_px` and four times that; mean 120, standard deviation `contrast`."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for grain in (grain_px, 4 * grain_px):
        cells = random.normal(size=(max(2, int(height / grain)), max(2, int(width / grain)))).astype(
            np.float32
        )
        total += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(120 + contrast * total / total.std(), np.float32)


class Stage:
    """Renders one person, with the face in the upper centre of the picture."""

    def __init__(
        self,
        *,
        width: int = 640,
        height: int = 360,
        face_px: float = 72.0,
        noise: float = 3.0,
        wall: float = 30.0,
        shirt: float = 20.0,
        seed: int = 0,
        face_y: float = 0.3,
    ) -> None:
        """`noise`: of each pixel, in grey levels; `wall`, `shirt`: the contrast of their patterns."""
        self.size = width, height
        self.face_px = face_px
        self.noise = noise
        self._center = width / 2, height * face_y
        self._random = np.random.default_rng(seed)
        across, down = width + 2 * MARGIN_PX, height + 2 * MARGIN_PX
        self._wall = texture(down, across, seed + 1, 9.0, wall)
        side = int(face_px)
        self._shirt = texture(int(4 * side), int(2.2 * side), seed + 2, side / 8, shirt) - 20
        self._arm = texture(int(1.5 * side), max(3, side // 3), seed + 3, side / 8, shirt) + 40
        self._head = texture(int(1.3 * side), side, seed + 4, side / 6, 15.0) + 30

    def face(self, act: Act, time: float, jitter: float = 0.005) -> Face:
        """The face as from a detector; every keypoint has an error of `jitter` (standard deviation)."""
        (x, y), (dx, dy) = act.head(time), act.camera_px(time)
        center = self._center[0] + x * self.face_px + dx, self._center[1] + y * self.face_px + dy
        tremble = self._random.normal(0.0, jitter, (8, 2))
        return marked(center, self.face_px, act.yaw(time), act.pitch(time), act.roll, tremble)

    def picture(self, act: Act, time: float) -> Image:
        width, height = self.size
        dx, dy = act.camera_px(time)
        scene = _moved(self._wall, dx - MARGIN_PX, dy - MARGIN_PX, self.size)
        for sprite, (x, y), (left, top) in (
            (self._shirt, act.torso(time), (-1.1, 0.6)),
            (self._arm, act.arm(time), (-0.2, 1.0)),
            (self._head, act.head(time), (-0.5, -0.65)),
        ):
            at_x = self._center[0] + (x + left) * self.face_px + dx
            at_y = self._center[1] + (y + top) * self.face_px + dy
            cover = _moved(np.ones_like(sprite), at_x, at_y, self.size)
            scene += _moved(sprite, at_x, at_y, self.size) - cover * scene
        scene *= self._lit(act, time)
        scene += self._random.normal(0.0, self.noise, (height, width)).astype(np.float32)
        grey = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)

    def _lit(self, act: Act, time: float) -> NDArray[np.float32]:
        width, height = self.size
        across, down = np.linspace(1, 0, width)[None, :], np.arange(height)[:, None] / height
        bands = 1 + act.banding(time) * np.sin(math.tau * (1.7 * down + 7.3 * time))
        return np.asarray((act.light(time) + act.lamp(time) * across) * bands, np.float32)


def _moved(sprite: NDArray[np.float32], x: float, y: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """The sprite with its top left corner at (x, y), black elsewhere."""
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.asarray(cv2.warpAffine(sprite, matrix, size, flags=cv2.INTER_LINEAR), np.float32)


Played = list[tuple[float, Movement | None]]


def times(fps: float, seconds: float) -> Iterator[float]:
    return (index / fps for index in range(int(seconds * fps) + 1))


def play(stage: Stage, act: Act, fps: float, seconds: float, jitter: float = 0.005) -> Played:
    """The movements in an act, frame by frame, from pictures and faces."""
    pairs, motion, played = FramePairBuilder(), MotionEstimator(), []
    for time in times(fps, seconds):
        face = stage.face(act, time, jitter)
        pair = pairs.add(stage.picture(act, time), [face.box], time)
        played.append((time, motion.add(pair, face, estimate_pose(face), time)))
    return played


BLANK = FramePair(np.zeros((45, 80), np.float32), 0.25)
"""An empty frame pair, for movements that are read from the keypoints alone."""


def play_head(act: Act, fps: float, seconds: float, jitter: float, seed: int = 0) -> Played:
    """The movements in an act, from the faces alone."""
    stage, motion = Stage(width=64, height=64, seed=seed), MotionEstimator()
    stage.face_px = 200.0
    played = []
    for time in times(fps, seconds):
        face = stage.face(act, time, jitter)
        played.append((time, motion.add(BLANK, face, estimate_pose(face), time)))
    return played


def counted(played: Played, what: str) -> int:
    """The sum of the figures, read once a second."""
    seconds = [movement for time, movement in played if movement and abs(time - round(time)) < 1e-6]
    return sum(getattr(movement, what) for movement in seconds)
