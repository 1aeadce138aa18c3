"""Training faces as input of the nets, with random camera effects.

The input of the nets is float32 (count, 1, 48, 48) from -1 to 1.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from labelled_faces import SIDE
from torch import Tensor


def as_input(faces: np.ndarray) -> Tensor:
    """Grey faces as input of the nets."""
    return torch.from_numpy(faces).float()[:, None] / 127.5 - 1


class Camera:
    """Changes faces at random, like distance, light, lens, detector and objects in front of a face would.

    `strength` scales the changes; the nets are trained with 1.
    """

    def __init__(self, generator: torch.Generator, strength: float = 1.0) -> None:
        self._random, self._strength = generator, strength
        across = torch.linspace(-1, 1, SIDE)
        self._down, self._across = torch.meshgrid(across, across, indexing="ij")

    def __call__(self, faces: np.ndarray) -> tuple[Tensor, Tensor]:
        """The faces as input, and which of them have a patch cut out, (count,) bool."""
        x = self._blurred(self._placed(as_input(faces)))
        x = self._lit(x)
        noisy = (self._uniform(len(x), 1, 1, 1) < 0.3) * self._uniform(len(x), 1, 1, 1) * 0.12
        x = x + torch.randn(x.shape, generator=self._random) * noisy
        x, cut = self._cut(x)
        return x.clamp(-1, 1), cut

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random)

    def _spread(self, count: int, width: float) -> Tensor:
        """Uniform around zero, `width` wide."""
        return (self._uniform(count) - 0.5) * width * self._strength

    def _placed(self, x: Tensor) -> Tensor:
        # Rotated by up to 16 degrees, a quarter larger or smaller, shifted by a seventh: our crops vary
        # less than this, the pictures themselves more.
        count = len(x)
        turn, scale = self._spread(count, 0.56), torch.exp(self._spread(count, 0.44))
        flip = torch.where(self._uniform(count) < 0.5, -1.0, 1.0)
        aspect, shear = torch.exp(self._spread(count, 0.16)), self._spread(count, 0.2)
        cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
        matrix = torch.zeros(count, 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 1] = cos * flip * aspect, shear - sin * aspect
        matrix[:, 1, 0], matrix[:, 1, 1] = sin * flip, cos
        matrix[:, 0, 2], matrix[:, 1, 2] = self._spread(count, 0.28), self._spread(count, 0.28)
        grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _blurred(self, x: Tensor) -> Tensor:
        # A fifth was smaller, down to 18 pixels; an eighth is out of focus. One size per batch is cheap.
        order, part = torch.randperm(len(x), generator=self._random), len(x) // 8
        for rows, (low, high), mode in (
            (order[:part], (20, 40), "bilinear"),
            (order[part : part + part // 2], (18, 30), "bicubic"),
        ):
            side = int(torch.randint(low, high, (1,), generator=self._random))
            small = F.interpolate(x[rows], size=(side, side), mode="bilinear", antialias=True)
            x[rows] = F.interpolate(small, size=(SIDE, SIDE), mode=mode)
        sigma = 0.5 + 1.1 * float(self._uniform(1))
        kernel = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / (2 * sigma**2))
        kernel /= kernel.sum()
        rows = order[2 * part : 3 * part]
        padded = F.pad(x[rows], (3, 3, 3, 3), mode="replicate")
        x[rows] = F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 7)), kernel.view(1, 1, 7, 1))
        return x

    def _lit(self, x: Tensor) -> Tensor:
        count, strength = len(x), self._strength
        mean = x.mean((1, 2, 3), keepdim=True)
        gamma = torch.exp((self._uniform(count, 1, 1, 1) - 0.5) * 0.9 * strength)
        contrast = torch.exp((self._uniform(count, 1, 1, 1) - 0.55) * strength)
        x = (x - mean) * contrast + mean + (self._uniform(count, 1, 1, 1) - 0.5) * 0.5 * strength
        x = ((x.clamp(-1, 1) + 1) / 2).clamp_min(1e-4).pow(gamma) * 2 - 1
        # A third is lit from one side.
        angle = self._uniform(count, 1, 1, 1) * 2 * torch.pi
        slope = torch.cos(angle) * self._across + torch.sin(angle) * self._down
        sided = (self._uniform(count, 1, 1, 1) < 0.35) * self._uniform(count, 1, 1, 1) * 0.4 * strength
        return x + sided * slope

    def _cut(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count = len(x)
        cut = self._uniform(count) < 0.4 * self._strength
        places = torch.arange(float(SIDE))[None]

        def inside() -> Tensor:
            size, middle = 6 + 14 * self._uniform(count), SIDE * self._uniform(count)
            return (places - middle[:, None]).abs() < size[:, None] / 2

        patch = inside()[:, None, :, None] & inside()[:, None, None, :] & cut[:, None, None, None]
        value = (self._uniform(count) * 2 - 1)[:, None, None, None]
        return torch.where(patch, value, x), cut
