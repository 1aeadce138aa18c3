"""Compare the int8 detectors with the float ones they were made from, on pictures neither was tuned with.

    python models/build/compare_detectors.py --data DIR

The scenes are made from the half of the pictures that `build_detectors.py` does not calibrate with. Both
detectors answer at a score of 0.5; a box counts as kept when one of the other detector overlaps it by half
(IoU). Near 0.5 the smallest change of a score lets a box come or go, so the figures are given twice: for all
boxes, and for those that one of the detectors is clearly sure of (`SURE`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scenes

from appliance.engines.tflite import TFLite
from appliance.manifest import DetectorModel, Manifest
from appliance.values import Face
from appliance.vision.blazeface import BlazeFace

MODELS = Path(__file__).resolve().parents[1]
PAIRS = (("blazeface-short", "blazeface-short-int8"), ("blazeface-full", "blazeface-full-int8"))
THRESHOLD = 0.5
SURE = 0.55
SAME = 0.5
WIDTHS = (0.0, 0.06, 0.12, 0.25, 1.0)
"""Where kept boxes are counted apart: borders of the face's width as a share of the square."""

SEED = 5


@dataclass
class Tally:
    """What was counted over all scenes."""

    boxes: int = 0
    kept: int = 0
    sure: int = 0
    sure_kept: int = 0
    extra: int = 0
    sure_extra: int = 0
    overlaps: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    by_width: np.ndarray = field(default_factory=lambda: np.zeros((len(WIDTHS) - 1, 2), int))

    def add(self, wanted: Sequence[Face], found: Sequence[Face], side: int) -> None:
        """Count one scene: the float detector's faces and the int8 one's."""
        for face in wanted:
            other = _nearest(face, found)
            kept = other is not None and face.box.iou(other.box) >= SAME
            self.boxes += 1
            self.kept += kept
            self.sure += face.score >= SURE
            self.sure_kept += kept and face.score >= SURE
            row = int(np.searchsorted(WIDTHS, face.box.width / side)) - 1
            self.by_width[min(row, len(WIDTHS) - 2)] += (1, kept)
            if kept and other is not None:
                self.overlaps.append(face.box.iou(other.box))
                self.changes.append(abs(face.score - other.score))
        for face in found:
            other = _nearest(face, wanted)
            if other is None or face.box.iou(other.box) < SAME:
                self.extra += 1
                self.sure_extra += face.score >= SURE

    def lines(self) -> Iterator[str]:
        """The result in words and figures."""
        yield f"boxes of the float detector: {self.boxes}, of them at {SURE} or more: {self.sure}"
        yield f"kept: {self.kept / self.boxes:.2%}; of the sure ones: {self.sure_kept / self.sure:.2%}"
        yield f"extra: {self.extra / self.boxes:.2%}; sure ones: {self.sure_extra / self.boxes:.2%}"
        change, overlap = np.mean(self.changes), np.mean(self.overlaps)
        yield f"mean overlap (IoU): {overlap:.3f}; mean change of the score: {change:.4f}"
        for low, high, (boxes, kept) in zip(WIDTHS, WIDTHS[1:], self.by_width, strict=False):
            yield f"width {low:.0%} to {high:.0%} of the square: {kept} of {boxes} kept"


def compare(manifest: Manifest, pair: tuple[str, str], data: Path, count: int) -> Tally:
    """Let both detectors of a pair search the same scenes."""
    model = manifest.detector(pair[0])
    side = model.preprocessing.size
    images = scenes.make(judging(data), side, count, SEED, rough=False)
    answers = []
    for name in pair:
        with detector(manifest, manifest.detector(name)) as opened:
            answers.append([opened.find(image) for image in images])
    tally = Tally()
    for wanted, found in zip(*answers, strict=True):
        tally.add(wanted, found, side)
    return tally


def judging(data: Path) -> list[scenes.Picture]:
    """The pictures that are not for calibration."""
    return [picture for picture in scenes.pictures(data) if not picture.calibrates]


@contextmanager
def detector(manifest: Manifest, model: DetectorModel) -> Iterator[BlazeFace]:
    """A detector as the appliance opens it."""
    made = BlazeFace(TFLite(manifest.verified(model)), model, threshold=THRESHOLD)
    try:
        yield made
    finally:
        made.close()


def milliseconds(manifest: Manifest, name: str, runs: int = 200) -> float:
    """The median time of the model alone, one thread."""
    engine = TFLite(manifest.verified(manifest.detector(name)))
    value = np.zeros(engine.inputs[0].shape, engine.inputs[0].dtype)
    taken = []
    for _ in range(runs):
        before = time.perf_counter()
        engine.run(value)
        taken.append(time.perf_counter() - before)
    engine.close()
    return float(np.median(taken)) * 1000


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compare int8 detectors with their float originals.")
    parser.add_argument("--models", type=Path, default=MODELS, help="default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, help="folder with facedet/ in it")
    parser.add_argument("--scenes", type=int, default=600, help="default: %(default)s")
    options = parser.parse_args(arguments)
    manifest = Manifest.load(options.models)
    for pair in PAIRS:
        print(f"{pair[1]} against {pair[0]}, {options.scenes} scenes")
        for line in compare(manifest, pair, options.data, options.scenes).lines():
            print(f"  {line}")
        print("  " + ", ".join(f"{name}: {milliseconds(manifest, name):.2f} ms" for name in pair))
    return 0


def _nearest(face: Face, others: Sequence[Face]) -> Face | None:
    return max(others, key=lambda other: face.box.iou(other.box), default=None)


if __name__ == "__main__":
    sys.exit(main())
