"""Makes the shipped files from trained weights: the float model, the int8 model, and their manifest entries.

    python models/build/export_expression.py --data DATA --work WORK    # after train_expression.py
    python models/build/export_expression.py                            # only int8 from float, the same bytes

The first reads WORK/student.pt, mixes its two heads into one, writes `expression.tflite`, measures the ranges
of its tensors on training faces, fits the calibration of the int8 model on two thirds of the validation
faces, prints the figures of the held-out third, and updates the manifest. The second needs neither pictures
nor PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import quantise
import tflite_graph as tg
from ai_edge_litert.interpreter import Interpreter
from enter_manifest import Calibration, enter
from fetch_models import MODELS, write

BUILD = Path(__file__).resolve().parent
FLOAT, INT8 = "expression.tflite", "expression_int8.tflite"
RANGES = BUILD / "ranges_expression.json"

POSED_WEIGHT = 0.1
"""Weight of face-api, which knows posed anger, disgust and fear, in the shipped head."""

PHOTOGRAPHS_WEIGHT = 0.4
"""Weight of all photographs relative to all FER2013 faces when the offsets are fitted. With 0, other faces
are called neutral too often; with more, FER+ gets worse."""

PIXELS = (-1.0, 128 / 127)
"""With -1 to 1, zero is between two steps, and 41 of the 256 pixel values become equal to a neighbour."""

EVENLY = 0.15
"""Weight of the classes, each counting equally, relative to the faces when the offsets are fitted. With 0,
even obvious rare expressions are missed; with more, the common ones get worse."""

SHARE = 0.9999
"""The share of a tensor's values that its int8 range covers."""


def float_model(weights: Path, package: Path) -> bytes:
    """The trained net as a .tflite file: face (1, 48, 48, 1) to `expression` (1, 7) and `covered` (1, 1)."""
    import torch
    from expression_data import SIDE
    from expression_net import Shipped
    from tflite_net import Net

    net = Shipped(package)
    net.load_state_dict(torch.load(weights, weights_only=True))

    def convolved(x: int, layer: Any, stride: int, relu: bool) -> int:
        kernel = layer.weight.detach().numpy().transpose(0, 2, 3, 1)
        bias = layer.bias.detach().numpy()
        return graph.conv(x, kernel, bias, stride=stride, padding="SAME", relu=relu)

    graph = Net((1, SIDE, SIDE, 1), "face")
    x = convolved(graph.input, net.stem, 2, relu=True)
    for block in net.blocks:
        y = convolved(x, block.first.conv, 2 if block.down else 1, relu=True)
        y = convolved(y, block.second.conv, 1, relu=False)
        if block.down:
            x = graph.widen(graph.pool(x, "AVERAGE", 2, 2), graph.shape(y)[-1])
        x = graph.add(x, y, relu=True)
    features = graph.mean(x)
    heads = {"expression": _mixed(net.people, net.posed), "covered": _layer(net.covered)}
    return graph.finish({name: graph.dense(features, *layer) for name, layer in heads.items()})


def int8_model(models: Path) -> bytes:
    """The int8 model from the float one and the stored ranges: the same bytes every time."""
    return quantise.quantise(tg.prepare((models / FLOAT).read_bytes()), quantise.Settings.load(RANGES))


def calibrate_ranges(models: Path, data: Path) -> None:
    """Measure the ranges of the float model's tensors on training faces with camera effects."""
    import torch
    from expression_data import Camera, as_input, load_votes

    votes = load_votes(data)
    rows = np.random.default_rng(1).choice(votes.chosen, 600, replace=False)
    seen, _ = Camera(torch.Generator().manual_seed(1))(votes.images[rows[:300]])
    faces = torch.cat([seen, as_input(votes.images[rows[300:]])]).numpy().transpose(0, 2, 3, 1)
    model = tg.prepare((models / FLOAT).read_bytes())
    ranges = quantise.limits(quantise.measure(model, np.ascontiguousarray(faces)), SHARE)
    quantise.set_range(ranges, ["face"], *PIXELS)
    quantise.Settings(ranges).save(RANGES)


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


Judged = tuple[np.ndarray, np.ndarray, float]
"""Logits (count, 7), true classes (count,), and the weight of all these faces."""


def fitted(people: Judged, others: Judged) -> tuple[float, np.ndarray]:
    """Temperature and offsets, (7,): offsets that make the true classes of both sets the likeliest, and then
    the temperature that does so for `people`.

    Offsets are regularised towards zero, since rare classes have few faces.
    """
    sets = [people, others, *by_class(people, EVENLY), *by_class(others, EVENLY / 2)]
    _, offsets = _likeliest(sets, np.zeros(7), move_offsets=True)
    return _likeliest([people], offsets, move_offsets=False)


def by_class(judged: Judged, weight: float) -> list[Judged]:
    """The faces of each class as a separate set; their total weight is `weight`."""
    scores, truth, _ = judged
    present = np.unique(truth)
    return [(scores[truth == number], truth[truth == number], weight / len(present)) for number in present]


def _likeliest(sets: list[Judged], begin: np.ndarray, *, move_offsets: bool) -> tuple[float, np.ndarray]:
    import torch

    offsets = torch.tensor(begin, dtype=torch.float32, requires_grad=move_offsets)
    heat = torch.zeros(1, requires_grad=True)
    moved = [heat, offsets] if move_offsets else [heat]
    search = torch.optim.LBFGS(moved, max_iter=200, line_search_fn="strong_wolfe")
    parts = [(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)), weight) for x, y, weight in sets]

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = 0.01 * (offsets**2).mean()
        for scores, wanted, weight in parts:
            value = value + weight * torch.nn.functional.cross_entropy(
                (scores + offsets) / heat.exp(), wanted
            )
        value.backward()
        return value

    search.step(loss)
    return float(heat.detach().exp()), offsets.detach().numpy()


def both_ways(content: bytes, faces: np.ndarray) -> np.ndarray:
    """Expression logits, (count, 7), of faces read together with their mirror images, as in stills."""
    return (logits(content, faces)["expression"] + logits(content, faces[:, :, ::-1])["expression"]) / 2


def figures(probabilities: np.ndarray, truth: np.ndarray) -> str:
    """Accuracy, macro-F1, expected calibration error in ten bins, and recall per class, as table cells."""
    from expression_data import accuracy_and_f1

    top, predicted = probabilities.max(1), probabilities.argmax(1)
    bins, error = np.minimum((top * 10).astype(int), 9), 0.0
    for number in np.unique(bins):
        here = bins == number
        error += here.mean() * abs(top[here].mean() - np.mean(predicted[here] == truth[here]))
    recall = " ".join(f"{np.mean(predicted[truth == number] == number):.2f}" for number in range(7))
    return "{:.3f} | {:.3f}".format(*accuracy_and_f1(truth, predicted)) + f" | {error:.3f} | {recall}"


def softmax(values: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def report(models: Path, data: Path) -> Calibration:
    """Fit the calibration, evaluate float and int8, and print the figures; returns the calibration."""
    from covered_faces import photographed
    from expression_data import load_photographs, load_votes

    votes, (faces, labels, kept) = load_votes(data), load_photographs(data)
    files = {"float": (models / FLOAT).read_bytes(), "int8": (models / INT8).read_bytes()}
    sets = {
        "FER+, choosing": (votes.images[votes.selection], votes.majority[votes.selection]),
        "FER+, kept out": (votes.images[votes.kept], votes.majority[votes.kept]),
        "photographs, choosing": (faces[~kept], labels[~kept]),
        "photographs, kept out": (faces[kept], labels[kept]),
    }
    predicted = {
        name: {title: both_ways(content, images) for title, (images, _) in sets.items()}
        for name, content in files.items()
    }
    people, others = (
        (predicted["int8"][title], sets[title][1]) for title in ("FER+, choosing", "photographs, choosing")
    )
    heat, offsets = fitted((*people, 1.0), (*others, PHOTOGRAPHS_WEIGHT))
    print(f"temperature = {heat:.4g}\noffsets = {[round(float(value), 3) for value in offsets]}\n")
    print("| set | model | faces | accuracy | macro-F1 | calibration error | recall per class |")
    print("|---|---|---|---|---|---|---|")
    for title, (_, truth) in sets.items():
        for name in files:
            row = figures(softmax((predicted[name][title] + offsets) / heat), truth)
            print(f"| {title} | {name} | {len(truth)} | {row} |")
    seen, covered, apart = photographed(data)
    covered_logits = logits(files["int8"], seen[apart])["covered"][:, 0]
    for limit in (0.5, 0.7, 0.8, 0.9):
        over = covered_logits > np.log(limit / (1 - limit))
        masks, bare = over[covered[apart] > 0].mean(), over[covered[apart] == 0].mean()
        print(f"covered over {limit}: {masks:.3f} of masked faces, {bare:.3f} of bare ones")
    return Calibration(heat, [float(value) for value in offsets])


def _mixed(people: Any, posed: Any) -> tuple[np.ndarray, np.ndarray]:
    """One linear layer whose probabilities are the weighted geometric mean of the two heads."""
    parts = zip(_layer(people), _layer(posed), strict=True)
    weights, bias = ((1 - POSED_WEIGHT) * one + POSED_WEIGHT * other for one, other in parts)
    return weights, bias


def _layer(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def _stored(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale:
        return values.astype(np.float32)
    return np.clip(np.rint(values / scale) + zero, -128, 127).astype(np.int8)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write the expression model's files.")
    parser.add_argument("--models", type=Path, default=MODELS, help="default: %(default)s")
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--work", type=Path, help="folder of the training")
    options = parser.parse_args(arguments)
    if (options.data is None) != (options.work is None):
        parser.error("--data and --work must be given together")
    if options.work:
        from npm_package import FACE_API, unpacked

        package = unpacked(FACE_API, options.work) / "model"
        write(options.models / FLOAT, float_model(options.work / "student.pt", package))
        calibrate_ranges(options.models, options.data)
    write(options.models / INT8, int8_model(options.models))
    if options.data:
        calibration = report(options.models, options.data)
        for name in ("expression", "expression-int8"):
            enter(options.models, name, calibration)
    return 0


if __name__ == "__main__":
    sys.exit(main())
