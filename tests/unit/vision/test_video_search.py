"""The video search with scripted detectors: what a track may do, and what needs confirmation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.regions import Region
from appliance.vision.detection.video_search import VideoSearch
from tests.fakes.parts import face, picture

SIZE = 640, 480
SIDE = 157.0


@dataclass
class Scripted:
    """Two detectors that see what the script returns for the face expected at a place."""

    near: Callable[[Box], Face | None]
    surroundings: Callable[[Box], Face | None]
    threshold: float = 0.5

    def scan(self, image: Image, region: Region) -> list[Face]:
        return []

    def detect_wide(self, image: Image, place: Box) -> Face | None:
        return self.surroundings(place)

    def detect_close(self, image: Image, place: Box) -> Face | None:
        return self.near(place)

    def redetect(
        self, image: Image, place: Box, *, wide: bool, verifier: BlazeFace | None = None
    ) -> Face | None:
        return self.detect_wide(image, place) if wide else self.near(place)


def scaled(box: Box, factor: float, score: float) -> Face:
    x, y = box.center
    side = box.width * factor
    return face(x - side / 2, y - side / 2, side, score)


def widths(cascade: Scripted, frames: int) -> list[float | None]:
    """The width of the tracked face in each frame; None if no face is shown."""
    search = VideoSearch(cascade, SIZE, 8)  # type: ignore[arg-type]
    (begun,) = search.start(picture(*SIZE), [face(200, 150, SIDE)], [])
    expected, found = [begun.box], []
    for number in range(1, frames):
        seen = search.step(picture(*SIZE), expected, number / 25)
        expected = [each.box for each in seen] or expected
        found.append(seen[0].box.width if seen else None)
    return found


def test_a_track_never_shrinks_to_a_speck_that_one_detector_sees() -> None:
    """One detector mistakes ever smaller grain for the face; the other still sees the original face."""
    cascade = Scripted(lambda place: scaled(place, 0.85, 0.6), lambda _: None)
    shown = [width for width in widths(cascade, 40) if width]
    assert min(shown) > SIDE / 1.8
    assert len(shown) < 12, "and it soon disappears"


def test_a_smaller_face_inside_a_tracked_one_is_another_face() -> None:
    cascade = Scripted(lambda place: scaled(place, 0.85, 0.6), lambda place: face(200, 150, SIDE, 0.9))
    assert min(width for width in widths(cascade, 40) if width) > SIDE / 1.8


def test_an_approaching_or_receding_face_is_tracked() -> None:
    for factor in (1.04, 0.96):
        cascade = Scripted(
            lambda place, f=factor: scaled(place, f, 0.9), lambda place: scaled(place, 1.0, 0.9)
        )
        shown = widths(cascade, 30)
        assert None not in shown, shown
        assert shown[-1] and abs(shown[-1] / (SIDE * factor**29) - 1) < 0.05
