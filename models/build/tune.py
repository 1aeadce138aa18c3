"""Tunes an int8 model to match the float one: a short distillation in PyTorch.

The graph runs twice on each batch, once in float and once with every tensor rounded to its int8 values. The
difference of the outputs moves ranges, biases, and weights by entire int8 steps (rounding passes gradients on
unchanged). The scale of each weight channel stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import equalise
import numpy as np
import tflite_graph as tg
import torch
from quantise import CHANNEL_AXIS, Settings
from torch.nn import functional

Tensors = dict[int, torch.Tensor]
Loss = Callable[[list[torch.Tensor], list[torch.Tensor]], torch.Tensor]
"""A function of the outputs of the rounded graph and of the float graph, in the model's order."""

COPYING = {tg.OPERATOR.PAD, tg.OPERATOR.MAX_POOL_2D, tg.OPERATOR.RESIZE_BILINEAR}
COPYING |= {tg.OPERATOR.RESHAPE, tg.OPERATOR.CONCATENATION}
"""Operators whose output has the range of their input."""

TO_TORCH = {tg.OPERATOR.CONV_2D: (0, 3, 1, 2), tg.OPERATOR.DEPTHWISE_CONV_2D: (3, 0, 1, 2)}
FROM_TORCH = {tg.OPERATOR.CONV_2D: (0, 2, 3, 1), tg.OPERATOR.DEPTHWISE_CONV_2D: (1, 2, 3, 0)}
"""Axes of weights: from a .tflite file to (out, in, height, width), and back."""


@torch.compile(dynamic=True)
def _rounded(value: torch.Tensor, scale: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    return torch.clamp(torch.round(value / scale), first, first + 255) * scale


@torch.compile(dynamic=True)
def _gradients(value: torch.Tensor, given: torch.Tensor, scale: torch.Tensor, first: torch.Tensor) -> Any:
    steps = torch.round(value / scale)
    above, below = steps > first + 255, steps < first
    passed = torch.where(above | below, 0.0, given)
    length = ((steps * scale - value) * passed).sum() / (255 * scale)
    at_low, at_high = torch.where(below, given, 0.0).sum(), torch.where(above, given, 0.0).sum()
    return passed, at_low - length, at_high + length


class _Round(torch.autograd.Function):
    """A tensor rounded to int8 in the range (low, high); compiled, it needs a third of the time.

    Rounding passes gradients on; clipped values move the end that clipped them, others the step size.
    """

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        scale = (high - low) / 255
        first = torch.round(low / scale)
        ctx.save_for_backward(value, scale, first)
        return _as(value, _rounded(_flat(value), scale, first))

    @staticmethod
    def backward(ctx: Any, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        value, scale, first = ctx.saved_tensors
        passed, low, high = _gradients(_flat(value), _flat(given), scale, first)
        return _as(value, passed), low, high


class Graph(torch.nn.Module):
    """A prepared model in PyTorch, four-dimensional tensors as (count, channels, height, width)."""

    def __init__(self, content: bytes, settings: Settings) -> None:
        super().__init__()
        self.model = tg.read(content)
        self.part = tg.graph(self.model)
        self.convolutions = [op for op in self.part.operators if tg.code(self.model, op) in CHANNEL_AXIS]
        self.weights = {int(op.inputs[1]): self._weights(op) for op in self.convolutions}
        self.scales = {index: _scale(value) for index, value in self.weights.items()}
        self.steps = _parameters({i: value / self.scales[i] for i, value in self.weights.items()})
        self.original = {int(op.inputs[2]): self._constant(op.inputs[2]) for op in self.convolutions}
        self.biases = _parameters(self.original)
        computing = [op for op in self.part.operators if tg.code(self.model, op) not in COPYING]
        self.ranged = {int(op.outputs[0]) for op in computing} | {int(self.part.inputs[0])}
        limits = {index: settings.ranges[self.name(index)] for index in sorted(self.ranged)}
        self.limits = _parameters({i: torch.tensor(pair, dtype=torch.float32) for i, pair in limits.items()})

    def forward(self, inputs: torch.Tensor, *, rounded: bool) -> list[torch.Tensor]:
        """The outputs for (count, channels, side, side); `rounded`: as in int8."""
        start = int(self.part.inputs[0])
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        values: Tensors = {start: self._round(start, inputs) if rounded else inputs}
        for operator in self.part.operators:
            made = int(operator.outputs[0])
            result = self._run(operator, values, rounded)
            values[made] = self._round(made, result) if rounded and made in self.ranged else result
        return [values[int(index)] for index in self.part.outputs]

    def name(self, index: int) -> str:
        """The name of a tensor."""
        return tg.tensor_name(self.model, int(index))

    def keep_valid(self, floors: dict[str, float]) -> None:
        """After a step: correct values that int8 cannot have; `floors` are the first lower limits."""
        for key, value in self.limits.items():
            # 0 is represented exactly, so every range includes it; after a RELU nothing is below it.
            value.data[0].clamp_(min=0 if floors[key] == 0 else None, max=0)
            value.data[1].clamp_(min=0)
        for key, value in self.steps.items():
            # The largest weight of a channel stays, since it determines the quantiser's scale.
            first = self.weights[int(key)] / self.scales[int(key)]
            value.data = torch.where(first.abs() >= 126.99, first, value.data.clamp(-127, 127))

    def settings(self, before: Settings) -> Settings:
        """The current state; the output of a copying operator has the range of its input."""
        ranges = dict(before.ranges)
        for key, value in self.limits.items():
            low, high = value.detach().tolist()
            ranges[self.name(int(key))] = low, high
        for operator in self.part.operators:
            if tg.code(self.model, operator) in COPYING:
                ranges[self.name(operator.outputs[0])] = ranges[self.name(operator.inputs[0])]
        biases = {self.name(int(key)): value.detach().numpy() for key, value in self.biases.items()}
        moves = {self.name(operator.inputs[1]): self._moves(operator) for operator in self.convolutions}
        return Settings(ranges, biases, moves, before.factors)

    def take(self, before: Settings) -> None:
        """Continue from an earlier tuning of this model."""
        for key, value in self.limits.items():
            value.data = torch.tensor(before.ranges[self.name(int(key))], dtype=torch.float32)
        for key, value in self.biases.items():
            value.data = torch.from_numpy(before.biases[self.name(int(key))].copy())
        for operator in self.convolutions:
            index, order = int(operator.inputs[1]), FROM_TORCH[tg.code(self.model, operator)]
            nearest = torch.round(self.weights[index] / self.scales[index]).permute(order)
            moved = nearest + torch.from_numpy(before.moves[self.name(index)].reshape(nearest.shape).copy())
            self.steps[str(index)].data = moved.permute(TO_TORCH[tg.code(self.model, operator)])

    def _moves(self, operator: Any) -> np.ndarray:
        index = int(operator.inputs[1])
        nearest = torch.round(self.weights[index] / self.scales[index])
        moved = torch.round(self.steps[str(index)].detach()) - nearest
        return moved.permute(FROM_TORCH[tg.code(self.model, operator)]).numpy().astype(np.int8)

    def _constant(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.array(tg.constant(self.model, index)))

    def _weights(self, operator: Any) -> torch.Tensor:
        order = TO_TORCH[tg.code(self.model, operator)]
        return self._constant(operator.inputs[1]).permute(order).contiguous()

    def _round(self, index: int, value: torch.Tensor) -> torch.Tensor:
        return _Round.apply(value, *self.limits[str(index)])  # type: ignore[no-any-return]

    def _run(self, operator: Any, values: Tensors, rounded: bool) -> torch.Tensor:
        code, options = tg.code(self.model, operator), operator.builtinOptions
        given = [values[int(index)] for index in operator.inputs if int(index) in values]
        if code in CHANNEL_AXIS:
            result = self._convolve(operator, given[0], rounded)
        elif code == tg.OPERATOR.ADD:
            result = given[0] + given[1]
        elif code == tg.OPERATOR.MAX_POOL_2D:
            result = functional.max_pool2d(given[0], options.filterHeight, options.strideH)
        elif code == tg.OPERATOR.PAD:  # of channels
            before_after = tg.constant(self.model, operator.inputs[1])
            result = functional.pad(given[0], (0, 0, 0, 0, *map(int, before_after[3])))
        elif code == tg.OPERATOR.RESIZE_BILINEAR:
            size = tg.constant(self.model, operator.inputs[1])
            result = functional.interpolate(given[0], tuple(map(int, size)), mode="bilinear")
        elif code == tg.OPERATOR.RESHAPE:
            shape = [int(side) for side in self.part.tensors[operator.outputs[0]].shape[1:]]
            result = given[0].permute(0, 2, 3, 1).reshape(-1, *shape)
        elif code == tg.OPERATOR.CONCATENATION:
            result = torch.cat(given, options.axis)
        else:
            raise tg.GraphError(f"operator {code} is not supported by this script")
        fused = getattr(options, "fusedActivationFunction", tg.ACTIVATION.NONE)
        return functional.relu(result) if fused == tg.ACTIVATION.RELU else result

    def _convolve(self, operator: Any, value: torch.Tensor, rounded: bool) -> torch.Tensor:
        options, (_, weights_at, bias_at) = operator.builtinOptions, map(int, operator.inputs)
        weights, bias = self.weights[weights_at], self.original[bias_at]
        if rounded:
            weights = _passing(self.steps[str(weights_at)]) * self.scales[weights_at]
            bias = self.biases[str(bias_at)]
        if options.padding == tg.schema.Padding.SAME:
            value = functional.pad(value, _same_padding(value, weights, options))
        groups = value.shape[1] if tg.code(self.model, operator) == tg.OPERATOR.DEPTHWISE_CONV_2D else 1
        return functional.conv2d(value, weights, bias, (options.strideH, options.strideW), groups=groups)


def tune(
    content: bytes,
    settings: Settings,
    batches: Iterator[np.ndarray],
    loss: Loss,
    *,
    fixed: set[str],
    steps: int,
    rate: float = 1.5e-3,
) -> Settings:
    """Tune on `steps` batches, each (count, side, side, channels); the ranges of `fixed` tensors stay.

    In each step a range moves by `rate` of its size, a bias by `rate` of the spread of its layer's biases, a
    weight by twenty times `rate` of an int8 step; the rate falls to 0 at the end. If `settings` were tuned
    before, the tuning continues.
    """
    graph = Graph(equalise.applied(content, settings.factors), settings)
    if settings.moves:
        graph.take(settings)
    floors = {key: float(value[0]) for key, value in graph.limits.items()}
    free = [value for key, value in graph.limits.items() if graph.name(int(key)) not in fixed]
    groups = [{"params": [value], "lr": rate * float(value.detach().abs().max())} for value in free]
    spreads = [(value, float(value.detach().std(correction=0))) for value in graph.biases.values()]
    groups += [{"params": [value], "lr": rate * (spread + 1e-3)} for value, spread in spreads]
    groups += [{"params": list(graph.steps.values()), "lr": 20 * rate}]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.995))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        inputs = torch.from_numpy(next(batches)).permute(0, 3, 1, 2)
        with torch.no_grad():
            wanted = graph(inputs, rounded=False)
        error = loss(graph(inputs, rounded=True), wanted)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        graph.keep_valid(floors)
        if step % 50 == 0:
            print(f"  step {step} of {steps}: {float(error.detach()):.4f}", flush=True)
    return graph.settings(settings)


def _flat(value: torch.Tensor) -> torch.Tensor:
    return value.permute(0, 2, 3, 1).reshape(-1) if value.dim() == 4 else value.reshape(-1)


def _as(value: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """The reverse of `_flat`."""
    if value.dim() != 4:
        return flat.reshape(value.shape)
    count, channels, height, width = value.shape
    return flat.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def _passing(steps: torch.Tensor) -> torch.Tensor:
    """Rounded, with the gradient of the unrounded value."""
    return steps + (torch.round(steps) - steps).detach()


def _parameters(values: Tensors) -> torch.nn.ParameterDict:
    return torch.nn.ParameterDict({str(k): torch.nn.Parameter(v.clone()) for k, v in values.items()})


def _scale(weights: torch.Tensor) -> torch.Tensor:
    """The size of an int8 step in each output channel of weights (out, in, height, width)."""
    return weights.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12) / 127


def _same_padding(value: torch.Tensor, weights: torch.Tensor, options: Any) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: for an odd number the larger part comes last, as in TensorFlow."""
    sides = []
    for axis, stride in ((3, options.strideW), (2, options.strideH)):
        size, kernel = value.shape[axis], weights.shape[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]
