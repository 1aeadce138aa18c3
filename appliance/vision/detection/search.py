"""Where to look for faces: all over a still picture; in video near those known, and elsewhere in turn."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.cascade import Looks
from appliance.vision.detection.nms import merged
from appliance.vision.detection.regions import all_regions
from appliance.vision.detection.video_search import Follow


class Search:
    """Finds faces down to 2 % of a picture's width with detectors of a small input. Belongs to one thread."""

    def __init__(self, detector: BlazeFace, verifier: BlazeFace | None = None, *, limit: int = 8) -> None:
        """`verifier` looks closely at one place; without one the detector does. `limit`: people followed."""
        self._looks = Looks(detector, verifier or detector)
        self._limit = limit
        self._follow: Follow | None = None

    def find_all(self, image: Image) -> list[Face]:
        """Every face in a picture that is looked at once, the surest first."""
        return self._sure(image, self._scan(image))

    def find_next(self, image: Image, expected: Sequence[Box], now: float) -> list[Face]:
        """The faces in a video's next frame, taken at `now`; `expected`: where those known should be."""
        size = int(image.shape[1]), int(image.shape[0])
        if self._follow is None or self._follow.size != size:
            self._follow = Follow(self._looks, size, self._limit)
            found = self._scan(image)
            # Live, even the first frame must be quick: only the surest finds are looked at closely.
            beyond = [face for face in found[self._limit :] if face.score >= self._looks.threshold]
            return self._follow.begin(image, self._sure(image, found[: self._limit]), beyond)
        return self._follow.next(image, expected, now)

    @property
    def beyond_limit(self) -> int:
        """How many faces of the video are in view beyond the limit, found within the last second or so."""
        return self._follow.beyond_limit if self._follow else 0

    def reset(self) -> None:
        """Forget what was seen: another picture, another video, another agreement."""
        self._follow = None

    def close(self) -> None:
        """Let the engines go."""
        self._looks.shut()

    def _scan(self, image: Image) -> list[Face]:
        """Whatever might be a face, the surest first."""
        size = int(image.shape[1]), int(image.shape[0])
        return merged([face for region in all_regions(size) for face in self._looks.scan(image, region)])

    def _sure(self, image: Image, found: Sequence[Face]) -> list[Face]:
        """Those of the finds that closer looks agree on."""
        looks = (self._looks.second(image, face) for face in found)
        return merged([face for face in looks if face is not None])
