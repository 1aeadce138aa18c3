"""Gives the channels of a tensor similar ranges before they share one: "cross-layer equalisation".

All channels of a tensor share one int8 range, so a quiet channel next to a loud one has only a few of the 256
values. Between two convolutions, the first can make a channel louder and the second quieter again: this does
not affect RELU, MAX_POOL, ADD and the like, and weights have a separate scale for each channel.

    factors = find(model, peaks(model, inputs))   # {tensor: int8 per channel, in quarters of an octave}
    content = applied(model, factors)             # computes what `model` computes

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite_graph as tg
from ai_edge_litert.interpreter import Interpreter

Factors = dict[str, np.ndarray]

QUARTERS = 4
MOST = 5 * QUARTERS
"""The largest factor of a channel is 32."""

PASSING = {tg.OPERATOR.ADD, tg.OPERATOR.PAD, tg.OPERATOR.MAX_POOL_2D, tg.OPERATOR.RESIZE_BILINEAR}
"""Operators whose output has the factors of their input (PAD: of the existing channels)."""


def applied(model: bytes, factors: Mapping[str, np.ndarray]) -> bytes:
    """The model with every channel of the tensors in `factors` scaled by its factor; same outputs."""
    parsed = tg.read(model)
    convolutions = (tg.OPERATOR.CONV_2D, tg.OPERATOR.DEPTHWISE_CONV_2D)
    for operator in tg.graph(parsed).operators if factors else ():
        if tg.code(parsed, operator) not in convolutions:
            continue
        weights_at, bias_at = (int(index) for index in operator.inputs[1:3])
        before = _factor(parsed, operator.inputs[0], factors)
        after = _factor(parsed, operator.outputs[0], factors)
        weights = tg.constant(parsed, weights_at) / before
        if tg.code(parsed, operator) == tg.OPERATOR.DEPTHWISE_CONV_2D:
            weights = weights * after
        else:
            weights = weights * after.reshape(-1, 1, 1, 1)
        tg.set_constant(parsed, weights_at, weights.astype(np.float32))
        tg.set_constant(parsed, bias_at, (tg.constant(parsed, bias_at) * after).astype(np.float32))
    tg.prune(parsed)
    return tg.write(parsed)


def peaks(model: bytes, inputs: np.ndarray, share: float) -> dict[str, np.ndarray]:
    """For each channel of each 4-D tensor, the magnitude that `share` of its values do not exceed."""
    interpreter = Interpreter(model_content=model, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    parsed = tg.read(model)
    names = {int(op.outputs[0]): tg.tensor_name(parsed, op.outputs[0]) for op in tg.graph(parsed).operators}
    held: dict[str, list[np.ndarray]] = {name: [] for name in names.values()}
    for value in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value[None])
        interpreter.invoke()
        for index, name in names.items():
            found = np.abs(interpreter.get_tensor(index))
            if found.ndim == 4:
                held[name].append(found.reshape(-1, found.shape[-1]).astype(np.float16))
    return {
        name: np.quantile(np.concatenate(all_of), share, axis=0).astype(np.float32)
        for name, all_of in held.items()
        if all_of
    }


def find(model: bytes, loud: Mapping[str, np.ndarray]) -> Factors:
    """The factors that raise every channel to the loudest of its tensor; input and heads stay unchanged."""
    parsed = tg.read(model)
    fixed = {tg.tensor_name(parsed, tg.graph(parsed).inputs[0])}
    for output in tg.graph(parsed).outputs:
        fixed.update(tg.head(parsed, output))
    found: Factors = {}
    for names in _groups(parsed):
        if fixed.isdisjoint(names):
            widest = max(len(loud[name]) for name in names)
            level = np.full(widest, 1e-6, np.float32)
            for name in names:
                relative = loud[name] / max(float(loud[name].max()), 1e-6)
                level[: len(relative)] = np.maximum(level[: len(relative)], relative)
            quarters = np.clip(np.rint(-QUARTERS * np.log2(level)), 0, MOST).astype(np.int8)
            found.update({name: quarters[: len(loud[name])] for name in names})
    return found


def _groups(parsed: Any) -> list[set[str]]:
    """Tensors that must have the same factors."""
    group_of: dict[str, set[str]] = {}
    for operator in tg.graph(parsed).operators:
        made = tg.tensor_name(parsed, operator.outputs[0])
        group = group_of.setdefault(made, {made})
        if tg.code(parsed, operator) in PASSING:
            for index in operator.inputs:
                if tg.constant(parsed, index) is None:
                    group = group | group_of[tg.tensor_name(parsed, index)]
            group_of.update(dict.fromkeys(group, group))
    return list({id(group): group for group in group_of.values()}.values())


def _factor(parsed: Any, index: int, factors: Mapping[str, np.ndarray]) -> np.ndarray:
    quarters = factors.get(tg.tensor_name(parsed, index))
    return np.float32(1) if quarters is None else np.exp2(quarters.astype(np.float32) / QUARTERS)
