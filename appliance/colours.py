"""The colour of each label, for boxes, page and lamp. A colour is never shown without the word."""

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


_PRIMARY = {
    "angry": (1.0, 0.0, 0.0),
    "disgusted": (0.0, 1.0, 0.0),
    "fear": (1.0, 0.0, 1.0),
    "happy": (1.0, 1.0, 0.0),
    "sad": (0.0, 0.0, 1.0),
    "surprised": (0.0, 1.0, 1.0),
}
"""Colours of a lamp that can only switch red, green and blue: one for each of these, white for the rest."""


def label_rgb(label: str) -> tuple[int, int, int]:
    """(red, green, blue) of a label, 0 to 255; an unknown label has the colour of `unsure`."""
    value = PALETTE.get(label, PALETTE["unsure"])
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def primary_rgb(label: str) -> tuple[float, float, float]:
    """(red, green, blue) of a label, 0 or 1, on a lamp without shades."""
    return _PRIMARY.get(label, (1.0, 1.0, 1.0))


def label_bgr(label: str) -> tuple[int, int, int]:
    """(blue, green, red) of a label, 0 to 255: the channel order of pictures."""
    red, green, blue = label_rgb(label)
    return blue, green, red
