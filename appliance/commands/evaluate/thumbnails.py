"""Small pictures of the mistakes, for the page. They show people: whoever has the page has them."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from appliance.commands.evaluate.judging import Verdict
from appliance.errors import PictureError
from appliance.media.inputs import read_still_of
from appliance.system.native import quiet_native_output
from appliance.values import Box, Image

SIDE = 96
"""The longer side of a small picture, in pixels."""

_QUALITY = 80
_ROOM = 0.25
"""How much of a found face's side is shown round it."""


def thumbnail(verdict: Verdict) -> str | None:
    """The face of a verdict as a `data:` address; None when its picture cannot be read any more."""
    try:
        with quiet_native_output():
            image = read_still_of(verdict.sample.path).image
    except PictureError:
        return None
    face = image if verdict.box is None else _cut(image, verdict.box)
    scale = SIDE / max(face.shape[:2])
    size = [max(1, round(side * scale)) for side in (face.shape[1], face.shape[0])]
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii") if done else None


def _cut(image: Image, box: Box) -> Image:
    room = _ROOM * box.width
    left, top = max(0, int(box.x - room)), max(0, int(box.y - room))
    cut = image[top : int(box.bottom + room), left : int(box.right + room)]
    return np.asarray(cut if cut.size else image, np.uint8)
