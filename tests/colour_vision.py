"""How colours look to people with a colour vision deficiency, and how far apart two colours are.

Colours are sRGB, shape (3,), 0 to 1, unless they are called linear.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]

DEFICIENCIES = {
    "normal": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritan": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
"""Machado, Oliveira and Fernandes 2009, severity 1.0: matrices for linear RGB."""

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def parse(hex: str) -> Colour:
    """The colour of `#rrggbb`."""
    return np.array([int(hex[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def linear(colour: Colour) -> Colour:
    """Undo the transfer function of sRGB."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def seen_as(colour: Colour, deficiency: str) -> Colour:
    """The linear colour that someone with this deficiency sees."""
    return np.clip(DEFICIENCIES[deficiency] @ linear(colour), 0, 1)


def lab(linear_rgb: Colour) -> Colour:
    """CIELAB of a linear colour, white D65."""
    ratio = _XYZ @ linear_rgb / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: Colour, other: Colour) -> float:
    """The contrast ratio of WCAG 2, 1 to 21."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


def ciede2000(one: Iterable[float], other: Iterable[float]) -> float:
    """The distance of two colours in CIELAB, after Sharma, Wu and Dalal 2005; the names are theirs."""
    l1, a1, b1 = map(float, one)
    l2, a2, b2 = map(float, other)
    c_star = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    stretch = 1 + 0.5 * (1 - math.sqrt(c_star**7 / (c_star**7 + 25**7)))
    c1, c2 = math.hypot(stretch * a1, b1), math.hypot(stretch * a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    if c1 * c2 == 0:
        turn, hue = 0.0, h1 + h2  # grey has no hue
    else:
        turn, hue = h2 - h1, (h1 + h2) / 2
        if abs(turn) > 180:
            turn -= math.copysign(360, turn)
            hue += 180 if hue < 180 else -180
    t = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    of_lightness = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / math.sqrt(20 + (lightness - 50) ** 2))
    of_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    of_hue = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    bend = math.radians(60 * math.exp(-(((hue - 275) / 25) ** 2)))
    rotation = -2 * math.sin(bend) * math.sqrt(chroma**7 / (chroma**7 + 25**7))
    return math.sqrt(of_lightness**2 + of_chroma**2 + of_hue**2 + rotation * of_chroma * of_hue)


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))
