"""Makes the full-integer int8 detectors from the float ones.

    python models/build/build_detectors.py                       # ranges_*.json -> models/*_int8.tflite
    python models/build/build_detectors.py --calibrate --data DIR  # pictures -> ranges_*.json, then the same
    python models/build/build_detectors.py --refine --data DIR     # continue from ranges_*.json in smaller
    steps

The first needs the float models, which `fetch_models.py` extracts from their package, and ai-edge-quantizer;
it gives the same bytes every time. The second also needs pictures with faces (see `scenes.py`), and PyTorch
with a C++ compiler; it updates the manifest.

The shipped models were calibrated with 4000 (short range) and 1500 steps (full range), by a script that also
varied the light, then refined with 2200 and 1200 steps, all without close crops; then the short range again
with 700 steps and close crops.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equalise
import fetch_models
import natural
import numpy as np
import quantise
import scenes
import tflite_graph as tg
from enter_manifest import enter

from appliance.vision.detection.blazeface import letterbox

BUILD = Path(__file__).resolve().parent
SEED = 3


@dataclass(frozen=True)
class Detector:
    """One detector to make.

    `boxes`: the range of its box offsets, in pixels of the input of `side` pixels; `share`: how much of every
    other activation the first ranges keep; then the length of the tuning and its batches.
    """

    source: str
    target: str
    settings: str
    side: int
    boxes: tuple[float, float]
    share: float
    steps: int
    batch: int


DETECTORS = {
    "blazeface-short-int8": Detector(
        source="blazeface-short",
        target="blazeface_short_int8.tflite",
        settings="ranges_short.json",
        side=128,
        boxes=(-64.0, 128.0),
        share=0.9998,
        steps=4000,
        batch=16,
    ),
    "blazeface-full-int8": Detector(
        source="blazeface-full",
        target="blazeface_full_int8.tflite",
        settings="ranges_full.json",
        side=192,
        boxes=(-64.0, 152.0),
        share=0.99995,
        steps=1500,
        batch=8,
    ),
}

SCORES = (-4.0, 4.0)
"""Logits: scores from 1.8 % to 98.2 % in 256 steps. On black borders the float models give -30000."""

SCORE_STEP = (SCORES[1] - SCORES[0]) / 255

LOUDER = 0.5
"""The power of its factor that a tensor gets if only a 1x1 convolution reads it.

The factors of other tensors cost nothing. In a 1x1 convolution the weights of a filter share one scale, and
the weights of loud channels would be rounded to few values.
"""

REFINING = 4e-4
"""The rate for refining; calibrating uses the default of `tune.tune`."""

PIXELS = (-1.0, 128 / 127)
"""With -1 to 1, zero is between two steps, and 41 of the 256 pixel values become equal to a neighbour."""

CALIBRATION_SCENES = 120
TUNING_SCENES = 6000
TUNING_NOISE = 6


def first_settings(detector: Detector, model: bytes, inputs: np.ndarray) -> quantise.Settings:
    """The measured factors and ranges, with the required ranges of the input and the heads."""
    factors = equalise.find(model, equalise.peaks(model, inputs, detector.share))
    for name in depthwise(tg.read(model)):
        factors[name] = np.rint(factors[name] * LOUDER).astype(np.int8)
    parsed = tg.read(model)
    measured = quantise.measure(equalise.applied(model, factors), inputs)
    ranges = quantise.limits(measured, detector.share)
    for output in tg.graph(parsed).outputs:
        low, high = SCORES if is_score(parsed, output) else detector.boxes
        quantise.set_range(ranges, tg.head(parsed, output), low, high)
    quantise.set_range(ranges, [input_name(parsed)], *PIXELS)
    return quantise.Settings(ranges, factors=factors)


def depthwise(model: Any) -> list[str]:
    """The outputs of depthwise convolutions, which 1x1 convolutions read."""
    made = (op for op in tg.graph(model).operators if tg.code(model, op) == tg.OPERATOR.DEPTHWISE_CONV_2D)
    return [tg.tensor_name(model, operator.outputs[0]) for operator in made]


def calibrate(detector: Detector, model: bytes, data: Path, steps: int) -> quantise.Settings:
    """Measure, then tune, on scenes of the calibration half of the pictures; 0 steps: the default number."""
    chosen = calibrating(data)
    settings = first_settings(detector, model, scenes.values(mixed(chosen, detector, CALIBRATION_SCENES)))
    return tuned(detector, model, settings, data, steps)


def refine(detector: Detector, model: bytes, data: Path, steps: int) -> quantise.Settings:
    """Continue tuning the existing settings."""
    before = quantise.Settings.load(BUILD / detector.settings)
    return tuned(detector, model, before, data, steps, rate=REFINING)


def tuned(
    detector: Detector, model: bytes, settings: quantise.Settings, data: Path, steps: int, **rate: float
) -> quantise.Settings:
    """The settings after tuning."""
    import tune

    parsed = tg.read(model)
    fixed = {input_name(parsed)}
    for output in tg.graph(parsed).outputs:
        fixed.update(tg.head(parsed, output))
    chosen = calibrating(data)
    made = np.concatenate([mixed(chosen, detector, TUNING_SCENES), closer_looks(chosen, detector)])
    drawn = batches(made, detector.batch)
    loss = loss_of(parsed, detector.boxes)
    return tune.tune(model, settings, drawn, loss, fixed=fixed, steps=steps or detector.steps, **rate)


def calibrating(data: Path) -> list[scenes.Picture]:
    """The pictures for calibration."""
    return [picture for picture in scenes.pictures(data) if picture.calibrates]


def mixed(chosen: list[scenes.Picture], detector: Detector, count: int) -> np.ndarray:
    """Scenes, half of them rough."""
    halves = [
        scenes.make(chosen, detector.side, count // 2, SEED + rough, rough=rough) for rough in (False, True)
    ]
    return np.concatenate(halves)


def closer_looks(chosen: list[scenes.Picture], detector: Detector) -> np.ndarray:
    """Squares around all faces, as the appliance crops them to verify a face; each also mirrored."""
    looks = natural.closer_looks(chosen, natural.LOOKS[detector.source == "blazeface-full"])
    squares = np.stack([letterbox(look, detector.side)[0] for look in looks])
    return np.concatenate([squares, squares[:, :, ::-1]])


def batches(made: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Endless random batches of `size` scenes, as input of the float models; half of them get noise."""
    random = np.random.default_rng(SEED)
    while True:
        drawn = made[random.integers(0, len(made), size)].astype(np.float32)
        half = drawn[::2]
        lit = half.any(axis=3, keepdims=True)  # the black around a picture stays black
        level = random.uniform(0, TUNING_NOISE, (len(half), 1, 1, 1))
        half += lit * level * random.standard_normal(half.shape, np.float32)
        yield scenes.values(np.clip(np.rint(drawn), 0, 255))


def loss_of(model: Any, limits: tuple[float, float]) -> Any:
    """The difference of two outputs where it matters: at faces, at things that look like one, and near 0.5.

    Scores should be half a step low. Rounded to the nearest step they are then 0.5 or more exactly where the
    float score is.
    """
    import torch
    from torch.nn.functional import smooth_l1_loss

    scores_first = is_score(model, tg.graph(model).outputs[0])

    def loss(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
        scores, boxes = found if scores_first else found[::-1]
        true_scores, true_boxes = wanted if scores_first else wanted[::-1]
        true_scores, true_boxes = true_scores.clamp(*SCORES), true_boxes.clamp(*limits)
        likely = torch.sigmoid(torch.maximum(true_scores, scores.detach()) + 1)
        face = torch.sigmoid(true_scores) ** 2
        near = torch.exp(-(torch.minimum(true_scores.abs(), scores.detach().abs()) ** 2))
        wanted_scores = (true_scores - SCORE_STEP / 2).clamp(*SCORES)
        score_error = smooth_l1_loss(scores, wanted_scores, reduction="none", beta=0.1)
        box_error = smooth_l1_loss(boxes, true_boxes, reduction="none", beta=0.5).mean(dim=2, keepdim=True)
        parts = ((0.5, likely, score_error), (1, near, score_error), (0.1, face, box_error))
        return sum(share * (weight * error).sum() / weight.sum() for share, weight, error in parts)

    return loss


def is_score(model: Any, output: int) -> bool:
    """Whether an output contains scores, one per anchor, and not boxes."""
    return int(tg.graph(model).tensors[int(output)].shape[-1]) == 1


def input_name(model: Any) -> str:
    """The name of the only input."""
    return tg.tensor_name(model, tg.graph(model).inputs[0])


def source(models: Path, detector: Detector) -> bytes:
    """The float model, verified and prepared."""
    entry = fetch_models.manifest(models)[detector.source]
    path = models / entry["file"]
    fetch_models.check(entry, path)
    return tg.prepare(path.read_bytes())


def build(detector: Detector, models: Path) -> bytes:
    """The int8 model from the float model and the settings next to this script."""
    settings = quantise.Settings.load(BUILD / detector.settings)
    return quantise.quantise(source(models, detector), settings)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if a model that should not change differs from its digest."""
    parser = argparse.ArgumentParser(description="Make the int8 detectors.")
    parser.add_argument("names", nargs="*", default=list(DETECTORS), help="default: all of %(default)s")
    parser.add_argument("--models", type=Path, default=fetch_models.MODELS, help="default: %(default)s")
    parser.add_argument("--calibrate", action="store_true", help="measure and tune again (needs --data)")
    parser.add_argument("--refine", action="store_true", help="continue tuning (needs --data)")
    parser.add_argument("--data", type=Path, help="folder that contains facedet/")
    parser.add_argument("--steps", type=int, default=0, help="number of tuning steps; more is better")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(DETECTORS)):
        parser.error(f"unknown: {', '.join(unknown)}")
    if (options.calibrate or options.refine) and options.data is None:
        parser.error("--calibrate and --refine need --data")
    entries, differ = fetch_models.manifest(options.models), False
    for name in options.names:
        detector = DETECTORS[name]
        for chosen, learn in ((options.calibrate, calibrate), (options.refine, refine)):
            if chosen:
                made = learn(detector, source(options.models, detector), options.data, options.steps)
                made.save(BUILD / detector.settings)
        content = build(detector, options.models)
        fetch_models.write(options.models / detector.target, content)
        if options.calibrate or options.refine:
            enter(options.models, name)
            print(f"{name}: {len(content)} bytes, rebuilt; the manifest is updated")
            continue
        digest = hashlib.sha256(content).hexdigest()
        as_listed = entries.get(name, {}).get("sha256") == digest
        differ = differ or not as_listed
        note = "as in the manifest" if as_listed else "differs from the manifest"
        print(f"{name}: {len(content)} bytes, sha256 {digest}, {note}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
