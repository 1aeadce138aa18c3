"""Between numbers and what a model stores: scaling pixels, quantising, dequantising."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Floats, Image, Tensor, TensorSpec


class Pixels:
    """Makes pictures the input that `spec` asks for: pixel 0 is the first of the range, 255 the second."""

    def __init__(self, value_range: tuple[float, float], spec: TensorSpec) -> None:
        low, high = value_range
        # A pixel has 256 values: what the input stores for each is computed once.
        self._stored: NDArray[Any] = quantised(np.linspace(low, high, 256, dtype=np.float32), spec)
        self._shape = spec.shape

    def stored(self, image: Image) -> Tensor:
        """The input for a picture that has its size and channels already."""
        return cv2.LUT(image, self._stored).reshape(self._shape)


def quantised(values: Floats, spec: TensorSpec) -> Tensor:
    """Real numbers as a model stores them; unchanged when the tensor is not quantised."""
    if not spec.scale:
        return values
    limits = np.iinfo(spec.dtype)
    stored = np.rint(values / spec.scale) + spec.zero_point
    return np.asarray(np.clip(stored, limits.min, limits.max), spec.dtype)


def dequantised(stored: Tensor, spec: TensorSpec) -> Floats:
    """Real numbers, float32, from what a model gave."""
    values = stored.astype(np.float32)
    return (values - np.float32(spec.zero_point)) * np.float32(spec.scale) if spec.scale else values
