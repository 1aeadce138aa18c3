"""The colour of each expression, for the boxes, the page and the lamp. Words always stand beside it."""

from __future__ import annotations

PALETTE = {
    "angry": "#d7263d",
    "disgusted": "#7a9e1f",
    "fear": "#8e4ec6",
    "happy": "#f2b90f",
    "sad": "#2f6fde",
    "surprised": "#f0801a",
    "neutral": "#8a929c",
    "unsure": "#b8bec6",
}


_PLAIN = {
    "angry": (1.0, 0.0, 0.0),
    "disgusted": (0.0, 1.0, 0.0),
    "fear": (1.0, 0.0, 1.0),
    "happy": (1.0, 1.0, 0.0),
    "sad": (0.0, 0.0, 1.0),
    "surprised": (0.0, 1.0, 1.0),
}
"""For a lamp without shades, white for the rest: one of its own for each of these."""


def rgb(label: str) -> tuple[int, int, int]:
    """Red, green, blue (0 to 255) of a label; an unknown label is drawn as `unsure`."""
    value = PALETTE.get(label, PALETTE["unsure"])
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def plain(label: str) -> tuple[float, float, float]:
    """Red, green, blue (0 or 1) of a label on a lamp that knows no shades."""
    return _PLAIN.get(label, (1.0, 1.0, 1.0))


def bgr(label: str) -> tuple[int, int, int]:
    """The same in the channel order of our pictures."""
    red, green, blue = rgb(label)
    return blue, green, red
