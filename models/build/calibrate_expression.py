"""Fits what turns the expression model's logits into scores, and the baseline: both go into the manifest.

    python models/build/calibrate_expression.py --data DATA             # fit, print the figures, write
    python models/build/calibrate_expression.py --data DATA --dry-run   # without writing

Faces are read as the appliance reads stills: by the int8 model, together with their mirror images. The
calibration is fitted on FER+ (PublicTest), photographs and posed faces. Its figures are cross-validated: each
fifth of the faces is judged by a fit on the other four, and a person is in one fifth only. No training:
seconds, numpy alone. See docs/decisions/0105-baseline.md and 0106-calibration.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from covered_faces import photographed
from enter_manifest import Calibration, Rest, enter
from fetch_models import MODELS
from labelled_faces import NamedFaces, accuracy_and_f1, load_people, load_posed, load_votes

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from appliance.values import EMOTIONS
from appliance.vision.expression.baseline import common_logits

INT8 = "expression_int8.tflite"
CLASSES, NEUTRAL, DISGUSTED = len(EMOTIONS), EMOTIONS.index("neutral"), EMOTIONS.index("disgusted")

WEIGHTS = {"FER+": 1.0, "photographs": 0.4, "posed": 0.2}
"""Weight of each set. With more for the last two, FER+ gets worse (0106-calibration.md has the figures)."""

EVENLY = 0.05
"""Share of a set's weight that its classes divide equally: otherwise rare expressions are never said."""

STIFFNESS = 0.02
"""How strongly the weights are held at a multiple of the identity, and the offsets at 0."""

FOLDS = 5
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FEWEST = 3
"""Pictures of a person from which they are read as one person's."""


@dataclass(frozen=True)
class Judged:
    """Logits (count, 7), true classes, a number for each person, and which labels are good: (count,) each."""

    logits: np.ndarray
    truth: np.ndarray
    people: np.ndarray
    good: np.ndarray


@dataclass(frozen=True)
class Fit:
    """Calibrated logits are `weights` (7, 7) times the model's, plus `offsets` (7,)."""

    weights: np.ndarray
    offsets: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        calibrated = logits @ self.weights.T + self.offsets
        return calibrated - calibrated.mean(1, keepdims=True)


# --- fitting ---


def fit(sets: dict[str, Judged], rows: dict[str, np.ndarray]) -> Fit:
    """The most likely calibration for these rows of the sets, by Newton's method: the loss is convex."""
    used = {name: rows[name] & each.good for name, each in sets.items()}
    inputs = np.concatenate([each.logits[used[name]] for name, each in sets.items()]).astype(np.float64)
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    truths = {name: each.truth[used[name]] for name, each in sets.items()}
    truth = np.concatenate(list(truths.values()))
    weight = np.concatenate([_weights(each, WEIGHTS[name]) for name, each in truths.items()])
    wanted, stiff = np.eye(CLASSES)[truth], _stiffness()
    width = CLASSES + 1
    found = np.hstack([np.eye(CLASSES), np.zeros((CLASSES, 1))]).reshape(-1)
    for _ in range(50):
        probabilities = softmax(inputs @ found.reshape(CLASSES, width).T)
        slope = ((probabilities - wanted) * weight[:, None]).T @ inputs
        slope = slope.reshape(-1) + stiff @ found
        bend = np.zeros((CLASSES, width, CLASSES, width))
        for one in range(CLASSES):
            for other in range(CLASSES):
                both = probabilities[:, one] * ((one == other) - probabilities[:, other]) * weight
                bend[one, :, other, :] = (inputs * both[:, None]).T @ inputs
        step = np.linalg.solve(bend.reshape(CLASSES * width, -1) + stiff, slope)
        # A short step first: far from the minimum a full one may overshoot.
        found = found - step * min(1.0, 1.0 / np.abs(step).max())
        if np.abs(step).max() < 1e-8:
            break
    table = found.reshape(CLASSES, width)
    return Fit(table[:, :CLASSES], table[:, CLASSES])


def _weights(truth: np.ndarray, total: float) -> np.ndarray:
    """A weight for each face."""
    each = np.full(len(truth), (1 - EVENLY) * total / len(truth))
    present, counts = np.unique(truth, return_counts=True)
    for number, count in zip(present, counts, strict=True):
        each[truth == number] += EVENLY * total / (len(present) * count)
    return each


def _stiffness() -> np.ndarray:
    """The penalty as a quadratic form of (7, 8) parameters: nothing for a multiple of the identity."""
    width = CLASSES + 1
    form = STIFFNESS * np.eye(CLASSES * width)
    diagonal = np.arange(CLASSES) * (width + 1)
    form[np.ix_(diagonal, diagonal)] -= STIFFNESS / CLASSES
    offsets = np.arange(CLASSES) * width + CLASSES
    form[offsets, offsets] /= 10
    return form + 1e-9 * np.eye(CLASSES * width)  # what adds the same to every class changes nothing


def cross_validated(sets: dict[str, Judged]) -> dict[str, np.ndarray]:
    """Calibrated logits of every face, fitted on the other folds."""
    folds = {name: _folds(each.people) for name, each in sets.items()}
    found = {name: np.zeros_like(each.logits) for name, each in sets.items()}
    for fold in range(FOLDS):
        made = fit(sets, {name: each != fold for name, each in folds.items()})
        for name, each in sets.items():
            here = folds[name] == fold
            found[name][here] = made(each.logits[here])
    return found


def _folds(people: np.ndarray) -> np.ndarray:
    persons = np.unique(people)
    fold = np.random.default_rng(7).permutation(len(persons)) % FOLDS
    return fold[np.searchsorted(persons, people)]


# --- the baseline ---


def rest_of(sets: dict[str, Judged], calibrated: dict[str, np.ndarray]) -> tuple[np.ndarray, float, float]:
    """Typical resting logits (7,), how far 19 of 20 resting faces are from them, and a strong expression.

    A strong expression is further from rest than nine of ten posed faces.
    """
    resting = [calibrated[name][sets[name].truth == NEUTRAL] for name in ("FER+", "photographs")]
    typical = np.mean([each.mean(0) for each in resting], axis=0)
    far = [np.linalg.norm(each - typical, axis=1) for each in resting]
    posed = np.linalg.norm(calibrated["posed"] - typical, axis=1)
    return typical, float(np.quantile(np.concatenate(far), 0.95)), float(np.quantile(posed, 0.9))


Adjusted = tuple[np.ndarray, np.ndarray]
"""Logits (count, 7) and true classes (count,)."""


def by_own_rest(faces: Judged, logits: np.ndarray, typical: np.ndarray, share: float) -> Adjusted:
    """Faces whose person has another, neutral one, without a share of that one's difference."""
    found, rows = logits.copy(), []
    for row in np.flatnonzero(faces.good):
        others = (faces.people == faces.people[row]) & (faces.truth == NEUTRAL)
        others[row] = False
        if others.any():
            rows.append(row)
            found[row] -= share * (logits[others].mean(0) - typical)
    return found[rows], faces.truth[rows]


def by_own_pictures(faces: Judged, logits: np.ndarray, share: float) -> Adjusted:
    """Faces of people with `FEWEST` pictures and more, each read as one person."""
    found, rows = logits.copy(), np.zeros(len(logits), bool)
    for person in np.unique(faces.people):
        own = faces.people == person
        if own.sum() >= FEWEST:
            rows |= own
            found[own] -= share * common_logits(logits[own])
    rows &= faces.good
    return found[rows], faces.truth[rows]


# --- figures ---


def logits(content: bytes, faces: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs for grey faces (count, 48, 48), by name."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found: dict[str, list[np.ndarray]] = {detail["name"]: [] for detail in outputs}
    for face in faces:
        interpreter.set_tensor(source["index"], _stored(face / 127.5 - 1, source)[None, :, :, None])
        interpreter.invoke()
        for detail in outputs:
            value = interpreter.get_tensor(detail["index"])[0].astype(np.float32)
            scale, zero = detail["quantization"]
            found[detail["name"]].append((value - zero) * scale if scale else value)
    return {name.split(":")[0]: np.stack(values) for name, values in found.items()}


def _stored(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale:
        return values.astype(np.float32)
    return np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8)


def both_ways(content: bytes, faces: np.ndarray) -> np.ndarray:
    """Expression logits, (count, 7), of faces read together with their mirror images, as in stills."""
    return (logits(content, faces)["expression"] + logits(content, faces[:, :, ::-1])["expression"]) / 2


def softmax(values: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def figures(calibrated: np.ndarray, truth: np.ndarray) -> str:
    """Accuracy (95 % interval), macro-F1, calibration error, share of sure labels, recall: table cells."""
    probabilities = softmax(calibrated)
    top, predicted = probabilities.max(1), probabilities.argmax(1)
    right = predicted == truth
    bins, error = np.minimum((top * 10).astype(int), 9), 0.0
    for number in np.unique(bins):
        here = bins == number
        error += here.mean() * abs(top[here].mean() - right[here].mean())
    sure = top >= 0.9
    recall = " ".join(f"{np.mean(predicted[truth == each] == each):.2f}" for each in np.unique(truth))
    accuracy, f1 = accuracy_and_f1(truth, predicted)
    low, high = interval(right)
    wrong = float(np.mean(~right[sure])) if sure.any() else 0.0
    cells = (
        len(truth), f"{accuracy:.3f} ({low:.3f} to {high:.3f})", f"{f1:.3f}", f"{error:.3f}",
        f"{sure.mean():.2f}", f"{wrong:.3f}", recall,
    )  # fmt: skip
    return " | ".join(map(str, cells))


def interval(right: np.ndarray) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, from the single results (count,)."""
    z, count, share = 1.96, len(right), right.mean()
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - reach, middle + reach


def loss(calibrated: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log-likelihood."""
    return float(-np.log(softmax(calibrated)[np.arange(len(truth)), truth] + 1e-9).mean())


def best_share(name: str, sets: Sequence[Callable[[float], Adjusted]]) -> float:
    """The share with the smallest mean loss over the sets; prints all of them."""
    losses = []
    for share in SHARES:
        found = [adjusted(share) for adjusted in sets]
        each = [loss(*pair) for pair in found]
        losses.append(float(np.mean(each)))
        right = ", ".join(f"{np.mean(a.argmax(1) == t):.3f} of {len(t)}" for a, t in found)
        print(f"{name} {share:.1f}: right {right}; loss {', '.join(f'{value:.3f}' for value in each)}")
    return SHARES[int(np.argmin(losses))]


def load(models: Path, data: Path) -> dict[str, Judged]:
    """The sets, read by the int8 model."""
    content, votes = (models / INT8).read_bytes(), load_votes(data)
    faces, truth = votes.images[votes.valid], votes.majority[votes.valid]
    everyone = {"FER+": NamedFaces(faces, truth, np.arange(len(truth)))}
    everyone |= {"photographs": load_people(data), "posed": load_posed(data)}
    return {
        name: Judged(
            both_ways(content, each.images),
            each.labels,
            each.people,
            # "disgusted" in the photographs is mostly a mistake of the labels.
            (each.labels != DISGUSTED) | (name != "photographs"),
        )
        for name, each in everyone.items()
    }


def calibrate(models: Path, data: Path) -> tuple[Calibration, Rest]:
    """Fit everything and print the figures."""
    sets = load(models, data)
    apart = cross_validated(sets)
    print("| set | faces | right | macro-F1 | calibration error | sure | of these wrong | recall |")
    print("|---|---|---|---|---|---|---|---|")
    for name, each in sets.items():
        print(f"| {name} | {figures(apart[name][each.good], each.truth[each.good])} |")
    typical, _, _ = rest_of(sets, apart)
    photographs, posed = (
        partial(by_own_pictures, sets[name], apart[name]) for name in ("photographs", "posed")
    )
    rest = partial(by_own_rest, sets["photographs"], apart["photographs"], typical)
    share, pictures = best_share("own rest", [rest]), best_share("own pictures", [photographs, posed])
    print(f"| photographs, less own rest | {figures(*rest(share))} |")
    print(f"| photographs, each person's as one person's | {figures(*photographs(pictures))} |")
    print(f"| posed, each person's as one person's | {figures(*posed(pictures))} |")
    made = fit(sets, {name: np.ones(len(each.truth), bool) for name, each in sets.items()})
    heat = CLASSES / float(np.trace(made.weights))
    typical, radius, strong = rest_of(sets, {name: made(each.logits) for name, each in sets.items()})
    return (
        Calibration(heat, list(made.offsets * heat), (made.weights * heat).tolist()),
        Rest(typical.tolist(), radius, strong, share, pictures),
    )


def report_covered(models: Path, data: Path) -> None:
    """Print how often photographed masked faces, and bare ones, are covered."""
    seen, covered, apart = photographed(data)
    found = logits((models / INT8).read_bytes(), seen[apart])["covered"][:, 0]
    for limit in (0.5, 0.7, 0.8, 0.9):
        over = found > np.log(limit / (1 - limit))
        masks, bare = over[covered[apart] > 0].mean(), over[covered[apart] == 0].mean()
        print(f"covered over {limit}: {masks:.3f} of masked faces, {bare:.3f} of bare ones")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Fit calibration and baseline of the expression model.")
    parser.add_argument("--models", type=Path, default=MODELS, help="default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    calibration, rest = calibrate(options.models, options.data)
    report_covered(options.models, options.data)
    if not options.dry_run:
        for name in ("expression", "expression-int8"):
            enter(options.models, name, calibration, rest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
