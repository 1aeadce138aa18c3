"""Measures from which limit a face is no longer readable, and which score a label needs.

Faces with known labels are made smaller, blurred, darker, brighter, flatter and turned, step by step. The
appliance's measurement of each (`vision/expression/quality.py`, `vision/motion/head_pose.py`) is compared
with how often its classifier is still right. The rule for every limit: the classifier is right only RULE
times as often as on the same faces undegraded, mean of both sets. Two thirds of each set choose, the last
third only confirms.

    .venv/bin/python models/build/measure_quality.py DATA

DATA is a folder with emotion/fer_train_publictest.npz and emotion/photographs_dev_112.npz. Writes the curves
to docs/images/quality-*.svg, the numbers to docs/quality.json and the tables to docs/quality.md, in about ten
minutes. The limits are the defaults of `[vision]` in configuration/settings.py: copy them there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from appliance.inference.engines.tflite import TFLite  # noqa: E402
from appliance.inference.manifest import Manifest  # noqa: E402
from appliance.values import Face  # noqa: E402
from appliance.vision.detection.blazeface import BlazeFace  # noqa: E402
from appliance.vision.expression.align import resize_for_model, upright_crop  # noqa: E402
from appliance.vision.expression.classifier import ExpressionClassifier  # noqa: E402
from appliance.vision.expression.quality import attainable_sharpness, measure_quality  # noqa: E402
from appliance.vision.motion import head_pose  # noqa: E402

RULE = 0.9
SEED = 20
NOISE = 2.5  # standard deviation of the sensor's noise in levels, typical of a small sensor indoors
FEWEST = 50  # a bin with fewer faces is not drawn
DOCS = ROOT / "docs"
KEYS = {
    "size": "min_face_px", "blur": "min_sharpness", "dark": "dark_below", "bright": "bright_above",
    "contrast": "min_contrast", "yaw": "max_yaw", "pitch-up": "max_pitch", "pitch-down": "max_pitch",
}  # fmt: skip
"""The setting that each curve determines."""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass
class Faces:
    """Upright grey faces with labels; `kept` marks the third that only confirms."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    kept: np.ndarray


@dataclass
class Curve:
    """Accuracy against one measured value, for each part ("chosen", "confirmed") and set.

    `points`: part -> set -> rows of (value, accuracy relative to undegraded faces, faces). `limit` is the
    crossing of `RULE`, `confirmed` the same on the kept third, `default` the value in the settings.
    """

    name: str
    axis: str
    points: dict[str, dict[str, list[tuple[float, float, int]]]] = field(default_factory=dict)
    limit: float | None = None
    confirmed: float | None = None
    default: float | None = None


class Reader:
    """The appliance's own detector and classifier."""

    def __init__(self) -> None:
        manifest = Manifest.load(ROOT / "models")
        detector = manifest.verifier("") or manifest.detector("")  # the one of the two that places a face
        self.model = manifest.classifier("")
        self.detector = BlazeFace(TFLite(manifest.verified(detector)), detector, threshold=0.5)
        self.classifier = ExpressionClassifier(TFLite(manifest.verified(self.model)), self.model)
        self.file = manifest.verified(self.model).name

    def scores(self, crop: np.ndarray) -> np.ndarray:
        """The seven scores of a crop of any size."""
        return np.array(self.classifier.classify(crop).scores.values)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """A picture of one face, as input of the classifier."""
        return resize_for_model(image, "grey", self.model.preprocessing.size)

    def found(self, picture: np.ndarray) -> Face | None:
        """The face with the highest score in a grey picture."""
        faces = self.detector.find(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
        return faces[0] if faces else None

    def cut(self, picture: np.ndarray, face: Face) -> np.ndarray:
        """A detected face, cropped as the appliance does."""
        pre = self.model.preprocessing
        return upright_crop(picture, face, pre.size, margin=pre.margin, lift=pre.lift)


# The data


def load(data: Path) -> list[Faces]:
    """The two sets, shuffled; FER+ without near-duplicates of training pictures."""
    fer = np.load(data / "emotion/fer_train_publictest.npz")
    good = (fer["usage"] == 1) & (fer["image_source"] != 1)
    good &= (fer["near_dup_in_training"] == 0) & (fer["dup_in_training"] == 0)
    good &= (fer["ferplus_majority"] >= 0) & (fer["ferplus_majority"] < 7)
    photographs = np.load(data / "emotion/photographs_dev_112.npz")
    return [
        _faces("FER+", fer["images"][good], fer["ferplus_majority"][good]),
        _faces("photographs", photographs["images"], photographs["label"]),
    ]


def _faces(name: str, images: np.ndarray, labels: np.ndarray) -> Faces:
    random = np.random.default_rng(SEED)
    order, kept = random.permutation(len(images)), random.random(len(images)) < 1 / 3
    return Faces(name, images[order], labels[order], kept)


def first(sets: Sequence[Faces], most: int) -> list[Faces]:
    """The first `most` faces of each set."""
    return [Faces(s.name, s.images[:most], s.labels[:most], s.kept[:most]) for s in sets]


# The degradations: an upright face and a level in, a picture of the same size out. Lengths are shares of the
# face's width, which is the picture's side / 1.3.


def blurred(image: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Defocus: `level` is the standard deviation of the blur."""
    return noisy(cv2.GaussianBlur(image, (0, 0), level * image.shape[0] / 1.3), random)


def moved(image: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Motion blur: a straight movement of `level` in a random direction during the exposure."""
    length, angle = level * image.shape[0] / 1.3, random.uniform(0, math.pi)
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, 8 * reach):
        x, y = reach + step * math.cos(angle), reach + step * math.sin(angle)
        for column in (math.floor(x), math.floor(x) + 1):
            for row in (math.floor(y), math.floor(y) + 1):
                kernel[row, column] += max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
    return noisy(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), random)


def darkened(image: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Less light: every level times `level`; the sensor's noise stays the same."""
    return noisy(image.astype(np.float32) * level, random)


def brightened(image: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Over-exposed: every level times `level`, clipped."""
    return noisy(image.astype(np.float32) * level, random)


def flattened(image: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Washed out by glare or haze: contrast times `level` about light grey."""
    return noisy(170 + (image.astype(np.float32) - image.mean()) * level, random)


def noisy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With the sensor's noise, in integer levels."""
    return np.clip(np.rint(image + random.normal(0, NOISE, image.shape)), 0, 255).astype(np.uint8)


def in_picture(image: np.ndarray, face_px: float) -> np.ndarray:
    """A face of `face_px` width in the centre of a picture whose borders repeat the face's edges."""
    side = round(face_px * 1.3)
    method = cv2.INTER_AREA if side < image.shape[0] else cv2.INTER_CUBIC
    border = side // 2
    small = cv2.resize(image, (side, side), interpolation=method)
    return cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE)


def turned(image: np.ndarray, yaw: float, pitch: float, side: int = 128) -> np.ndarray:
    """The face turned by degrees: its pixels are projected onto a mean head, which is turned and drawn.

    Hidden parts (the far cheek, the neck behind the chin) are filled from their surroundings.
    """
    image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(image, (2 * side, 2 * side), interpolation=cv2.INTER_LINEAR)
    down, across = (np.mgrid[: 2 * side, : 2 * side] + 0.5) / 2
    width = side / 1.3
    # From the point between the eyes, in face widths; in FER's pictures the eyes are at two fifths.
    x, y = (across - side / 2) / width, (down - 0.40 * side) / width
    z = _depth(x, y)
    head = np.isfinite(z)
    x, y, z, grey = x[head], y[head], z[head], fine[head]
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    cp, sp = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    y, z = cp * y - sp * (z + 0.3), sp * y + cp * (z + 0.3)  # around the neck, 0.3 widths behind the eyes
    x, z = c * x + s * z, c * z - s * x
    column = np.clip(np.floor(x * width + side / 2), 0, side - 1).astype(int)
    row = np.clip(np.floor(y * width + 0.40 * side), 0, side - 1).astype(int)
    order = np.argsort(z)  # the nearest is drawn last
    picture = np.asarray(cv2.GaussianBlur(image, (0, 0), side / 12), np.uint8)
    drawn = np.zeros((side, side), np.uint8)
    picture[row[order], column[order]] = grey[order]
    drawn[row, column] = 255
    holes = cv2.bitwise_and(cv2.bitwise_not(drawn), cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((5, 5))))
    return np.asarray(cv2.inpaint(picture, holes, 2, cv2.INPAINT_TELEA), np.uint8)


def _depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far a head's surface is in front of its eyes, in face widths; NaN outside the head.

    An ellipsoid with nose and lips, fitted by eye to MediaPipe's canonical face model (Apache-2.0).
    """
    with np.errstate(invalid="ignore"):
        skull = 0.51 * np.sqrt(1 - (x / 0.53) ** 2 - ((y - 0.2) / 1.0) ** 2) - 0.466
    nose = 0.21 * np.exp(-((x / 0.07) ** 2) / 2 - ((y - 0.245) / 0.12) ** 2 / 2)
    lips = 0.06 * np.exp(-((x / 0.15) ** 2) / 2 - ((y - 0.45) / 0.10) ** 2 / 2)
    return np.asarray(skull + nose + lips)


# Accuracy against measured values


@dataclass
class Answers:
    """One row per degraded face: the measured value, right or not, undegraded accuracy, kept or not."""

    rows: dict[str, list[tuple[float, bool, float, bool]]] = field(default_factory=dict)

    def add(self, name: str, value: float, right: bool, plain: float, kept: bool) -> None:
        self.rows.setdefault(name, []).append((value, right, plain, kept))


Disturb = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def of_crops(
    reader: Reader, sets: Sequence[Faces], series: Iterable[tuple[Disturb, Sequence[float]]], what: str
) -> Answers:
    """Degraded crops; the value is `what` of `QualityMeasures`."""
    answers, random = Answers(), np.random.default_rng(SEED)
    for faces in sets:
        plain = [_right(reader, reader.crop(i), k) for i, k in zip(faces.images, faces.labels, strict=True)]
        for disturb, levels in series:
            for level in levels:
                for image, label, was, kept in zip(
                    faces.images, faces.labels, plain, faces.kept, strict=True
                ):
                    crop = reader.crop(disturb(image, level, random))
                    value = getattr(measure_quality(crop), what) / (
                        attainable_sharpness(image.shape[0] / 1.3) if what == "sharpness" else 1.0
                    )
                    answers.add(faces.name, value, _right(reader, crop, label), was, bool(kept))
    return answers


def of_sizes(reader: Reader, sets: Sequence[Faces], sizes: Sequence[float]) -> Answers:
    """Small faces with noise, detected and cropped; the value is the true width."""
    answers, random = Answers(), np.random.default_rng(SEED)
    for faces in sets:
        own = faces.images.shape[1] / 1.3
        for image, label, kept in zip(faces.images, faces.labels, faces.kept, strict=True):
            was = _found_right(reader, noisy(in_picture(image, own), random), label)
            if was is None:
                continue
            for size in sizes:
                if size > own:
                    continue
                right = _found_right(reader, noisy(in_picture(image, size), random), label)
                if right is not None:
                    answers.add(faces.name, size, right[0], was[0], bool(kept))
    return answers


def of_turns(
    reader: Reader, sets: Sequence[Faces], most: int, angles: Sequence[float], axis: str
) -> tuple[Answers, list[tuple[float, float]]]:
    """Turned faces, detected; the value is the true angle. Also returns (true, read) pairs.

    The angles of drawn heads are read too small (they have no ears and no far side), those of real heads are
    not: see `pose_of_landmarks`. So limits on the read angle come from the true angle.
    """
    answers, pairs = Answers(), []
    for faces in sets:
        for image, label, kept in zip(
            faces.images[:most], faces.labels[:most], faces.kept[:most], strict=True
        ):
            was = _found_right(reader, in_picture(turned(image, 0, 0), 130), label)
            if was is None:
                continue
            zero = getattr(was[1], axis)
            for angle in angles:
                yaw, pitch = (angle, 0.0) if axis == "yaw" else (0.0, angle)
                right = _found_right(reader, in_picture(turned(image, yaw, pitch), 130), label)
                if right is None:
                    continue
                pairs.append((angle, getattr(right[1], axis) - zero))
                answers.add(faces.name, angle, right[0], was[0], bool(kept))
    return answers, pairs


def _right(reader: Reader, crop: np.ndarray, label: int) -> bool:
    return int(np.argmax(reader.scores(crop))) == label


def _found_right(reader: Reader, picture: np.ndarray, label: int):
    face = reader.found(picture)
    seen = head_pose.estimate_pose(face) if face else None
    if face is None or seen is None:
        return None
    return _right(reader, reader.cut(picture, face), label), seen


def curve(name: str, axis: str, answers: Answers, edges: Sequence[float], *, good: str) -> Curve:
    """Accuracy in bins of the value, and where it falls below `RULE`.

    `good`: the end of the axis at which faces are undegraded ("high" or "low").
    """
    made = Curve(name, axis)
    for part, kept in (("chosen", False), ("confirmed", True)):
        sets = {}
        for each, rows in answers.rows.items():
            values, right, plain, held = (np.array(column) for column in zip(*rows, strict=True))
            sets[each] = _bins(values[held == kept], right[held == kept], plain[held == kept], edges)
        made.points[part] = sets
        crossing = _crossing(sets, good)
        if kept:
            made.confirmed = crossing
        else:
            made.limit = crossing
    return made


def _bins(values: np.ndarray, right: np.ndarray, plain: np.ndarray, edges: Sequence[float]) -> list:
    rows = []
    for low, high in itertools.pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.sum() >= FEWEST and plain[inside].sum():
            share = right[inside].sum() / plain[inside].sum()
            rows.append((float(values[inside].mean()), float(share), int(inside.sum())))
    return rows


def _crossing(sets: dict[str, list], good: str) -> float | None:
    """The value that best divides the mean of the sets into above and below `RULE`; None if all is above."""
    drawn = [np.array(rows)[:, :2] for rows in sets.values() if len(rows) > 1]
    if not drawn:
        return None
    # Outside a set's range its curve is assumed constant.
    across = np.linspace(
        min(each[:, 0].min() for each in drawn), max(each[:, 0].max() for each in drawn), 800
    )
    mean = np.mean([np.interp(across, each[:, 0], each[:, 1]) for each in drawn], axis=0)
    under = (mean < RULE)[::-1] if good == "low" else mean < RULE  # the bad end first
    # For each value: the points before it that are above the rule, and those from it on that are below.
    wrong = np.cumsum(np.r_[0, ~under]) + np.cumsum(np.r_[0, under[::-1]])[::-1]
    place = int(np.argmin(wrong))
    if place == 0:
        return None
    return float((across[::-1] if good == "low" else across)[min(place, len(across) - 1)])


# The score that a label needs


def coverage(reader: Reader, sets: Sequence[Faces]) -> dict:
    """For thresholds 0 to 0.95: the share of faces that get a label, and how often it is right."""
    table: dict = {"chosen": {}, "confirmed": {}}
    for faces in sets:
        scores = np.array([reader.scores(reader.crop(image)) for image in faces.images])
        top, right = scores.max(axis=1), scores.argmax(axis=1) == faces.labels
        for part, kept in (("chosen", False), ("confirmed", True)):
            chosen = faces.kept == kept
            table[part][faces.name] = [
                _claimed(top[chosen], right[chosen], threshold) for threshold in np.arange(0, 0.96, 0.05)
            ]
    return table


def _claimed(top: np.ndarray, right: np.ndarray, threshold: float) -> dict:
    """For one threshold: which faces get a label, and the accuracy just above and just below it."""
    claimed, near = top >= threshold, np.abs(top - threshold) < 0.05
    return {
        "threshold": round(float(threshold), 2),
        "coverage": float(claimed.mean()),
        "accuracy": float(right[claimed].mean()) if claimed.any() else None,
        "accuracy_near": float(right[near].mean()) if near.sum() >= 15 else None,
    }


def unsure_below(table: dict) -> float:
    """The lowest threshold above which every label is more likely right than wrong, mean of both sets."""
    rows = list(zip(*table.values(), strict=True))
    bad = [0.0]
    for each in rows:
        near = [row["accuracy_near"] for row in each if row["accuracy_near"] is not None]
        if near and np.mean(near) < 0.5:
            bad.append(each[0]["threshold"] + 0.05)
    return round(max(bad), 2)


# The effect of the limits on undegraded faces, and on faces as they occur


def refused(reader: Reader, sets: Sequence[Faces], limits: dict[str, float]) -> dict:
    """The share of undegraded faces beyond each limit, and the classifier's accuracy on them."""
    found: dict = {}
    for faces in sets:
        rows = []
        for image, label in zip(faces.images, faces.labels, strict=True):
            crop, face = reader.crop(image), reader.found(in_picture(image, image.shape[0] / 1.3))
            rows.append(
                (
                    measure_quality(crop),
                    head_pose.estimate_pose(face) if face else None,
                    _right(reader, crop, label),
                )
            )
        sharp = attainable_sharpness(faces.images.shape[1] / 1.3)
        reasons = {
            "turned": [p is not None and _beyond(p, limits) for _, p, _ in rows],
            "dark": [m.upper < limits["dark_below"] for m, _, _ in rows],
            "bright": [m.lower > limits["bright_above"] for m, _, _ in rows],
            "flat": [m.contrast < limits["min_contrast"] for m, _, _ in rows],
            "blurred": [m.sharpness < limits["min_sharpness"] * sharp for m, _, _ in rows],
        }
        right = np.array([row[2] for row in rows])
        found[faces.name] = {
            name: {
                part: {
                    "share": float(hit.mean()),
                    "right": float(ok[hit].mean()) if hit.any() else None,
                    "right_otherwise": float(ok[~hit].mean()),
                }
                for part, mask in (("chosen", ~faces.kept), ("confirmed", faces.kept))
                for hit, ok in [(np.array(hits)[mask], right[mask])]
            }
            for name, hits in reasons.items()
        }
    return found


def _beyond(seen, limits: dict[str, float]) -> bool:
    return abs(seen.yaw) > limits["max_yaw"] or abs(seen.pitch) > limits["max_pitch"]


def of_real_turns(reader: Reader, sets: Sequence[Faces], axis: str, sign: int) -> Answers:
    """Faces as they occur, against the read angle (`sign` 0: to either side).

    Expressions are not distributed evenly over angles, so a face is compared with the accuracy on faces of
    the same label that look into the camera.
    """
    answers = Answers()
    for faces in sets:
        rows = []
        for image, label, kept in zip(faces.images, faces.labels, faces.kept, strict=True):
            seen = _found_right(reader, in_picture(image, max(60, image.shape[0] / 1.3)), label)
            if seen:
                rows.append((seen[1], seen[0], int(label), bool(kept)))
        ahead = [row for row in rows if abs(row[0].yaw) < 15 and abs(row[0].pitch) < 15]
        usual = {k: np.mean([row[1] for row in ahead if row[2] == k] or [0.0]) for k in range(7)}
        for seen, right, label, kept in rows:
            angle = getattr(seen, axis)
            answers.add(faces.name, abs(angle) if sign == 0 else sign * angle, right, usual[label], kept)
    return answers


# How accurate poses of real heads are, and how much scores vary

CANONICAL = {
    36: (-4.45, -2.66, 3.17), 39: (-1.86, -2.59, 3.76), 42: (1.86, -2.59, 3.76), 45: (4.45, -2.66, 3.17),
    27: (0, -2.47, 5.79), 30: (0, 0.46, 7.59), 33: (0, 2.09, 6.06), 48: (-2.46, 4.34, 4.28),
    54: (2.46, 4.34, 4.28), 51: (0, 3.41, 5.98), 17: (-5.25, -3.88, 3.36), 26: (5.25, -3.88, 3.36),
}  # fmt: skip
"""Positions of twelve of the 68 usual landmarks on MediaPipe's canonical face model (Apache-2.0), in cm."""


def pose_of_landmarks(reader: Reader, folder: Path) -> dict | None:
    """The pose from the detector's six points, compared with one fitted to twelve landmarks set by hand."""
    body = np.array(list(CANONICAL.values()))
    body -= body.mean(axis=0)
    to_camera = body @ np.linalg.inv(body.T @ body)
    rows = []
    for path, points in _landmarks(folder):
        image = cv2.imread(str(path))
        camera = np.array([points[number] for number in CANONICAL]).T @ to_camera
        left, _, right = np.linalg.svd(camera, full_matrices=False)
        by_hand = head_pose._angles(*(left @ right))
        every = np.array(list(points.values()))
        middle, reach = every.mean(axis=0), int(1.2 * np.ptp(every, axis=0).max())
        padded = cv2.copyMakeBorder(image, *[2 * reach] * 4, cv2.BORDER_REPLICATE)
        x, y = (middle + reach).astype(int)
        faces = reader.detector.find(np.ascontiguousarray(padded[y : y + 2 * reach, x : x + 2 * reach]))
        if not faces:
            continue
        nearest = min(faces, key=lambda face: math.dist(face.box.center, (reach, reach)))
        read = head_pose.estimate_pose(nearest)
        if read:
            rows.append((*asdict(by_hand).values(), *asdict(read).values()))
    if not rows:
        return None
    table = np.array(rows)
    found: dict = {"faces": len(rows)}
    for index, name in enumerate(("yaw", "pitch", "roll")):
        hand, read = table[:, index], table[:, index + 3]
        found[name] = {
            "range": [float(hand.min()), float(hand.max())],
            "median_difference": float(np.median(read - hand)),
            "median_absolute_difference": float(np.median(np.abs(read - hand))),
            "correlation": float(np.corrcoef(hand, read)[0, 1]),
            "slope": float(np.polyfit(hand, read, 1)[0]),
        }
    return found


def _landmarks(folder: Path) -> Iterable[tuple[Path, dict[int, tuple[float, float]]]]:
    """Pictures of dlib's examples, and the 68 landmarks of each face in them."""
    for listing in sorted(folder.glob("*_with_face_landmarks.xml")):
        text = listing.read_text(encoding="utf-8")
        for name, inside in re.findall(r"<image file='([^']+)'[^>]*>(.*?)</image>", text, re.DOTALL):
            for box in re.findall(r"<box [^>]*>.*?</box>", inside, re.DOTALL):
                parts = re.findall(r"<part name='(\d+)' x='(-?\d+)' y='(-?\d+)'", box)
                points = {int(number): (float(x), float(y)) for number, x, y in parts}
                if len(points) == 68:
                    yield folder / name, points


def scatter(reader: Reader, faces: Faces, width: float, most: int = 40, frames: int = 25) -> dict:
    """How much the scores of a still face change with new sensor noise alone."""
    random, apart, deviation = np.random.default_rng(SEED), [], []
    for image in faces.images[:most]:
        picture = in_picture(image, width)
        looks = [noisy(picture, random) for _ in range(frames)]
        found = [(look, reader.found(look)) for look in looks]
        rows = np.array([reader.scores(reader.cut(look, face)) for look, face in found if face])
        if len(rows) > frames / 2:
            apart.append(np.abs(np.diff(rows, axis=0)).sum(axis=1).mean() / 2)
            deviation.append(rows.std(axis=0).max())
    return {
        "frame_to_frame": [float(each) for each in np.percentile(apart, (50, 90))],
        "standard_deviation": [float(each) for each in np.percentile(deviation, (50, 90))],
    }


# Drawing


COLOURS = ("#0f6cbd", "#c4501b")


def draw(made: Curve, path: Path) -> None:
    """A curve as SVG: each set, the kept third dashed, the rule and the default."""
    lines = [
        (f"{each}{', kept third' if part == 'confirmed' else ''}", colour, part == "confirmed", rows)
        for part, sets in made.points.items()
        for colour, (each, rows) in zip(COLOURS, sets.items(), strict=False)
    ]
    path.write_text(
        _svg(lines, made.axis, "right answers, undegraded = 1", rule=RULE, limit=made.default),
        encoding="utf-8",
    )


def draw_coverage(table: dict, default: float, path: Path) -> None:
    """Accuracy of the labels against the share of faces that get one."""
    lines = []
    for part, sets in table.items():
        for colour, (each, rows) in zip(COLOURS, sets.items(), strict=False):
            points = [(r["coverage"], r["accuracy"]) for r in rows if r["accuracy"] and r["coverage"] > 0.02]
            name = f"{each}{', kept third' if part == 'confirmed' else ''}"
            lines.append((name, colour, part == "confirmed", points))
    path.write_text(
        _svg(lines, "share of faces that get a label", "share of labels that are right", lowest=0.4),
        encoding="utf-8",
    )


def _svg(lines, across: str, up: str, *, rule=None, limit=None, lowest: float = 0.0) -> str:
    width, height, left, right, top, bottom = 640, 360, 60, 20, 20, 50
    xs = [row[0] for line in lines for row in line[3]] + ([] if limit is None else [limit])
    x0, x1 = min(xs), max(xs)
    y0, y1 = lowest, max(1.05, *(row[1] for line in lines for row in line[3]))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x0) / (x1 - x0) * (width - left - right),
            height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>'
    ]
    for tick in np.arange(math.ceil(y0 * 5) / 5, y1, 0.2):
        _, y = at(x0, tick)
        out.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#e0e0e0"/>')
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
    for tick in _ticks(x0, x1):
        x, _ = at(tick, y0)
        out.append(f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{tick:g}</text>')
    if rule is not None:
        _, y = at(x0, rule)
        out.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#555555" stroke-dasharray="2 3"/>')
    if limit is not None:
        x, _ = at(limit, y0)
        out.append(f'<path d="M{x:.1f} {top}V{height - bottom}" stroke="#555555"/>')
        out.append(f'<text x="{x + 4:.1f}" y="{top + 12}">limit {limit:g}</text>')
    for number, (name, colour, dashed, rows) in enumerate(lines):
        points = " ".join("{:.1f},{:.1f}".format(*at(row[0], row[1])) for row in rows)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = height - bottom - 70 + 16 * number
        x = left + 20 if (limit is None or limit > (x0 + x1) / 2) else width - right - 200
        out.append(f'<path d="M{x} {y - 4}h24" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{x + 30}" y="{y}">{name}</text>')
    out.append(f'<text x="{(left + width) / 2}" y="{height - 10}" text-anchor="middle">{across}</text>')
    out.append(
        f'<text transform="translate(16 {(height - bottom + top) / 2}) rotate(-90)"'
        f' text-anchor="middle">{up}</text></svg>\n'
    )
    return "\n".join(out)


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10(high - low))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1.0) if (high - low) / (step * part) <= 10)
    return [round(tick * step, 6) for tick in range(math.ceil(low / step), math.floor(high / step) + 1)]


# Putting it together


def defaults(curves: dict[str, Curve]) -> dict[str, float]:
    """The limits as settings: each crossing, rounded to a simple number.

    If a curve never falls below the rule, the limit is where there are too few faces to tell.
    """

    def of(name: str, last: float, step: float) -> float:
        limit = curves[name].limit
        value = round(round((last if limit is None else limit) / step) * step, 6)
        return int(value) if value == int(value) else value

    return {
        "min_face_px": of("size", 12, 1),
        "max_yaw": of("yaw", 40, 5),
        "max_pitch": min(of("pitch-up", 25, 5), of("pitch-down", 25, 5)),
        "min_sharpness": of("blur", 1.5, 0.1),
        "dark_below": of("dark", 10, 2),
        "bright_above": of("bright", 250, 2),
        "min_contrast": of("contrast", 5, 1),
    }


def measure(reader: Reader, whole: Sequence[Faces], most: int, turns: int, data: Path) -> dict:
    """All measurements, as one dictionary."""
    sets = first(whole, most)
    say("sizes")
    sizes = (12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 42, 48, 56, 64, 80)
    edges = (*(size - 0.5 for size in sizes), 99)
    curves = [curve("size", "width of the face, pixels", of_sizes(reader, sets, sizes), edges, good="high")]
    say("blur")
    series = [
        (blurred, (0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08)),
        (moved, (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
    ]
    found = of_crops(reader, sets, series, "sharpness")
    axis = "sharpness, cycles per face width"
    curves.append(curve("blur", axis, found, np.arange(1.0, 5.6, 0.3), good="high"))
    say("light")
    gains = (0.8, 0.6, 0.45, 0.35, 0.27, 0.2, 0.15, 0.11, 0.08, 0.06, 0.045, 0.03)
    found = of_crops(reader, sets, [(darkened, gains)], "upper")
    axis = "upper quartile of the face's levels"
    edges = (2, 4, 6, 8, 10, 12, 15, 18, 22, 26, 31, 37, 44, 52, 62, 75, 90, 108, 130)
    curves.append(curve("dark", axis, found, edges, good="high"))
    found = of_crops(reader, sets, [(brightened, (1.3, 1.6, 2, 2.5, 3, 4, 5, 6, 8, 11, 15))], "lower")
    axis = "lower quartile of the face's levels"
    edges = (100, 120, 140, 160, 175, 190, 205, 215, 225, 235, 242, 248, 252, 254.5, 256)
    curves.append(curve("bright", axis, found, edges, good="low"))
    found = of_crops(reader, sets, [(flattened, gains)], "contrast")
    axis = "contrast: darkest to brightest tenth, levels"
    edges = (0, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 65, 80, 100)
    curves.append(curve("contrast", axis, found, edges, good="high"))
    say("turns")
    edges = (0, 7.5, 15, 22.5, 30, 40, 90)
    for name, axis, sign in (("yaw", "yaw", 0), ("pitch-up", "pitch", 1), ("pitch-down", "pitch", -1)):
        side = {0: "to either side", 1: "up", -1: "down"}[sign]
        found = of_real_turns(reader, whole, axis, sign)
        limits = edges if axis == "yaw" else (0, 5, 10, 15, 25, 45)
        curves.append(curve(name, f"read {axis}, degrees {side}", found, limits, good="low"))
    drawn, accuracy = [], {}
    for axis, angles in (("yaw", (10, 20, 30, 40, 50, 60)), ("pitch", (10, 20, 30, 40))):
        found, accuracy[axis] = of_turns(reader, sets, turns, [*angles, *(-a for a in angles)], axis)
        rows = {k: [(abs(v), *rest) for v, *rest in each] for k, each in found.rows.items()}
        edges = (5, 15, 25, 35, 45, 55, 65)
        drawn.append(curve(f"drawn-{axis}", f"true {axis}, degrees", Answers(rows), edges, good="low"))
    named = {each.name: each for each in curves}
    limits = defaults(named)
    for name, key in KEYS.items():
        named[name].default = limits[key]
    say("coverage and refusals")
    table = coverage(reader, whole)
    limits["unsure_below"] = unsure_below(table["chosen"])
    return {
        "model": reader.file,
        "rule": RULE,
        "faces": {each.name: [int((~each.kept).sum()), int(each.kept.sum())] for each in whole},
        "disturbed_of_each_at_most": most,
        "undisturbed": {
            name: {part: rows[name][0]["accuracy"] for part, rows in table.items()}
            for name in (each.name for each in sets)
        },
        "defaults": limits,
        "unsure_below_on_kept_third": unsure_below(table["confirmed"]),
        "curves": [asdict(each) for each in curves],
        "drawn_turns": [asdict(each) for each in drawn],
        "pose": {axis: _pose_accuracy(pairs) for axis, pairs in accuracy.items()},
        "pose_of_landmarks": pose_of_landmarks(reader, data / "facedet/dlib_voc"),
        "scatter": {f"{width} px": scatter(reader, sets[1], width) for width in (80, 30)},
        "refused_undisturbed": refused(reader, whole, limits),
        "coverage": table,
    }


def _pose_accuracy(pairs: list[tuple[float, float]]) -> list[dict]:
    """For each simulated angle: how many faces were found, and median and quartiles of the read angle."""
    true, read = (np.array(column) for column in zip(*pairs, strict=True))
    rows = []
    for angle in sorted(set(true.tolist())):
        low, middle, high = np.percentile(read[true == angle], (25, 50, 75))
        rows.append({"true": angle, "found": int((true == angle).sum()), "median": float(middle),
                     "quartiles": [float(low), float(high)]})  # fmt: skip
    return rows


def tables(result: dict) -> str:
    """The numbers as Markdown."""
    chosen, kept = zip(*result["faces"].values(), strict=True)
    lines = [
        f"Model `{result['model']}`; {' + '.join(map(str, chosen))} faces to choose, "
        f"{' + '.join(map(str, kept))} to confirm (FER+ majority + photographs); at most "
        f"{result['disturbed_of_each_at_most']} of each set were degraded.",
        "",
        "| setting | default | crossing | on the kept third |",
        "|---|---|---|---|",
    ]
    for each in result["curves"]:
        name, numbers = each["name"], [_number(each[key]) for key in ("limit", "confirmed")]
        lines.append(f"| `{KEYS[name]}` ({name}) | {each['default']:g} | {numbers[0]} | {numbers[1]} |")
    lines.append(
        f"| `unsure_below` | {result['defaults']['unsure_below']:g} | | "
        f"{result['unsure_below_on_kept_third']:g} |"
    )
    lines += [
        "",
        "Undegraded faces that these limits refuse (all; kept third), and accuracy on them:",
        "",
    ]
    lines += ["| reason | " + " | ".join(result["faces"]) + " |", "|---|---|---|"]
    reasons = next(iter(result["refused_undisturbed"].values()))
    for reason in reasons:
        cells = []
        for sets in result["refused_undisturbed"].values():
            one, two = sets[reason]["chosen"], sets[reason]["confirmed"]
            cells.append(
                f"{one['share']:.1%}; {two['share']:.1%} (right {_number(one['right'])}, "
                f"others {_number(one['right_otherwise'])})"
            )
        lines.append(f"| {reason} | {' | '.join(cells)} |")
    lines += ["", "Threshold, coverage and accuracy (kept third in brackets):", ""]
    lines += ["| threshold | " + " | ".join(f"{n}: labelled | right" for n in result["faces"]) + " |"]
    lines += ["|---|" + "---|---|" * len(result["faces"])]
    for row in range(0, 20, 2):
        cells = [f"{result['coverage']['chosen']['FER+'][row]['threshold']:.1f}"]
        for name in result["faces"]:
            one, two = (result["coverage"][part][name][row] for part in ("chosen", "confirmed"))
            cells.append(f"{one['coverage']:.0%} ({two['coverage']:.0%})")
            cells.append(f"{_number(one['accuracy'])} ({_number(two['accuracy'])})")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Angles read from simulated turns (change from the same face unturned):", ""]
    lines += ["| true | median read | middle half | faces found |", "|---|---|---|---|"]
    for axis, rows in result["pose"].items():
        for row in rows:
            low, high = row["quartiles"]
            lines.append(
                f"| {axis} {row['true']:+g}° | {row['median']:+.0f}° | {low:+.0f}° to {high:+.0f}° "
                f"| {row['found']} |"
            )
    hand = result["pose_of_landmarks"]
    if hand:
        lines += [
            "",
            f"Pose of {hand['faces']} real faces, compared with a fit to landmarks set by hand:",
            "",
        ]
        lines += ["| angle | from, to | correlation | slope | median difference | median distance |"]
        lines += ["|---|---|---|---|---|---|"]
        for axis in ("yaw", "pitch", "roll"):
            row = hand[axis]
            lines.append(
                f"| {axis} | {row['range'][0]:.0f}° to {row['range'][1]:.0f}° | {row['correlation']:.2f} "
                f"| {row['slope']:.2f} | {row['median_difference']:+.1f}° "
                f"| {row['median_absolute_difference']:.1f}° |"
            )
    lines += ["", "Variation of a still face's scores with sensor noise (median; worst tenth of faces):", ""]
    lines += ["| face | from frame to frame | standard deviation of a class |", "|---|---|---|"]
    for width, row in result["scatter"].items():
        one, two = row["frame_to_frame"], row["standard_deviation"]
        lines.append(f"| {width} | {one[0]:.3f}; {one[1]:.3f} | {two[0]:.3f}; {two[1]:.3f} |")
    lines += ["", "Accuracy on drawn turns by true angle, unturned = 1:", ""]
    lines += ["| angle | " + " | ".join(result["faces"]) + " |", "|---|---|---|"]
    for each in result["drawn_turns"]:
        sets = each["points"]["chosen"]
        for angle in sorted({row[0] for rows in sets.values() for row in rows}):
            cells = [next((f"{r[1]:.2f}" for r in sets[n] if r[0] == angle), "-") for n in result["faces"]]
            lines.append(f"| {each['name'].removeprefix('drawn-')} {angle:g}° | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def write(result: dict, curves: Sequence[Curve]) -> None:
    """Write the pictures, the numbers, and the tables between the marks of docs/quality.md."""
    for each in curves:
        draw(each, DOCS / f"images/quality-{each.name}.svg")
    draw_coverage(result["coverage"], result["defaults"]["unsure_below"], DOCS / "images/quality-unsure.svg")
    text = json.dumps(_rounded(result), indent=1)
    (DOCS / "quality.json").write_text(text + "\n", encoding="utf-8")
    page = DOCS / "quality.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables(result)}\n{END}{after}", encoding="utf-8")


def _rounded(value):
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--faces", type=int, default=800, help="at most this many of each set are degraded")
    parser.add_argument("--turns", type=int, default=250, help="this many of each set are turned")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    sets = load(options.data)
    result = measure(Reader(), sets, options.faces, options.turns, options.data)
    write(result, [Curve(**each) for each in result["curves"]])
    print(json.dumps(_rounded({"undisturbed": result["undisturbed"], **result["defaults"]})))


if __name__ == "__main__":
    main()
