"""A stand-in for the used parts of the libcamera package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transform:
    """The rotation of the picture."""

    hflip: int = 0
    vflip: int = 0
