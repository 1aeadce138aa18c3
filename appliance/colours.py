"""The colour of each label: on boxes in the picture, on the page, in the PDF and on the colour lamp.

To change or add one, edit `COLOURS`, and `web/static/palette.css` for the page; a test compares them. Another
test checks that people with a colour vision deficiency can tell the expressions apart, and that each colour
stands out from its ground.
"""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """The colour of a label.

    `light`: on a light page, in the picture and on paper. `dark`: on a dark page and a lamp. `plain`: red,
    green, blue (0 or 1) for a lamp without shades.
    """

    light: str
    dark: str
    plain: tuple[float, float, float]


COLOURS = {
    "angry": Colour("#f53041", "#eb1c22", plain=(1.0, 0.0, 0.0)),
    "disgusted": Colour("#319958", "#95e992", plain=(0.0, 1.0, 0.0)),
    "fear": Colour("#6a1a9a", "#915ed9", plain=(1.0, 0.0, 1.0)),
    "happy": Colour("#90680f", "#f3bf37", plain=(1.0, 1.0, 0.0)),
    "sad": Colour("#1968e1", "#5aa2ff", plain=(0.0, 0.0, 1.0)),
    "surprised": Colour("#793b11", "#cb8865", plain=(0.0, 1.0, 1.0)),
    "neutral": Colour("#44413e", "#a4adb6", plain=(1.0, 1.0, 1.0)),
    "unsure": Colour("#878e98", "#77808b", plain=(1.0, 1.0, 1.0)),
}
"""Words always accompany a colour, for people who do not see it."""


def colour_of(label: str) -> Colour:
    """The colour of a label; the colour of `unsure` if it has none."""
    return COLOURS.get(label, COLOURS["unsure"])


def rgb_of(label: str) -> tuple[int, int, int]:
    """Red, green, blue of a label on a light ground, 0 to 255."""
    return _channels(colour_of(label).light)


def lamp_rgb_of(label: str) -> tuple[int, int, int]:
    """Red, green, blue of a label on a lamp, 0 to 255."""
    return _channels(colour_of(label).dark)


def bgr_of(label: str) -> tuple[int, int, int]:
    """Blue, green, red of a label, 0 to 255: the channel order of `Image`."""
    red, green, blue = rgb_of(label)
    return blue, green, red


def _channels(hex: str) -> tuple[int, int, int]:
    return int(hex[1:3], 16), int(hex[3:5], 16), int(hex[5:7], 16)
