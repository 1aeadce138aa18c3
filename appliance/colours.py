"""The colour of each label: on boxes in the picture, on the page, in the PDF and on the colour lamp.

To change or add one, edit `COLOURS`, and `web/static/palette.css` for the page; a test compares them.
"""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """The colour of a label. `plain`: red, green, blue (0 or 1) for a lamp without shades."""

    hex: str
    plain: tuple[float, float, float]


COLOURS = {
    "angry": Colour("#d7263d", plain=(1.0, 0.0, 0.0)),
    "disgusted": Colour("#7a9e1f", plain=(0.0, 1.0, 0.0)),
    "fear": Colour("#8e4ec6", plain=(1.0, 0.0, 1.0)),
    "happy": Colour("#f2b90f", plain=(1.0, 1.0, 0.0)),
    "sad": Colour("#2f6fde", plain=(0.0, 0.0, 1.0)),
    "surprised": Colour("#f0801a", plain=(0.0, 1.0, 1.0)),
    "neutral": Colour("#8a929c", plain=(1.0, 1.0, 1.0)),
    "unsure": Colour("#b8bec6", plain=(1.0, 1.0, 1.0)),
}
"""Words always accompany a colour, for people who do not see it."""


def colour_of(label: str) -> Colour:
    """The colour of a label; the colour of `unsure` if it has none."""
    return COLOURS.get(label, COLOURS["unsure"])


def rgb_of(label: str) -> tuple[int, int, int]:
    """Red, green, blue of a label, 0 to 255."""
    value = colour_of(label).hex
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def bgr_of(label: str) -> tuple[int, int, int]:
    """Blue, green, red of a label, 0 to 255: the channel order of `Image`."""
    red, green, blue = rgb_of(label)
    return blue, green, red
