"""The values that pass through the appliance: frame, box, face, scores, person, reading. All immutable.

Almost everything imports this module, so it loads no numpy, which is slow and which `config` does not need.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMOTIONS = ("angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral")
"""The seven expression classes, in the order used everywhere."""

Image: TypeAlias = "NDArray[np.uint8]"
"""A picture: uint8, shape (height, width, 3), channels blue, green, red; or (height, width) when grey."""

Tensor: TypeAlias = "NDArray[np.generic]"
Floats: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class Frame:
    """One picture of a camera or a file. Its image is marked read-only.

    `jpeg`: the same picture as the camera encoded it, intact and fit for any viewer; None if there is none.
    `source_size`: width and height of the picture before it was shrunk for the appliance; None: it was not.
    `full_size`: returns the picture before it was shrunk, decoded on the first call.
    `number` rises by one with each frame. `captured`: monotonic seconds. `time_s`: seconds since the camera
    was opened, or the position in a file. `consent_epoch`: the number of the consent or preview under which
    it was captured (see `consent.session`); frames with an older one are not processed.
    """

    number: int
    captured: float
    image: Image
    time_s: float = 0.0
    consent_epoch: int = 0
    jpeg: bytes | None = None
    source_size: tuple[int, int] | None = None
    full_size: Callable[[], Image] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self.image.flags.writeable = False

    @property
    def width(self) -> int:
        """Width of the source picture in pixels; `image` may be smaller."""
        return self.source_size[0] if self.source_size else int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height of the source picture in pixels; `image` may be smaller."""
        return self.source_size[1] if self.source_size else int(self.image.shape[0])

    @property
    def scale(self) -> float:
        """Pixels of the source picture per pixel of `image`."""
        return self.width / int(self.image.shape[1])

    def without_pixels(self) -> Frame:
        """The same frame without its picture, for what outlives the next frame."""
        size = self.width, self.height
        return replace(self, image=self.image[:0].copy(), jpeg=None, source_size=size, full_size=None)


@dataclass(frozen=True)
class Box:
    """An axis-aligned rectangle in pixels of the source picture; it may extend past the edge."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """y of the lower edge."""
        return self.y + self.height

    @property
    def center(self) -> tuple[float, float]:
        """Centre (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """Width times height in square pixels; 0 where a side is not positive."""
        return max(0.0, self.width) * max(0.0, self.height)

    def intersection(self, other: Box) -> float:
        """Area that both boxes cover, in square pixels."""
        across = min(self.right, other.right) - max(self.x, other.x)
        down = min(self.bottom, other.bottom) - max(self.y, other.y)
        return max(0.0, across) * max(0.0, down)

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        both = self.intersection(other)
        union = self.area + other.area - both
        return both / union if union > 0 else 0.0

    def scaled(self, factor: float) -> Box:
        """This box in a picture that is `factor` times as large."""
        return Box(self.x * factor, self.y * factor, self.width * factor, self.height * factor)

    def moved(self, dx: float, dy: float) -> Box:
        """This box shifted by (`dx`, `dy`) pixels."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)


Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A detected face: box and keypoints in pixels of the source picture.

    `keypoints`: the six of BlazeFace, each (x, y): the person's right eye, left eye, nose tip, mouth,
    right ear, left ear. Empty for a picture that is one cropped face. `score` is the detector's, 0 to 1.
    """

    box: Box
    score: float
    keypoints: tuple[Point, ...] = ()

    def scaled(self, factor: float) -> Face:
        """This face in a picture that is `factor` times as large."""
        if factor == 1:
            return self
        points = tuple((x * factor, y * factor) for x, y in self.keypoints)
        return Face(self.box.scaled(factor), self.score, points)


@dataclass(frozen=True)
class Scores:
    """Probabilities of the seven expressions in the order of `EMOTIONS`; they sum to 1."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, weights: NDArray[np.floating]) -> Scores:
        """Normalise seven non-negative weights, shape (7,), to sum to 1.

        Raises `ValueError` for another shape, a value that is not finite, or a sum that is not positive.
        """
        total = float(weights.sum())
        if weights.shape != (len(EMOTIONS),) or not math.isfinite(total) or total <= 0:
            raise ValueError(f"scores {weights!r}: expected seven finite numbers with a positive sum")
        return cls(tuple(float(value) / total for value in weights))

    @property
    def dominant(self) -> str:
        """Name of the expression with the highest score."""
        return EMOTIONS[self.values.index(self.top)]

    @property
    def top(self) -> float:
        """The highest score."""
        return max(self.values)

    def named(self) -> dict[str, float]:
        """Mapping of name to score, in the order of `EMOTIONS`."""
        return dict(zip(EMOTIONS, self.values, strict=True))


UNSURE, NOT_READABLE, NOT_ANALYSED = "unsure", "not_readable", "not_analysed"
"""Labels of a person other than the seven expressions."""

LABELS = (*EMOTIONS, UNSURE, NOT_READABLE, NOT_ANALYSED)
"""Every label of a person."""

_SHOWN_NAMES = {"fear": "fearful"}


def shown_name(label: str) -> str:
    """A label as people read it: `fearful` for `fear`, `not readable` for `not_readable`.

    For page, picture, PDF and tables; JSON and CSV keep the label itself.
    """
    return _SHOWN_NAMES.get(label, label.replace("_", " "))


@dataclass(frozen=True)
class Pose:
    """Head orientation in degrees, in the camera's frame; all 0 when it faces the camera with level eyes.

    `yaw`: positive when the nose points to the picture's right edge; `pitch`: positive upwards; `roll`:
    positive clockwise as seen in the picture.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class Movement:
    """How a person moved within the last second.

    `head`: mean speed of the head in face widths a second; `body`: change of the picture in the region below
    the face, 0 to 1, None where that region is outside the picture; `nods`, `shakes`: how many were
    completed.
    """

    head: float
    body: float | None
    nods: int
    shakes: int


@dataclass(frozen=True)
class ExpressionResult:
    """The expression of one face in one frame: either `scores` or the `reason` why there are none.

    `scores` are calibrated, and of one frame alone: this one, or for a steady face the last one that was
    classified (`vision.tracking.cadence`). `reason`: small, turned, blurred, dark, bright or
    covered; not_agreed for a face that was not analysed. `pose` is None if the keypoints do not allow one.

    `baseline`: how the person's baseline came about (`vision.expression.baseline`). `adjusted`: the scores
    with a share of it subtracted; `strength`: distance from rest, 0 to 1. All three are None without one.
    """

    scores: Scores | None
    reason: str | None = None
    pose: Pose | None = None
    adjusted: Scores | None = None
    strength: float | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Person:
    """A tracked face: its track id, its expression in this frame, and the result over time.

    `smoothed` is None whenever `expression.scores` is. `label`: one of `EMOTIONS`, `unsure`, `not_readable`
    or `not_analysed`.
    """

    id: int
    face: Face
    expression: ExpressionResult
    smoothed: Scores | None
    label: str
    movement: Movement | None = None

    def scaled(self, factor: float) -> Person:
        """This person in a picture that is `factor` times as large."""
        return self if factor == 1 else replace(self, face=self.face.scaled(factor))


@dataclass(frozen=True)
class Stamps:
    """Monotonic seconds at which each stage of a reading ended."""

    captured: float
    detected: float
    classified: float


@dataclass(frozen=True)
class Reading:
    """The result for one frame. `skipped`: frames before it that were not analysed.

    `beyond_limit`: faces of a video that were detected but exceeded `vision.max_people`.
    """

    frame: Frame
    people: tuple[Person, ...]
    stamps: Stamps
    skipped: int = 0
    beyond_limit: int = 0


@dataclass(frozen=True)
class Consent:
    """The limits of the analysis: how many people consented, and where they sit.

    `zone`: region of interest in shares of the picture, 0 to 1; None for all of it. `confirmations`: how
    often the operator confirmed that the people in view are those who consented. `unconfirmed`: no one is
    analysed until the next confirmation.
    """

    people: int
    zone: Box | None = None
    confirmations: int = 0
    unconfirmed: bool = False


@dataclass(frozen=True)
class SessionInfo:
    """One session, from Start to Stop, as the records keep it. Times are Unix seconds.

    `link_hash` is the SHA-256 of the person's one-time link.
    """

    id: str
    started: float
    people: int
    notice_version: str
    notice_hash: str
    source: str
    link_hash: str = ""
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class TensorSpec:
    """A model's input or output tensor: name, shape, numpy dtype name, and quantisation.

    real value = (stored value - `zero_point`) * `scale`; `scale` 0 means not quantised.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class PictureVariant:
    """One way to encode a picture. `overlay`: with boxes and labels drawn in.

    `max_width` in pixels, a smaller picture stays as it is; None: as wide as the frame.
    """

    overlay: bool
    max_width: int | None = None


@dataclass(frozen=True)
class Picture:
    """One encoded picture for viewers: JPEG bytes by variant, only of the variants being watched.

    `reading`: what to show with it: the reading of the same frame, or of one up to 100 ms older, or None. Its
    frame has no pixels, so that a picture on its way to a slow viewer keeps none.
    `width`: of the variants without `max_width`, in pixels; 0 while unknown.
    """

    frame: int
    captured: float
    consent_epoch: int
    live: bool
    jpegs: dict[PictureVariant, bytes] = field(default_factory=dict)
    reading: Reading | None = None
    width: int = 0


@dataclass(frozen=True)
class LampState:
    """All lamps but the camera's. `fault_blinks`: in a row, 0 for dark; `colour`: a label, None for dark."""

    running: bool
    fault_blinks: int
    colour: str | None
