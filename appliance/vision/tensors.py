"""Conversion between real values and the stored values of a model's tensors."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Floats, Image, Tensor, TensorSpec


class InputEncoder:
    """Encodes pictures as a model's input: pixel 0 becomes `value_range[0]`, 255 becomes `value_range[1]`."""

    def __init__(self, value_range: tuple[float, float], spec: TensorSpec) -> None:
        low, high = value_range
        # A pixel has 256 values: compute the stored value of each once.
        self._table: NDArray[Any] = quantise(np.linspace(low, high, 256, dtype=np.float32), spec)
        self._shape = spec.shape

    def encode(self, image: Image) -> Tensor:
        """The input tensor, in shape and dtype of its spec.

        `image`: uint8, already with the size, channels and channel order of the input.
        """
        return cv2.LUT(image, self._table).reshape(self._shape)


def quantise(values: Floats, spec: TensorSpec) -> Tensor:
    """Real values as `spec` stores them, rounded and clipped; unchanged if it is not quantised."""
    if not spec.scale:
        return values
    limits = np.iinfo(spec.dtype)
    stored = np.rint(values / spec.scale) + spec.zero_point
    return np.asarray(np.clip(stored, limits.min, limits.max), spec.dtype)


def dequantise(stored: Tensor, spec: TensorSpec) -> Floats:
    """The real values, float32, of a model's output; the shape is unchanged."""
    values = stored.astype(np.float32)
    return (values - np.float32(spec.zero_point)) * np.float32(spec.scale) if spec.scale else values
