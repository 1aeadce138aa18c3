"""Makes the shipped files from trained weights: the float model, the int8 model, and their manifest entries.

    python models/build/export_expression.py --data DATA --work WORK    # after train_expression.py
    python models/build/export_expression.py                            # only int8 from float, the same bytes

The first reads WORK/student.pt, mixes its two heads into one, writes `expression.tflite`, measures the ranges
of its tensors on training faces, and updates the manifest. The second needs neither pictures nor PyTorch.
`calibrate_expression.py` comes next.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import quantise
import tflite_graph as tg
from enter_manifest import enter
from fetch_models import MODELS, write

BUILD = Path(__file__).resolve().parent
FLOAT, INT8 = "expression.tflite", "expression_int8.tflite"
RANGES = BUILD / "ranges_expression.json"

POSED_WEIGHT = 0.1
"""Weight of face-api, which knows posed anger, disgust and fear, in the shipped head."""

PIXELS = (-1.0, 128 / 127)
"""With -1 to 1, zero is between two steps, and 41 of the 256 pixel values become equal to a neighbour."""

SHARE = 0.9999
"""The share of a tensor's values that its int8 range covers."""


def float_model(weights: Path, package: Path) -> bytes:
    """The trained net as a .tflite file: face (1, 48, 48, 1) to `expression` (1, 7) and `covered` (1, 1)."""
    import torch
    from expression_net import Shipped
    from labelled_faces import SIDE
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
    from expression_data import Camera, as_input
    from labelled_faces import load_votes

    votes = load_votes(data)
    rows = np.random.default_rng(1).choice(votes.chosen, 600, replace=False)
    seen, _ = Camera(torch.Generator().manual_seed(1))(votes.images[rows[:300]])
    faces = torch.cat([seen, as_input(votes.images[rows[300:]])]).numpy().transpose(0, 2, 3, 1)
    model = tg.prepare((models / FLOAT).read_bytes())
    ranges = quantise.limits(quantise.measure(model, np.ascontiguousarray(faces)), SHARE)
    quantise.set_range(ranges, ["face"], *PIXELS)
    quantise.Settings(ranges).save(RANGES)


def _mixed(people: Any, posed: Any) -> tuple[np.ndarray, np.ndarray]:
    """One linear layer whose probabilities are the weighted geometric mean of the two heads."""
    parts = zip(_layer(people), _layer(posed), strict=True)
    weights, bias = ((1 - POSED_WEIGHT) * one + POSED_WEIGHT * other for one, other in parts)
    return weights, bias


def _layer(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


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
        for name in ("expression", "expression-int8"):
            enter(options.models, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
