"""Writes a simple convolution net as a float .tflite file, layer by layer, without a training framework.

    net = Net((1, 48, 48, 1), "face")
    x = net.conv(net.input, kernel, bias, stride=2, padding="SAME", relu=True)
    content = net.finish({"expression": net.dense(net.mean(x), weights, bias)})

Layers take and return the index of a tensor. Shapes are (batch, height, width, channels); kernels are (out,
height, width, in), as in TFLite; a bias is (out,). Weights are stored as float16 with a DEQUANTIZE, which
halves the file; biases stay float32. The bytes depend only on the arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import tflite_graph as tg
from ai_edge_litert import schema_py_generated as schema

Padding = Literal["SAME", "VALID"]

STORED = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
}


class Net:
    """A graph under construction."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        """One input of `shape` (batch, height, width, channels), float32."""
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        part = schema.SubGraphT()
        part.name, part.tensors, part.operators = b"main", [], []
        self._model.subgraphs = [part]
        self.input = self._tensor(shape, name)
        part.inputs = np.array([self.input], np.int32)

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(int(side) for side in tg.graph(self._model).tensors[index].shape)

    def conv(
        self, x: int, kernel: np.ndarray, bias: np.ndarray, *, stride: int, padding: Padding, relu: bool
    ) -> int:
        """A convolution."""
        options = schema.Conv2DOptionsT()
        options.padding = getattr(schema.Padding, padding)
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = _activation(relu)
        high, wide = (_extent(side, kernel.shape[1], stride, padding) for side in self.shape(x)[1:3])
        inputs = [x, self._weights(kernel), self._constant(bias)]
        return self._add("CONV_2D", "Conv2DOptions", options, inputs, (1, high, wide, len(kernel)))

    def pool(self, x: int, kind: Literal["MAX", "AVERAGE"], size: int, stride: int) -> int:
        """The maximum or the mean of each window that is entirely inside."""
        options = schema.Pool2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = stride
        options.filterHeight = options.filterWidth = size
        batch, *sides, channels = self.shape(x)
        shape = (batch, *(_extent(side, size, stride, "VALID") for side in sides), channels)
        return self._add(f"{kind}_POOL_2D", "Pool2DOptions", options, [x], shape)

    def widen(self, x: int, channels: int) -> int:
        """More channels, the new ones all zero."""
        *sides, there = self.shape(x)
        amounts = np.array([[0, 0], [0, 0], [0, 0], [0, channels - there]], np.int32)
        return self._add(
            "PAD", "PadOptions", schema.PadOptionsT(), [x, self._constant(amounts)], (*sides, channels)
        )

    def add(self, x: int, y: int, *, relu: bool) -> int:
        """The sum of two tensors of the same shape."""
        options = schema.AddOptionsT()
        options.fusedActivationFunction = _activation(relu)
        return self._add("ADD", "AddOptions", options, [x, y], self.shape(x))

    def mean(self, x: int) -> int:
        """The mean over height and width: (batch, channels)."""
        options = schema.ReducerOptionsT()
        options.keepDims = False
        axes = self._constant(np.array([1, 2], np.int32))
        batch, _, _, channels = self.shape(x)
        return self._add("MEAN", "ReducerOptions", options, [x, axes], (batch, channels))

    def dense(self, x: int, weights: np.ndarray, bias: np.ndarray) -> int:
        """A fully connected layer; `weights` is (out, in)."""
        options = schema.FullyConnectedOptionsT()
        inputs = [x, self._weights(weights), self._constant(bias)]
        shape = (self.shape(x)[0], len(weights))
        return self._add("FULLY_CONNECTED", "FullyConnectedOptions", options, inputs, shape)

    def finish(self, outputs: Mapping[str, int]) -> bytes:
        """The file's bytes, with these named outputs."""
        part = tg.graph(self._model)
        for name, index in outputs.items():
            part.tensors[index].name = name.encode()
        part.outputs = np.array(list(outputs.values()), np.int32)
        tg.sign(self._model)
        return tg.write(self._model)

    def _add(self, code: str, kind: str, options: Any, inputs: list[int], shape: tuple[int, ...]) -> int:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, code))
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        operators = tg.graph(self._model).operators
        out = self._tensor(shape, f"{code.lower()}_{len(operators)}")
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([out], np.int32)
        operators.append(operator)
        return out

    def _code(self, builtin: int) -> int:
        for index, entry in enumerate(self._model.operatorCodes):
            if entry.builtinCode == builtin:
                return index
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.version = builtin, 1
        entry.deprecatedBuiltinCode = min(builtin, 127)
        self._model.operatorCodes.append(entry)
        return len(self._model.operatorCodes) - 1

    def _tensor(self, shape: tuple[int, ...], name: str) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type = np.array(shape, np.int32), schema.TensorType.FLOAT32
        tensor.name, tensor.buffer = name.encode(), 0
        tensors = tg.graph(self._model).tensors
        tensors.append(tensor)
        return len(tensors) - 1

    def _weights(self, value: np.ndarray) -> int:
        half = self._constant(value.astype(np.float16))
        return self._add("DEQUANTIZE", "DequantizeOptions", schema.DequantizeOptionsT(), [half], value.shape)

    def _constant(self, value: np.ndarray) -> int:
        index = self._tensor(value.shape, f"constant_{len(tg.graph(self._model).tensors)}")
        tg.graph(self._model).tensors[index].type = STORED[value.dtype.name]
        tg.set_constant(self._model, index, value)
        return index


def _activation(relu: bool) -> int:
    kinds = schema.ActivationFunctionType
    return int(kinds.RELU if relu else kinds.NONE)


def _extent(side: int, size: int, stride: int, padding: Padding) -> int:
    return -(-side // stride) if padding == "SAME" else (side - size) // stride + 1
