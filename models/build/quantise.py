"""Full-integer int8 quantisation of a float .tflite model: measure the tensors' values, then quantise.

It has two steps, so that only the first needs pictures:

    measured = measure(model, inputs)                    # {tensor: Statistics}
    settings = Settings(limits(measured, share=0.9999))  # ranges; change them with `set_range`
    content = quantise(model, settings)                  # deterministic

`model` is the output of `tflite_graph.prepare`. Inputs and outputs of the result are int8 too; weights are
int8 with a scale per channel, biases int32. `Settings.save` and `load` store the result of the first step,
and what `tune.py` learns.
"""

from __future__ import annotations

import base64
import json
import warnings
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import equalise
import numpy as np
import tflite_graph as tg
from ai_edge_litert.interpreter import Interpreter

Ranges = dict[str, tuple[float, float]]
"""For each computed float tensor: the smallest and the largest real number that its int8 covers."""

BINS = 4096

CHANNEL_AXIS = {tg.OPERATOR.CONV_2D: 0, tg.OPERATOR.DEPTHWISE_CONV_2D: 3}
"""The axis of an operator's weights that is its output channels."""


@dataclass(frozen=True)
class Settings:
    """Everything that quantising needs besides the float model.

    `factors` make channels louder (see `equalise.py`) before anything else. `biases` replace the float
    model's; `moves`: by how many int8 steps a weight differs from the nearest one (int8 arrays in the
    weights' shape). All three are by tensor, and may be empty.
    """

    ranges: Ranges
    biases: dict[str, np.ndarray] = field(default_factory=dict)
    moves: dict[str, np.ndarray] = field(default_factory=dict)
    factors: equalise.Factors = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the settings as JSON, one tensor per line; numbers with six digits, moves packed."""
        parts = {
            "ranges": {name: [_short(low), _short(high)] for name, (low, high) in self.ranges.items()},
            "biases": {name: [_short(x) for x in value.tolist()] for name, value in self.biases.items()},
            "moves": {name: _packed(value) for name, value in self.moves.items()},
            "factors": {name: _packed(value) for name, value in self.factors.items()},
        }
        lines = [f"{json.dumps(part)}: {{\n{_lines(content)}\n}}" for part, content in parts.items()]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read the output of `save`; the shape of moves is lost, but `applied` knows it."""
        parts = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            {name: (low, high) for name, (low, high) in parts["ranges"].items()},
            {name: np.array(value, np.float32) for name, value in parts["biases"].items()},
            {name: _unpacked(value) for name, value in parts["moves"].items()},
            {name: _unpacked(value) for name, value in parts.get("factors", {}).items()},
        )


@dataclass
class Statistics:
    """The values of one tensor: extremes, and a histogram between them."""

    least: float = np.inf
    greatest: float = -np.inf
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def widen(self, value: np.ndarray) -> None:
        """First pass: update the extremes."""
        self.least = min(self.least, float(value.min()))
        self.greatest = max(self.greatest, float(value.max()))

    def count(self, value: np.ndarray) -> None:
        """Second pass, when the extremes are known."""
        if self.greatest > self.least:
            self.counts += np.histogram(value, BINS, (self.least, self.greatest))[0]

    def limits(self, share: float) -> tuple[float, float]:
        """The extremes after cutting off the same number of values at each end; `share` of them stay."""
        if share >= 1 or not self.counts.any():
            return self.least, self.greatest
        reached = np.cumsum(self.counts) / self.counts.sum()
        edges = np.linspace(self.least, self.greatest, BINS + 1)
        low, high = np.searchsorted(reached, [(1 - share) / 2, (1 + share) / 2])
        return float(edges[low]), float(edges[min(high + 1, BINS)])


def measure(model: bytes, inputs: np.ndarray) -> dict[str, Statistics]:
    """Run a float model on each of `inputs` (count, *shape without batch) and record all computed tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that keeping all tensors uses memory
        interpreter = Interpreter(model_content=model, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    names = _computed(model)
    found = {name: Statistics() for name in names.values()}
    for note in (Statistics.widen, Statistics.count):
        for value in inputs:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value[None])
            interpreter.invoke()
            for index, name in names.items():
                note(found[name], interpreter.get_tensor(index))
    return found


def limits(measured: Mapping[str, Statistics], share: float) -> Ranges:
    """The ranges of all tensors, each without the outermost 1 - `share` of its values."""
    return {name: statistics.limits(share) for name, statistics in measured.items()}


def set_range(ranges: Ranges, names: Iterable[str], low: float, high: float) -> None:
    """Give several tensors one range."""
    for name in names:
        if name not in ranges:
            raise KeyError(f"no tensor {name!r} was measured")
        ranges[name] = low, high


def steps(weights: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The int8 numbers nearest to float weights, and the step size in each channel of `axis`."""
    others = tuple(index for index in range(weights.ndim) if index != axis)
    scale = np.maximum(np.abs(weights).max(axis=others, keepdims=True), 1e-12) / np.float32(127)
    return np.rint(weights / scale), scale.astype(np.float32)


def applied(model: bytes, settings: Settings) -> bytes:
    """The float model with factors and biases of `settings`, and weights with moves on their int8 values."""
    parsed = tg.read(equalise.applied(model, settings.factors))
    for operator in tg.graph(parsed).operators:
        axis = CHANNEL_AXIS.get(tg.code(parsed, operator))
        if axis is None:
            continue
        weights_at, bias_at = (int(index) for index in operator.inputs[1:3])
        if (bias := settings.biases.get(tg.tensor_name(parsed, bias_at))) is not None:
            tg.set_constant(parsed, bias_at, bias)
        if (moves := settings.moves.get(tg.tensor_name(parsed, weights_at))) is not None:
            weights = tg.constant(parsed, weights_at)
            nearest, scale = steps(weights, axis)
            tg.set_constant(parsed, weights_at, (nearest + moves.reshape(weights.shape)) * scale)
    tg.prune(parsed)
    return tg.write(parsed)


def quantise(model: bytes, settings: Settings) -> bytes:
    """The int8 model; raises GraphError if a tensor has no range or is left float."""
    from ai_edge_quantizer import quantizer, recipe

    content, ranges = applied(model, settings), settings.ranges
    computed = _computed(model)
    if missing := sorted(set(computed.values()) - set(ranges)):
        raise tg.GraphError(f"no range for {', '.join(missing)}")
    tensors = tg.graph(tg.read(model)).tensors
    calibrated = {
        name: {"min": _filled(low, tensors[index]), "max": _filled(high, tensors[index])}
        for index, name in computed.items()
        for low, high in [ranges[name]]
    }
    tool = quantizer.Quantizer(bytearray(content))
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    done = tool.quantize(calibrated, enable_progress_bar=False, enable_progress_report=False)
    quantised = tg.read(bytes(done.quantized_model))
    tg.drop_idle_quantise(quantised)
    tg.prune(quantised)
    check_integer(quantised)
    return tg.write(quantised)


def check_integer(model: Any) -> None:
    """Raise GraphError unless every tensor is int8 or int32."""
    allowed = (tg.schema.TensorType.INT8, tg.schema.TensorType.INT32)
    left = [tensor.name.decode() for tensor in tg.graph(model).tensors if tensor.type not in allowed]
    if left:
        raise tg.GraphError(f"not integer: {', '.join(left)}")


def _computed(model: bytes) -> dict[int, str]:
    """Index and name of every float tensor that is not a constant."""
    parsed = tg.read(model)
    return {
        index: tg.tensor_name(parsed, index)
        for index, tensor in enumerate(tg.graph(parsed).tensors)
        if tensor.type == tg.schema.TensorType.FLOAT32 and tg.constant(parsed, index) is None
    }


def _filled(value: float, tensor: Any) -> np.ndarray:
    """A number in as many dimensions as the tensor has: the format of the tool's calibration."""
    return np.full([1] * len(tensor.shape), value, np.float32)


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _lines(content: dict[str, Any]) -> str:
    return ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())


def _packed(moves: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(moves.astype(np.int8).tobytes(), 9)).decode()


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.int8)
