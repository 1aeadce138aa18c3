"""The expression nets in PyTorch, initialised from a face recognition net.

The blocks come from dlib's residual face recognition net (King 2017, "High Quality Face Recognition with Deep
Metric Learning"; weights CC0), as packed in @vladmandic/face-api: convolutions with bias and no
normalisation. For expressions, features for face recognition turned out to be a far better initialisation
than noise. `Deep`, a teacher, is the complete net; `Shipped` is its first half with a cheaper first layer.

All nets take grey faces (batch, 1, SIDE, SIDE) from -1 to 1 and return logits, one tensor per head.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 7
DEEP_SIDE = 128
"""Pixels to which the teacher enlarges a face: its blocks were made for faces of about this size."""

RGB_MEAN = (122.782, 117.001, 104.298)
"""The means that all nets of the package expect to be subtracted, as pixel values."""

DEEP_BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3"),
    *("conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2"),
    *("conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)
"""Blocks of the recognition net in order; the "down" blocks halve the picture."""

SHIPPED_BLOCKS = tuple(name for name in DEEP_BLOCKS[:10] if name != "conv32_3")
"""As many as fit into 1.2 MB and 0.4 ms."""

EXPRESSION_ORDER = (3, 5, 4, 1, 2, 6, 0)
"""Index of our classes in face-api's: neutral, happy, sad, angry, fearful, disgusted, surprised."""


def load_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a tfjs model in TensorFlow's layout (height, width, in, out), float32."""
    groups = json.loads((folder / f"{name}-weights_manifest.json").read_text(encoding="utf-8"))
    raw = b"".join((folder / path).read_bytes() for group in groups for path in group["paths"])
    found, at = {}, 0
    for entry in (entry for group in groups for entry in group["weights"]):
        how = entry.get("quantization")
        kind = np.dtype((how or entry)["dtype"])
        count = int(np.prod(entry["shape"], dtype=int))
        value = np.frombuffer(raw, kind, count, at).reshape(entry["shape"]).astype(np.float32)
        at += count * kind.itemsize
        found[entry["name"]] = torch.from_numpy(value * how["scale"] + how["min"] if how else value)
    if at != len(raw):
        raise ValueError(f"{folder}/{name}: {len(raw)} bytes of weights, but its manifest lists {at}")
    return found


class Convolution(nn.Module):
    """A convolution with the package's weights; its scale layer is folded in."""

    def __init__(self, weights: dict[str, Tensor], name: str, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        kernel = weights[f"{name}/conv/filters"].permute(3, 2, 0, 1)
        scale, shift = weights[f"{name}/scale/weights"], weights[f"{name}/scale/biases"]
        out, into, size, _ = kernel.shape
        self.conv = nn.Conv2d(into, out, size, stride, padding)
        self.conv.weight.data = (kernel * scale[:, None, None, None]).contiguous()
        self.conv.bias.data = weights[f"{name}/conv/bias"] * scale + shift

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height', width')."""
        return self.conv(x)


class Block(nn.Module):
    """Two convolutions and a shortcut around them; if the block halves the picture, the shortcut is a mean.

    An even side would become one too small: the original adds zeros to the output, `exact` adds them to the
    input, as TensorFlow's SAME does (one operator less on the device).
    """

    def __init__(self, weights: dict[str, Tensor], name: str, exact: bool = False) -> None:
        super().__init__()
        self.down, self.exact = "down" in name, exact
        self.first = Convolution(weights, f"{name}/conv1", *((2, 0) if self.down else (1, 1)))
        self.second = Convolution(weights, f"{name}/conv2")

    def forward(self, x: Tensor) -> Tensor:
        """Same size and channels, or half the size and up to twice the channels."""
        if not self.down:
            return F.relu(x + self.second(F.relu(self.first(x))))
        lacks = x.shape[-1] % 2 == 0
        y = self.second(F.relu(self.first(F.pad(x, (0, 1, 0, 1)) if lacks and self.exact else x)))
        if lacks and not self.exact:
            y = F.pad(y, (0, 1, 0, 1))
        x = F.avg_pool2d(x, 2)
        return F.relu(F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])) + y)


class Deep(nn.Module):
    """The complete recognition net with two heads: `people` follows the voters, `posed` follows face-api."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        weights = load_weights(folder, "face_recognition_model")
        self.stem = _grey_stem(weights)
        self.blocks = nn.Sequential(*(Block(weights, name) for name in DEEP_BLOCKS))
        self.drop = nn.Dropout(0.3)
        self.people, self.posed = nn.Linear(256, CLASSES), nn.Linear(256, CLASSES)

    def first(self, x: Tensor, side: int = DEEP_SIDE) -> Tensor:
        """The input of the blocks: 32 channels, about a quarter of `side` wide and high."""
        x = F.interpolate(x, size=(side, side), mode="bilinear")
        return F.max_pool2d(F.relu(self.stem(x)), 3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both heads, each (batch, 7)."""
        features = self.drop(self.blocks(self.first(x)).mean((2, 3)))
        return self.people(features), self.posed(features)


class Shipped(nn.Module):
    """The net that ships: heads `people` and `posed` like the teacher's, and `covered`, one logit.

    One convolution that halves the picture replaces the recognition net's first two layers.
    """

    STEM_SIDE = 104
    """The teacher's first layers reduce a face of this size to 24 by 24, as this net does with 48."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        weights = load_weights(folder, "face_recognition_model")
        self.stem = nn.Conv2d(1, 32, 5, 2)
        self.blocks = nn.Sequential(*(Block(weights, name, exact=True) for name in SHIPPED_BLOCKS))
        self.drop = nn.Dropout(0.2)
        self.people, self.posed = nn.Linear(128, CLASSES), nn.Linear(128, CLASSES)
        self.covered = nn.Linear(128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the three heads: (batch, 7), (batch, 7), (batch, 1)."""
        features = self.drop(self.blocks(F.relu(self.stem(_framed(x)))).mean((2, 3)))
        return self.people(features), self.posed(features), self.covered(features)

    def begin_from(self, teacher: Deep, faces: Tensor, steps: int = 1200, batch: int = 32) -> float:
        """Copy the teacher's blocks, fit the first layer to its first two; returns the unexplained share."""
        for name, block in zip(SHIPPED_BLOCKS, self.blocks, strict=True):
            block.load_state_dict(teacher.blocks[DEEP_BLOCKS.index(name)].state_dict())
        optimiser = torch.optim.Adam(self.stem.parameters(), 5e-3)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for step in range(steps):
            x = faces[torch.arange(step * batch, (step + 1) * batch) % len(faces)]
            with torch.no_grad():
                wanted = teacher.first(x, self.STEM_SIDE)
            loss = F.mse_loss(F.relu(self.stem(_framed(x))), wanted) / wanted.var()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()
        return float(loss)


class PosedTeacher:
    """face-api's expression model: knows posed anger, disgust and fear, which are rare in FER2013."""

    SIZE = 112

    def __init__(self, folder: Path) -> None:
        self._weights = load_weights(folder, "face_expression_model")

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """RGB faces (batch, 3, 112, 112), 0 to 255 -> probabilities (batch, 7) in our order."""
        x = (pixels - torch.tensor(RGB_MEAN).view(1, 3, 1, 1)) / 255
        for number in range(4):
            x = self._dense_block(x, f"dense{number}/conv", first=number == 0)
        x = F.avg_pool2d(x, 7, 2).permute(0, 2, 3, 1).flatten(1)
        logits = x @ self._weights["fc/weights"] + self._weights["fc/bias"]
        return F.softmax(logits, 1)[:, list(EXPRESSION_ORDER)]

    def _dense_block(self, x: Tensor, name: str, first: bool) -> Tensor:
        if first:
            kernel, bias = self._weights[f"{name}0/filters"], self._weights[f"{name}0/bias"]
            one = F.relu(F.conv2d(_same(x, 2), kernel.permute(3, 2, 0, 1), bias, stride=2))
        else:
            one = F.relu(self._separable(x, f"{name}0", 2))
        two = self._separable(one, f"{name}1", 1)
        three = self._separable(F.relu(one + two), f"{name}2", 1)
        four = self._separable(F.relu(one + two + three), f"{name}3", 1)
        return F.relu(one + two + three + four)

    def _separable(self, x: Tensor, name: str, stride: int) -> Tensor:
        depth = self._weights[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
        x = F.conv2d(_same(x, stride), depth, stride=stride, groups=len(depth))
        point = self._weights[f"{name}/pointwise_filter"].permute(3, 2, 0, 1)
        return F.conv2d(x, point, self._weights[f"{name}/bias"])


def _grey_stem(weights: dict[str, Tensor]) -> nn.Conv2d:
    """The first layer for one channel in -1 to 1 instead of three with means subtracted: exact."""
    coloured = Convolution(weights, "conv32_down", 2, 0).conv
    stem = nn.Conv2d(1, coloured.out_channels, 7, 2, 0)
    mean = torch.tensor(RGB_MEAN).view(1, 3, 1, 1)
    # Pixel p = 127.5 * (g + 1); the net expects (p - mean) / 256.
    stem.weight.data = coloured.weight.sum(1, keepdim=True).detach() * (127.5 / 256)
    stem.bias.data = (coloured.bias + (coloured.weight * (127.5 - mean) / 256).sum((1, 2, 3))).detach()
    return stem


def _framed(x: Tensor) -> Tensor:
    """Zeros around a face, as TensorFlow's SAME pads it for a 5x5 window with stride 2."""
    return F.pad(x, (1, 2, 1, 2))


def _same(x: Tensor, stride: int) -> Tensor:
    """TensorFlow's SAME padding for a 3x3 window."""
    side = x.shape[-1]
    total = max(0, (-(-side // stride) - 1) * stride + 3 - side)
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after))
