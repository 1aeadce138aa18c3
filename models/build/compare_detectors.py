"""Compares the int8 detectors with their float originals, on pictures that neither was tuned with.

    python models/build/compare_detectors.py --data DIR              # scenes, all face sizes equally often
    python models/build/compare_detectors.py --data DIR --rough      # the same with bad light and noise
    python models/build/compare_detectors.py --data DIR --natural    # the input that the appliance gives them
    python models/build/compare_detectors.py --data DIR --search     # the results of both together

The scenes come from the half of the pictures that `build_detectors.py` does not calibrate with. The threshold
of both detectors is 0.5; a box counts as kept if a box of the other detector overlaps it by half (IoU). Near
0.5 the smallest change of a score adds or removes a box, so the figures are given twice: for all boxes, and
for those with a clearly higher score in one of the detectors (`SURE`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import natural
import numpy as np
import scenes

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.values import Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.search import FaceSearch

MODELS = Path(__file__).resolve().parents[1]
PAIRS = (("blazeface-short", "blazeface-short-int8"), ("blazeface-full", "blazeface-full-int8"))
THRESHOLD = 0.5
SURE = 0.55
SAME = 0.5
WIDTHS = (0.0, 0.06, 0.12, 0.25, 1.0)
"""Bins in which kept boxes are counted: limits of the face's width as a share of the square."""

SEED = 5


@dataclass
class BoxCounts:
    """Counts over all scenes."""

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
        """Count one scene: the faces of the float detector and of the int8 detector."""
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

    def add_all(self, other: BoxCounts) -> None:
        """Add other counts."""
        for name in ("boxes", "kept", "sure", "sure_kept", "extra", "sure_extra"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def short(self) -> str:
        """Boxes, kept and extra, of all boxes and of the sure ones, in one line."""
        if not self.boxes:
            return f"0, {self.extra} extra"
        kept, extra = self.kept / self.boxes, self.extra / self.boxes
        sure = f"{self.sure}, {self.sure - self.sure_kept} lost, {self.sure_extra} extra"
        lost = self.boxes - self.kept
        return f"{self.boxes}, {kept:.2%} ({lost} lost), {extra:.2%} ({self.extra}); sure: {sure}"

    def lines(self) -> Iterator[str]:
        """The result as text."""
        yield f"boxes of the float detector: {self.boxes}, of them at {SURE} or more: {self.sure}"
        yield f"kept: {self.kept / self.boxes:.2%}; of the sure ones: {self.sure_kept / self.sure:.2%}"
        yield f"extra: {self.extra / self.boxes:.2%}; sure ones: {self.sure_extra / self.boxes:.2%}"
        change, overlap = np.mean(self.changes), np.mean(self.overlaps)
        yield f"mean overlap (IoU): {overlap:.3f}; mean change of the score: {change:.4f}"
        for low, high, (boxes, kept) in zip(WIDTHS, WIDTHS[1:], self.by_width, strict=False):
            yield f"width {low:.0%} to {high:.0%} of the square: {kept} of {boxes} kept"


def compare(manifest: Manifest, pair: tuple[str, str], images: Iterable[Image]) -> BoxCounts:
    """Run both detectors of a pair on the same pictures."""
    side, counts = manifest.detector(pair[0]).preprocessing.size, BoxCounts()
    with detector(manifest, pair[0]) as wanted, detector(manifest, pair[1]) as found:
        for image in images:
            counts.add(wanted.find(image), found.find(image), side)
    return counts


def compare_search(manifest: Manifest, images: Iterable[Image]) -> BoxCounts:
    """Run the complete search in still pictures with the float detectors and with the int8 detectors."""
    (short, short_int8), (full, full_int8) = PAIRS
    counts = BoxCounts()
    with (
        detector(manifest, full) as full_range,
        detector(manifest, short) as short_range,
        detector(manifest, full_int8) as full_range_int8,
        detector(manifest, short_int8) as short_range_int8,
    ):
        wanted, found = FaceSearch(full_range, short_range), FaceSearch(full_range_int8, short_range_int8)
        for image in images:
            counts.add(wanted.find_all(image), found.find_all(image), max(image.shape[:2]))
    return counts


def made_scenes(data: Path, side: int, count: int, rough: bool) -> Iterator[Image]:
    """Scenes from the pictures that are not for calibration; `rough` ones without the blank twentieth."""
    made = scenes.make(judging(data), side, count, SEED, rough=rough)
    return (image for index, image in enumerate(made) if not rough or index % 20 != 19)


def judging(data: Path) -> list[scenes.Picture]:
    """The pictures that are not for calibration."""
    return [picture for picture in scenes.pictures(data) if not picture.calibrates]


@contextmanager
def detector(manifest: Manifest, name: str) -> Iterator[BlazeFace]:
    """A detector as the appliance opens it."""
    model = manifest.detector(name)
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
    parser.add_argument("--data", type=Path, required=True, help="folder that contains facedet/")
    parser.add_argument("--scenes", type=int, default=600, help="default: %(default)s")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--rough", action="store_true", help="scenes in bad light and with noise")
    kind.add_argument(
        "--search", action="store_true", help="the complete search in pictures, rooms and video"
    )
    kind.add_argument("--natural", action="store_true", help="full pictures, close crops, rooms and video")
    options = parser.parse_args(arguments)
    manifest = Manifest.load(options.models)
    if options.search:
        _print_search(manifest, options.data)
        return 0
    for pair in PAIRS:
        if options.natural:
            _print_natural(manifest, pair, options.data)
            continue
        print(f"{pair[1]} against {pair[0]}, {options.scenes} scenes{', rough' if options.rough else ''}")
        side = manifest.detector(pair[0]).preprocessing.size
        images = made_scenes(options.data, side, options.scenes, options.rough)
        for line in compare(manifest, pair, images).lines():
            print(f"  {line}")
        print("  " + ", ".join(f"{name}: {milliseconds(manifest, name):.2f} ms" for name in pair))
    return 0


def _print_natural(manifest: Manifest, pair: tuple[str, str], data: Path) -> None:
    """A line for each kind of natural pictures, and one for all together."""
    full, total = pair[0] == "blazeface-full", BoxCounts()
    print(f"{pair[1]} against {pair[0]}: boxes, kept, extra")
    for kind, images in natural.kinds(judging(data), data / "videos", full=full):
        counts = compare(manifest, pair, images)
        total.add_all(counts)
        print(f"  {kind}: {counts.short()}")
    print(f"  all: {total.short()}")


def _print_search(manifest: Manifest, data: Path) -> None:
    """The same lines for the complete search, without close crops, which it makes internally."""
    total = BoxCounts()
    print("search with int8 detectors against search with float ones: faces, kept, extra")
    for kind, images in natural.kinds(judging(data), data / "videos", full=False):
        if kind != "close crops":
            counts = compare_search(manifest, images)
            total.add_all(counts)
            print(f"  {kind}: {counts.short()}", flush=True)
    print(f"  all: {total.short()}")


def _nearest(face: Face, others: Sequence[Face]) -> Face | None:
    return max(others, key=lambda other: face.box.iou(other.box), default=None)


if __name__ == "__main__":
    sys.exit(main())
