"""An animated GIF, WebP, PNG or AVIF as a video: frames with their own times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from appliance.media.stills import as_image, decoding, open_checked
from appliance.media.video import VideoFrame

_SHORTEST_S, _INSTEAD_S = 0.011, 0.1
"""A frame that asks for a hundredth of a second or less is shown for a tenth, as in browsers."""


class Animation:
    """The frames of an animated picture, as `Video` gives those of a video; iterate once."""

    lost = 0
    cut_short = False
    duration_s = None

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Open an animation in a seekable file; `name` is what errors call it. Raises `PictureError`."""
        self.name = name
        self.remarks = ""
        self._file = file
        with decoding(file, name):
            self._picture = open_checked(file)
            self.frames: int = self._picture.n_frames
            self._picture.load()
            self.rate = 1 / self._shown_s()

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames; raises `PictureError` at a damaged one."""
        time_s = 0.0
        for number in range(self.frames):
            with decoding(self._file, self.name) as complaints:
                self._picture.seek(number)
                image = as_image(self._picture, self._file)
                shown_s = self._shown_s()
            self.remarks = self.remarks or "; ".join(complaints)
            yield VideoFrame(image, time_s)
            time_s += shown_s

    def close(self) -> None:
        """Release the picture; the file belongs to who opened it."""
        self._picture.close()

    def _shown_s(self) -> float:
        seconds = float(self._picture.info.get("duration", 0)) / 1000
        return seconds if seconds >= _SHORTEST_S else _INSTEAD_S
