"""An animated GIF, WebP, PNG or AVIF as a video with the times of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from appliance.media.stills import open_picture, picture_errors, to_bgr
from appliance.media.video import VideoFrame

_SHORTEST_S, _INSTEAD_S = 0.011, 0.1
"""A frame with a duration of a hundredth of a second or less is shown for a tenth, as in browsers."""


class Animation:
    """An animated picture with the interface of `Video`; its frames can be read once."""

    lost = 0
    cut_short = False
    duration_s = None

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Open a seekable file; `name`: its name in messages. Raises `PictureError`."""
        self.name = name
        self.defects = ""
        self._file = file
        with picture_errors(file, name):
            self._picture = open_picture(file)
            self.frames: int = self._picture.n_frames
            self._picture.load()
            self.rate = 1 / self._shown_s()

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames; raises `PictureError` at a damaged frame."""
        time_s = 0.0
        for number in range(self.frames):
            with picture_errors(self._file, self.name) as complaints:
                self._picture.seek(number)
                image = to_bgr(self._picture, self._file)
                shown_s = self._shown_s()
            self.defects = self.defects or "; ".join(complaints)
            yield VideoFrame(image, time_s)
            time_s += shown_s

    def close(self) -> None:
        """Release the picture; the caller closes the file."""
        self._picture.close()

    def _shown_s(self) -> float:
        seconds = float(self._picture.info.get("duration", 0)) / 1000
        return seconds if seconds >= _SHORTEST_S else _INSTEAD_S
