"""Small values and stand-ins that many tests need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from appliance.errors import CameraLost, LampError
from appliance.values import (
    EMOTIONS,
    Box,
    ExpressionResult,
    Face,
    Frame,
    Image,
    Person,
    PictureVariant,
    Reading,
    Scores,
    Stamps,
    Tensor,
    TensorSpec,
)
from appliance.viewers import Viewers

OVERLAY, BARE = PictureVariant(overlay=True), PictureVariant(overlay=False)

WITHIN_S = 10.0
"""No test waits longer than this for another thread."""


def picture(width: int = 32, height: int = 24, value: int = 0) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def noise(width: int, height: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def frame(
    number: int = 0, captured: float = 0.0, image: Image | None = None, consent_epoch: int = 1
) -> Frame:
    return Frame(number, captured, picture() if image is None else image, captured, consent_epoch)


def face(x: float, y: float, side: float, score: float = 0.9) -> Face:
    """A square face with its centre at (x, y)."""
    return Face(Box(x - side / 2, y - side / 2, side, side), score)


def scores(**weights: float) -> Scores:
    """Scores by name, the rest zero; without names, all equal."""
    values = [weights.get(name, 0.0 if weights else 1.0) for name in EMOTIONS]
    return Scores.of(np.array(values))


def person(number: int, of: Face, raw: Scores, smoothed: Scores | None = None) -> Person:
    named = smoothed or raw
    return Person(number, of, ExpressionResult(raw), named, named.dominant)


def reading(of: Frame, *people: Person, skipped: int = 0, took_s: float = 0.0) -> Reading:
    return Reading(of, people, Stamps(of.captured, of.captured, of.captured + took_s), skipped)


class CannedEngine:
    """An engine with the same outputs for every input; it keeps the input tensors."""

    def __init__(self, inputs: TensorSpec, outputs: Sequence[tuple[TensorSpec, Tensor]]) -> None:
        self.inputs = (inputs,)
        self.outputs = tuple(spec for spec, _ in outputs)
        self._answers = [answer for _, answer in outputs]
        self.given: list[Tensor] = []
        self.closed = False

    def run(self, tensor: Tensor) -> list[Tensor]:
        self.given.append(tensor.copy())
        return [answer.copy() for answer in self._answers]

    def close(self) -> None:
        self.closed = True


class ScriptedCamera:
    """A camera that the test controls; it records every call and every lamp change in one list."""

    def __init__(self, diary: list[str], *, needs_consent: bool = True) -> None:
        self.needs_consent = needs_consent
        self.diary = diary
        self.fault: Exception | None = None
        self.open_fault: Exception | None = None
        self.absent: str | None = None
        self.forgotten = 0
        self.next: Callable[[int], Frame] = lambda number: frame(number, float(number), noise(64, 48, number))
        self._number = 0

    def missing(self) -> str | None:
        return self.absent

    def open(self) -> None:
        self.diary.append("open")
        if self.open_fault is not None:
            raise self.open_fault

    def read(self, timeout: float) -> Frame:
        assert timeout > 0
        if self.fault is not None:
            raise self.fault
        if self.diary and self.diary[-1] == "close":
            raise CameraLost("read after close")
        self._number += 1
        return self.next(self._number)

    def close(self) -> None:
        self.diary.append("close")

    def forget(self) -> None:
        self.forgotten += 1


class ScriptedLamp:
    """The camera lamp, recorded in the same list."""

    def __init__(self, diary: list[str]) -> None:
        self.diary = diary
        self.broken = False
        self.lit = False

    def camera_on(self) -> None:
        self.diary.append("lamp on")
        if self.broken:
            raise LampError("the camera lamp cannot be driven: no such pin")
        self.lit = True

    def camera_off(self) -> None:
        self.diary.append("lamp off")
        self.lit = False


@contextmanager
def watching(viewers: Viewers, variant: PictureVariant) -> Iterator[None]:
    """A viewer for the duration of a `with` block."""
    viewers.join(variant)
    try:
        yield
    finally:
        viewers.leave(variant)


def in_threads(*bodies: Callable[[], None]) -> None:
    """Run all of them at the same time and raise the first failure."""
    faults: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=guarded, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
    assert not any(thread.is_alive() for thread in threads), f"a thread did not end within {WITHIN_S:g} s"
    if faults:
        raise faults[0]
