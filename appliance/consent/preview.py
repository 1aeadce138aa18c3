"""The picture for aiming the camera: coarse and blurred, showing where people sit and not who they are."""

from __future__ import annotations

import cv2
import numpy as np

from appliance.consent.session import Session
from appliance.consent.state import AIMING
from appliance.errors import ApplianceError, StateConflict
from appliance.handoff import Slot
from appliance.values import Frame, Image

COARSE = 64
"""Points across of which the picture is made; a face two metres away has four or five of them."""

_SHOWN = 640
_BLUR = 1.0  # standard deviation in points
_QUALITY = 70
_WAIT_S = 2.0


class Aim:
    """Makes it from the newest frame; nothing of it goes through the pipeline."""

    def __init__(self, session: Session, frames: Slot[Frame]) -> None:
        self._session, self._frames = session, frames

    def picture(self) -> bytes | None:
        """A JPEG, None while the camera has given nothing; raises `StateConflict` unless aiming."""
        frame, _ = self._frames.take(0, _WAIT_S)
        now = self._session.now
        if now.state != AIMING:
            raise StateConflict(f"{now.state}: this picture is for aiming the camera only; press Aim first")
        if frame is None or frame.agreement != now.number:
            return None
        done, data = cv2.imencode(".jpg", coarse(frame.image), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise ApplianceError(f"a picture of {frame.image.shape} cannot be encoded as JPEG")
        return data.tobytes()


def coarse(image: Image) -> Image:
    """A copy made of `COARSE` blurred points across."""
    height, width = image.shape[:2]
    rows = max(1, round(COARSE * height / width))
    small = cv2.GaussianBlur(cv2.resize(image, (COARSE, rows), interpolation=cv2.INTER_AREA), (0, 0), _BLUR)
    size = _SHOWN, max(1, round(_SHOWN * rows / COARSE))
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
