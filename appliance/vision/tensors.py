"""Between numbers and what a model stores: scaling pixels, quantising, dequantising."""

from __future__ import annotations

import numpy as np

from appliance.values import Floats, Image, Tensor, TensorSpec


def from_pixels(image: Image, value_range: tuple[float, float], spec: TensorSpec) -> Tensor:
    """A picture as the input `spec` asks for: pixel 0 becomes the first of `value_range`, 255 the second."""
    low, high = value_range
    values = np.multiply(image, (high - low) / 255.0, dtype=np.float32).reshape(spec.shape)
    values += np.float32(low)
    return quantised(values, spec)


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
