"""Reads single pictures for programs: each alone, one at a time, and few wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from appliance.errors import TooManyAttempts
from appliance.pipeline import Pipeline
from appliance.values import Reading
from appliance.webcams.service import WebcamService
from appliance.webcams.uploads import read_upload

PLACES = 4
"""Pictures at a time: one is read, the others wait."""

_RETRY_S = 1.0


@dataclass(frozen=True)
class StillReading:
    """What was read in a picture. `notes`: messages for its sender, such as a warning of the decoder."""

    reading: Reading
    notes: tuple[str, ...]


class StillReader:
    """Reads pictures in the thread of the webcam service. It may be called from any thread."""

    def __init__(self, service: WebcamService) -> None:
        self._service = service
        self._places = threading.BoundedSemaphore(PLACES)
        self._turn = threading.Lock()
        """Held while a picture is decoded or read: there is never more than one in memory."""

    def read(self, data: bytes, *, is_crop: bool = False) -> StillReading:
        """Wait for this picture's turn, and read it.

        `is_crop`: it is one cropped face, see `Pipeline.read_crop`. Raises `TooManyAttempts` while too many
        wait, `PictureError` if it cannot be read, and `Busy` when no engine is available.
        """
        if not self._places.acquire(blocking=False):
            raise TooManyAttempts("too many pictures are waiting; try again", wait_s=_RETRY_S)
        try:
            with self._turn:
                still = read_upload(data)

                def read(pipeline: Pipeline) -> Reading:
                    return pipeline.read_crop(still.image) if is_crop else pipeline.read_still(still.image)

                return StillReading(self._service.submit(read).result(), still.notes)
        finally:
            self._places.release()
