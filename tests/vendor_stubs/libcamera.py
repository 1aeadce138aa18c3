"""A stand-in for what is used of the libcamera package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transform:
    """How the picture is turned."""

    hflip: int = 0
    vflip: int = 0
