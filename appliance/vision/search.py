"""Where to look for faces: all over a still picture; in video near those known, and elsewhere in turn."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.values import Box, Face, Image
from appliance.vision.blazeface import BlazeFace
from appliance.vision.follow import Follow
from appliance.vision.looks import Looks
from appliance.vision.regions import all_regions
from appliance.vision.suppression import merged


class Search:
    """Finds faces down to 2 % of a picture's width with detectors of a small input. Belongs to one thread."""

    def __init__(self, detector: BlazeFace, verifier: BlazeFace | None = None, *, limit: int = 8) -> None:
        """`verifier` looks closely at one place; without one the detector does. `limit`: people followed."""
        self._looks = Looks(detector, verifier or detector)
        self._limit = limit
        self._follow: Follow | None = None

    def find_all(self, image: Image) -> list[Face]:
        """Every face in a picture that is looked at once, the surest first."""
        return self._all(image, None)

    def find_next(self, image: Image, expected: Sequence[Box], now: float) -> list[Face]:
        """The faces in a video's next frame, taken at `now`; `expected`: where those known should be."""
        size = int(image.shape[1]), int(image.shape[0])
        if self._follow is None or self._follow.size != size:
            self._follow = Follow(self._looks, size, self._limit)
            return self._follow.begin(image, self._all(image, self._limit))
        return self._follow.next(image, expected, now)

    def reset(self) -> None:
        """Forget what was seen: another picture, another film, another agreement."""
        self._follow = None

    def close(self) -> None:
        """Let the engines go."""
        self._looks.shut()

    def _all(self, image: Image, most: int | None) -> list[Face]:
        """Every face, or those among the `most` surest finds: live, even the first frame must be quick."""
        size = int(image.shape[1]), int(image.shape[0])
        found = merged([face for region in all_regions(size) for face in self._looks.scan(image, region)])
        looks = (self._looks.second(image, face) for face in found[:most])
        return merged([face for face in looks if face is not None])
