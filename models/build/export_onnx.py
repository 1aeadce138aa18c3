"""Exports the float models as ONNX, from which TensorRT builds its engines.

    python models/build/export_onnx.py --out DIR      # blazeface_full.onnx …, and compiled.json, their list

Inputs and outputs have the names, shapes and order of axes of the .tflite files. Inside, pictures are (batch,
channels, height, width) as ONNX requires. `*_int8.onnx` contain the ranges of `ranges_*.json`, measured on
our calibration pictures, as pairs of QuantizeLinear and DequantizeLinear: symmetric, as TensorRT requires, so
the output of a RELU uses only half of the 256 values. Needs the package onnx.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equalise
import numpy as np
import onnx
import quantise
import tflite_graph as tg
from fetch_models import MODELS, write
from onnx import TensorProto, helper, numpy_helper

BUILD = Path(__file__).resolve().parent
RANGES = {
    "blazeface_short": "ranges_short.json",
    "blazeface_full": "ranges_full.json",
    "expression": "ranges_expression.json",
}
OPSET = 13
"""TensorRT 8 and 10 can parse it, and it supports quantisation per channel."""

TO_ONNX, TO_TFLITE = (0, 3, 1, 2), (0, 2, 3, 1)


class _Graph:
    """An ONNX graph under construction. Tensors keep their names; four-dimensional ones change axes."""

    def __init__(self, model: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
        self.model, self.ranges = model, ranges
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.quantised: dict[str, str] = {}

    def name(self, index: int) -> str:
        return tg.tensor_name(self.model, int(index))

    def shape(self, index: int) -> list[int]:
        return [int(side) for side in tg.graph(self.model).tensors[int(index)].shape]

    def add(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [out], f"{kind}_{len(self.nodes)}", **attributes))
        return out

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weights(self, value: np.ndarray, axis: int = 0) -> str:
        """Weights, (out, …); int8 with a scale per channel if the model is quantised."""
        value = value.astype(np.float32)
        if not self.ranges:
            return self.constant(value)
        rest = tuple(side for side in range(value.ndim) if side != axis)
        scale = np.maximum(np.abs(value).max(rest), 1e-12) / np.float32(127)
        steps = np.clip(np.rint(value / np.expand_dims(scale, rest)), -127, 127).astype(np.int8)
        zero = self.constant(np.zeros(len(scale), np.int8))
        inputs = [self.constant(steps), self.constant(scale.astype(np.float32)), zero]
        return self.add("DequantizeLinear", inputs, f"{inputs[0]}_real", axis=axis)

    def held(self, index: int) -> str:
        """A tensor, rounded to 255 steps if the model is quantised."""
        name = self.name(index)
        if name not in self.ranges:
            return name
        if name not in self.quantised:
            low, high = self.ranges[name]
            scale = self.constant(np.array(max(abs(low), abs(high)) / 127, np.float32))
            zero = self.constant(np.array(0, np.int8))
            steps = self.add("QuantizeLinear", [name, scale, zero], f"{name}_steps")
            self.quantised[name] = self.add("DequantizeLinear", [steps, scale, zero], f"{name}_held")
        return self.quantised[name]

    def activated(self, kind: int, name: str, out: str) -> None:
        """The result `name`, clipped by the operator's own activation, as `out`."""
        kinds = tg.ACTIVATION
        if kind == kinds.RELU:
            self.add("Relu", [name], out)
        elif kind == kinds.RELU6:
            limits = [self.constant(np.array(value, np.float32)) for value in (0, 6)]
            self.add("Clip", [name, *limits], out)
        elif kind == kinds.NONE:
            self.add("Identity", [name], out)
        else:
            raise tg.GraphError(f"activation {kind} is not supported by this script")


def convert(content: bytes, ranges: Mapping[str, tuple[float, float]] | None = None) -> bytes:
    """A prepared float .tflite model as ONNX, quantised if `ranges` are given. The same bytes every time."""
    model = tg.read(content)
    graph, part = _Graph(model, ranges or {}), tg.graph(model)
    (source,) = part.inputs
    named = tg.tensor_name(model, source)
    part.tensors[int(source)].name = f"{named}_turned".encode()
    graph.add("Transpose", [named], f"{named}_turned", perm=TO_ONNX)
    if named in graph.ranges:
        graph.ranges = {**graph.ranges, f"{named}_turned": graph.ranges[named]}
    for operator in part.operators:
        _convert(graph, operator)
    inputs = [helper.make_tensor_value_info(named, TensorProto.FLOAT, graph.shape(source))]
    outputs = [
        helper.make_tensor_value_info(graph.name(index), TensorProto.FLOAT, graph.shape(index))
        for index in part.outputs
    ]
    made = helper.make_graph(graph.nodes, "main", inputs, outputs, graph.constants)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString(deterministic=True))


def _convert(graph: _Graph, operator: Any) -> None:
    code, options = tg.code(graph.model, operator), operator.builtinOptions
    inputs, out = [int(index) for index in operator.inputs], int(operator.outputs[0])
    name, kinds = graph.name(out), tg.OPERATOR
    if code in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D):
        deep = code == kinds.DEPTHWISE_CONV_2D
        kernel = tg.constant(graph.model, inputs[1])
        kernel = kernel.transpose((3, 0, 1, 2) if deep else TO_ONNX)
        given = [graph.held(inputs[0]), graph.weights(kernel), _bias(graph, inputs[2])]
        raw = graph.add(
            "Conv",
            given,
            f"{name}_raw",
            group=graph.shape(inputs[0])[3] if deep else 1,
            **_window(graph, operator, kernel.shape[2:]),
        )
        graph.activated(options.fusedActivationFunction, raw, name)
    elif code in (kinds.MAX_POOL_2D, kinds.AVERAGE_POOL_2D):
        kind = "MaxPool" if code == kinds.MAX_POOL_2D else "AveragePool"
        size = (options.filterHeight, options.filterWidth)
        raw = graph.add(
            kind, [graph.held(inputs[0])], f"{name}_raw", kernel_shape=size, **_window(graph, operator, size)
        )
        graph.activated(options.fusedActivationFunction, raw, name)
    elif code == kinds.ADD:
        raw = graph.add("Add", [graph.held(index) for index in inputs], f"{name}_raw")
        graph.activated(options.fusedActivationFunction, raw, name)
    elif code == kinds.RELU:
        graph.activated(tg.ACTIVATION.RELU, graph.name(inputs[0]), name)
    elif code == kinds.PAD:
        amounts = tg.constant(graph.model, inputs[1])[list(TO_ONNX)]
        graph.add(
            "Pad", [graph.name(inputs[0]), graph.constant(amounts.T.reshape(-1).astype(np.int64))], name
        )
    elif code == kinds.RESIZE_BILINEAR:
        mode = "half_pixel" if options.halfPixelCenters else "asymmetric"
        mode = "align_corners" if options.alignCorners else mode
        sizes = np.array(graph.shape(out), np.int64)[list(TO_ONNX)]
        graph.add(
            "Resize",
            [graph.name(inputs[0]), "", "", graph.constant(sizes)],
            name,
            mode="linear",
            coordinate_transformation_mode=mode,
        )
    elif code == kinds.RESHAPE:
        turned = graph.add("Transpose", [graph.name(inputs[0])], f"{name}_turned", perm=TO_TFLITE)
        graph.add("Reshape", [turned, graph.constant(np.array(graph.shape(out), np.int64))], name)
    elif code == kinds.CONCATENATION:
        graph.add("Concat", [graph.name(index) for index in inputs], name, axis=int(options.axis))
    elif code == kinds.MEAN:
        graph.add("ReduceMean", [graph.name(inputs[0])], name, axes=[2, 3], keepdims=0)
    elif code == kinds.FULLY_CONNECTED:
        weights = graph.weights(tg.constant(graph.model, inputs[1]))
        given = [graph.held(inputs[0]), weights, _bias(graph, inputs[2])]
        graph.add("Gemm", given, name, transB=1)
    else:
        raise tg.GraphError(f"operator {code} is not supported by this script")


def _bias(graph: _Graph, index: int) -> str:
    return graph.constant(tg.constant(graph.model, index).astype(np.float32))


def _window(graph: _Graph, operator: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Strides, and the padding of TensorFlow's SAME as numbers: the odd pixel is added at the end."""
    options = operator.builtinOptions
    strides = (options.strideH, options.strideW)
    found: dict[str, Any] = {"strides": strides}
    if options.padding == tg.schema.Padding.SAME:
        sides = zip(graph.shape(operator.inputs[0])[1:3], size, strides, strict=True)
        lacks = [max(0, (-(-side // step) - 1) * step + wide - side) for side, wide, step in sides]
        found["pads"] = [*(lack // 2 for lack in lacks), *(lack - lack // 2 for lack in lacks)]
    return found


def build(models: Path, stem: str, *, int8: bool) -> bytes:
    """One model's ONNX from its float .tflite file."""
    content = tg.prepare((models / f"{stem}.tflite").read_bytes())
    if not int8:
        return convert(content)
    settings = quantise.Settings.load(BUILD / RANGES[stem])
    return convert(equalise.applied(content, settings.factors), settings.ranges)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write the float models as ONNX.")
    parser.add_argument("--models", type=Path, default=MODELS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    listing = {}
    for stem in RANGES:
        source = hashlib.sha256((options.models / f"{stem}.tflite").read_bytes()).hexdigest()
        for int8 in (False, True):
            name, content = f"{stem}{'_int8' if int8 else ''}.onnx", build(options.models, stem, int8=int8)
            write(options.out / name, content)
            listing[name] = {"sha256": hashlib.sha256(content).hexdigest(), "from": source}
            print(f"{name}: {len(content)} bytes")
    write(options.out / "compiled.json", (json.dumps(listing, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
