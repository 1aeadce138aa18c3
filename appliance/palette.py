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


def rgb(label: str) -> tuple[int, int, int]:
    """Red, green, blue (0 to 255) of a label; an unknown label is drawn as `unsure`."""
    value = PALETTE.get(label, PALETTE["unsure"])
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def bgr(label: str) -> tuple[int, int, int]:
    """The same in the channel order of our pictures."""
    red, green, blue = rgb(label)
    return blue, green, red
