"""The blurred preview for framing: shows where people sit and not who they are."""

from __future__ import annotations

import cv2
import numpy as np

from appliance.consent.session import PREVIEW, Session
from appliance.errors import ApplianceError, StateConflict
from appliance.handoff import Slot
from appliance.values import Frame, Image

PIXELS = 64
"""Width of the preview in blocks; a face two metres away has four or five of them."""

_SHOWN = 640
_BLUR = 1.0  # standard deviation in blocks
_QUALITY = 70
_WAIT_S = 2.0


class BlurredPreview:
    """Makes the preview from the newest frame; no frame of a preview goes through the pipeline."""

    def __init__(self, session: Session, frames: Slot[Frame]) -> None:
        self._session, self._frames = session, frames

    def picture(self) -> bytes | None:
        """A JPEG, None before the camera's first frame; raises `StateConflict` outside a preview."""
        frame, _ = self._frames.take(0, _WAIT_S)
        now = self._session.snapshot
        if now.state != PREVIEW:
            raise StateConflict(f"{now.state}: this picture exists only while aiming; press Aim first")
        if frame is None or frame.consent_epoch != now.camera_epoch:
            return None
        done, data = cv2.imencode(".jpg", pixelate(frame.image), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise ApplianceError(f"a picture of {frame.image.shape} cannot be encoded as JPEG")
        return data.tobytes()


def pixelate(image: Image) -> Image:
    """A copy of `image`, 640 pixels wide, made of `PIXELS` blurred blocks in each row."""
    height, width = image.shape[:2]
    rows = max(1, round(PIXELS * height / width))
    small = cv2.GaussianBlur(cv2.resize(image, (PIXELS, rows), interpolation=cv2.INTER_AREA), (0, 0), _BLUR)
    size = _SHOWN, max(1, round(_SHOWN * rows / PIXELS))
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
