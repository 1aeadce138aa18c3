"""Where to search: everywhere in a still picture; in video, near tracked faces and, in turn, elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.cascade import DetectorCascade
from appliance.vision.detection.face_models import FaceWorkers
from appliance.vision.detection.nms import weighted_nms
from appliance.vision.detection.regions import squares, tiles, whole
from appliance.vision.detection.video_search import VideoSearch

NEAR = 0.05
"""Share of the picture's longer side from which a face is near: the squares add nothing to the tiles then."""


class FaceSearch:
    """Finds faces down to 2 % of a picture's width with small detectors. Use it from one thread only.

    Pictures are uint8 blue-green-red, shape (height, width, 3); faces are in their pixels.
    """

    def __init__(
        self,
        detector: BlazeFace,
        verifier: BlazeFace | None = None,
        *,
        limit: int = 8,
        workers: FaceWorkers | None = None,
    ) -> None:
        """`verifier` checks single places, by default the detector; `limit`: how many faces are tracked.

        `workers` share the tracked faces of a frame, by default this thread has them all.
        """
        self._cascade = DetectorCascade(detector, verifier or detector)
        self._limit, self._workers = limit, workers
        self._video: VideoSearch | None = None

    def find_all(self, image: Image) -> list[Face]:
        """Every face in a still picture, highest score first."""
        return self._verified(image, self._scan(image))

    def find_next(
        self, image: Image, expected: Sequence[Box], now: float, resting: Collection[int] = ()
    ) -> list[Face]:
        """The faces in the next frame of a video.

        `expected`: where the tracked faces should be; `now`: seconds; `resting`: indices of expected faces
        that need not be detected in this frame: they are returned unchanged.
        """
        size = int(image.shape[1]), int(image.shape[0])
        if self._video is None or self._video.size != size:
            self._video = VideoSearch(self._cascade, size, self._limit, self._workers)
            found = self._scan(image)
            # The first frame of a live camera must be fast too: verify only the best candidates.
            beyond = [face for face in found[self._limit :] if face.score >= self._cascade.threshold]
            return self._video.start(image, self._verified(image, found[: self._limit]), beyond)
        return self._video.step(image, expected, now, resting)

    @property
    def beyond_limit(self) -> int:
        """How many faces beyond the limit were seen in the video within the last second or so."""
        return self._video.beyond_limit if self._video else 0

    def reset(self) -> None:
        """Start over: another picture, another video, another consent."""
        self._video = None

    def close(self) -> None:
        """Release the engines."""
        self._cascade.close()

    def _scan(self, image: Image) -> list[Face]:
        """Possible faces, highest score first."""
        size = int(image.shape[1]), int(image.shape[0])
        found, parts = self._cascade.scan(image, whole(size)), tiles(size)
        if not (parts and self._are_near(found, size)):
            parts = [*squares(size), *parts]
        scans = (self._cascade.scan(image, part) for part in parts)
        return weighted_nms([*found, *(face for faces in scans for face in faces)])

    def _are_near(self, found: Sequence[Face], size: tuple[int, int]) -> bool:
        """Whether the scan of a full picture of `size` (width, height) shows only near faces.

        Not in a panorama: its tiles overlap too little for what the scan of the full picture misses.
        """
        least = NEAR * max(size)
        return (
            bool(found)
            and max(size) <= 2 * min(size)
            and all(face.score >= self._cascade.threshold and face.box.width >= least for face in found)
        )

    def _verified(self, image: Image, found: Sequence[Face]) -> list[Face]:
        """The candidates that the cascade confirms."""
        faces = (self._cascade.verify(image, face) for face in found)
        return weighted_nms([face for face in faces if face is not None])
