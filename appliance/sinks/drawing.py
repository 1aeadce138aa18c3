"""Draws boxes and labels of people onto a copy of a picture, and a placeholder when there is no picture."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np

from appliance.colours import bgr_of
from appliance.values import EMOTIONS, Image, Person, shown_name

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _LIGHT = (24, 20, 18), (245, 245, 245)


def draw_people(image: Image, people: tuple[Person, ...], scale: float = 1.0) -> Image:
    """A copy of the picture with a box and a label for each person.

    `scale`: pixels of this picture per pixel of the source picture, to which the boxes refer.
    """
    canvas: Image = image.copy()
    unit = max(1.0, image.shape[0] / 480)
    for person in people:
        _draw_person(canvas, person, unit, scale)
    return canvas


def placeholder(width: int, height: int, lines: list[str]) -> Image:
    """A dark picture that explains why there is no video: the first line large, the others wrapped below."""
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = _DARK
    unit = height / 480
    columns = max(16, int(width / (11 * unit)))
    y = int(height * 0.40)
    for index, line in enumerate(lines):
        scale, thickness = (1.3, 3) if index == 0 else (0.6, 1)
        for part in textwrap.wrap(line, columns if index else columns // 2) or [""]:
            size, _ = cv2.getTextSize(part, _FONT, scale * unit, max(1, round(thickness * unit)))
            at = ((width - size[0]) // 2, y)
            cv2.putText(
                canvas, part, at, _FONT, scale * unit, _LIGHT, max(1, round(thickness * unit)), cv2.LINE_AA
            )
            y += int(size[1] * 1.9)
        y += int(10 * unit)
    return canvas


def _draw_person(canvas: Image, person: Person, unit: float, scale: float) -> None:
    colour = bgr_of(person.label)
    box = person.face.box
    corner = round(box.x * scale), round(box.y * scale)
    opposite = round(box.right * scale), round(box.bottom * scale)
    thickness = max(2, round(2 * unit))
    cv2.rectangle(canvas, corner, opposite, _LIGHT, thickness + 2)
    cv2.rectangle(canvas, corner, opposite, colour, thickness)
    _draw_label(canvas, _caption(person), corner, colour, unit)


def _caption(person: Person) -> str:
    words = f"{person.id} {shown_name(person.label)}"
    if person.label in EMOTIONS and person.smoothed:
        return f"{words} {person.smoothed.top:.2f}"
    return f"{words}: {person.expression.reason.replace('_', ' ')}" if person.expression.reason else words


def _draw_label(
    canvas: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int], unit: float
) -> None:
    scale, thickness = 0.5 * unit, max(1, round(unit))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = round(4 * unit)
    x = int(np.clip(corner[0], 0, max(0, canvas.shape[1] - width - 2 * pad)))
    y = max(corner[1], height + below + 2 * pad)
    cv2.rectangle(canvas, (x, y - height - below - 2 * pad), (x + width + 2 * pad, y), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + pad, y - below - pad), _FONT, scale, _ink(colour), thickness, cv2.LINE_AA)


def _ink(background: tuple[int, int, int]) -> tuple[int, int, int]:
    blue, green, red = background
    # Approximate relative luminance (ITU-R BT.601): dark text on light colours, light text on dark ones.
    return _DARK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else _LIGHT
