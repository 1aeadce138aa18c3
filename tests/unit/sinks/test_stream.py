"""The pictures for viewers: one for each frame, with its reading, each watched variant encoded once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise

import cv2
import numpy as np
import pytest

from appliance.consent.session import Session
from appliance.handoff import Slot
from appliance.health import Health
from appliance.sinks import reading_matcher
from appliance.sinks.stream import Stream
from appliance.values import Frame, Image, Picture, PictureVariant, Reading
from appliance.viewers import Viewers
from tests.fakes.clock import Clock
from tests.fakes.consent import make_session
from tests.fakes.parts import BARE, OVERLAY, face, frame, in_threads, noise, person, reading, scores, watching

SMALL, SMALL_BARE = PictureVariant(overlay=True, max_width=320), PictureVariant(overlay=False, max_width=320)
HUGE_BARE = PictureVariant(overlay=False, max_width=1280)


@dataclass
class Room:
    """A stream between its slots."""

    session: Session
    quality: int = 80
    health: Health = field(default_factory=lambda: Health("usb"))
    viewers: Viewers = field(default_factory=lambda: Viewers(8))
    readings: Slot[Reading] = field(default_factory=Slot)
    jpegs: Slot[Picture] = field(default_factory=Slot)

    def __post_init__(self) -> None:
        self.stream = Stream(
            self.viewers, self.jpegs, self.readings, self.session, self.health, quality=self.quality
        )

    def show(self, of: Frame, *people_at: float) -> Picture:
        """Pass a frame with its reading; returns the picture."""
        self.readings.put(reading(of, *(person(1, face(x, x, 100), scores(happy=1)) for x in people_at)))
        self.stream.take(of)
        return self.newest

    @property
    def newest(self) -> Picture:
        picture = self.jpegs.newest()
        assert picture is not None
        return picture


@pytest.fixture
def room() -> Room:
    return Room(make_session("1", needs_consent=False))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame waits for its reading."""
    monkeypatch.setattr(reading_matcher, "LONGEST_WAIT_S", 0.0)


@pytest.fixture
def delivering(room: Room) -> Room:
    """An open camera that has just delivered a frame."""
    room.health.set_camera_state("open")
    room.health.record_frame(frame(1, time.monotonic()))
    return room


def taken(number: int = 1, image: Image | None = None, age_s: float = 0.0) -> Frame:
    return frame(number, time.monotonic() - age_s, noise(640, 480) if image is None else image)


def decoded(data: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def flat(width: int = 640, height: int = 480) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


# --- variants ---


def test_without_viewers_nothing_is_drawn_or_encoded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> Image:
        raise AssertionError("drawn without a viewer")

    monkeypatch.setattr("appliance.sinks.stream.draw_people", forbidden)
    for number in range(3):
        room.stream.take(taken(number))
    room.stream.idle()
    assert room.health.counts["encoded"] == 0
    assert room.jpegs.number == 0


@pytest.mark.parametrize(
    ("variants", "encoded"),
    [
        ([OVERLAY], 1),
        ([OVERLAY, OVERLAY], 1),
        ([BARE, BARE, BARE], 1),
        ([OVERLAY, BARE, OVERLAY], 2),
        ([BARE, SMALL_BARE, SMALL], 3),
        (
            [
                BARE,
                PictureVariant(overlay=False, max_width=1280),
                PictureVariant(overlay=False, max_width=640),
            ],
            1,
        ),
    ],
)
def test_each_picture_is_encoded_once_however_many_watch(
    room: Room, variants: list[PictureVariant], encoded: int
) -> None:
    for variant in variants:
        room.viewers.join(variant)
    picture = room.show(taken(7), 100)
    assert room.health.counts["encoded"] == encoded
    assert room.jpegs.number == 1
    assert set(picture.jpegs) == set(variants)


def test_bare_is_the_cameras_picture_and_overlay_has_boxes(room: Room) -> None:
    with watching(room.viewers, BARE), watching(room.viewers, OVERLAY):
        picture = room.show(taken(1, flat()), 200)
    bare, overlay = (decoded(picture.jpegs[variant]) for variant in (BARE, OVERLAY))
    assert bare.shape == overlay.shape == flat().shape
    assert np.abs(bare.astype(int) - 90).max() <= 2
    assert np.abs(overlay.astype(int) - 90).max() > 50


def test_a_small_variant_is_shrunk_and_its_boxes_with_it(room: Room) -> None:
    with watching(room.viewers, SMALL):
        picture = room.show(taken(1, flat()), 400)
    image = decoded(picture.jpegs[SMALL]).astype(int)
    assert image.shape == (240, 320, 3)
    drawn = np.argwhere(np.abs(image - 90).max(axis=2) > 50)
    # The box from (350, 350) to (450, 450), half as large; the label above it is wider than the box.
    assert drawn[:, 1].min() in range(170, 180) and drawn[:, 0].max() in range(220, 230)


def test_a_picture_is_never_enlarged(room: Room) -> None:
    with watching(room.viewers, HUGE_BARE):
        picture = room.show(taken(1, flat(320, 240)))
    assert decoded(picture.jpegs[HUGE_BARE]).shape == (240, 320, 3)


def test_the_frame_is_unchanged(room: Room) -> None:
    given = taken(1)
    before = given.image.copy()
    with watching(room.viewers, OVERLAY), watching(room.viewers, SMALL):
        room.show(given, 100)
    assert np.array_equal(given.image, before)


def test_the_jpeg_quality_is_as_configured() -> None:
    sizes = []
    for quality in (20, 90):
        room = Room(make_session("1", needs_consent=False), quality)
        with watching(room.viewers, BARE):
            sizes.append(len(room.show(taken()).jpegs[BARE]))
    assert sizes[0] < sizes[1] / 2


# --- the camera's own JPEG ---

OWN = b"the camera's own bytes"


def with_jpeg(number: int, jpeg: bytes, captured: float = 0.0) -> Frame:
    return replace(frame(number, captured, noise(640, 480)), jpeg=jpeg)


@pytest.mark.usefixtures("impatient")
def test_the_cameras_own_jpeg_is_passed_on_and_a_frame_is_encoded_only_to_compare(room: Room) -> None:
    with watching(room.viewers, BARE), watching(room.viewers, HUGE_BARE):
        for number in range(5):
            room.stream.take(with_jpeg(number, OWN, number / 30))
            assert room.newest.jpegs == {BARE: OWN, HUGE_BARE: OWN}
    assert room.health.counts["encoded"] == 1


@pytest.mark.usefixtures("impatient")
def test_boxes_and_smaller_pictures_are_encoded(room: Room) -> None:
    with watching(room.viewers, OVERLAY), watching(room.viewers, SMALL_BARE), watching(room.viewers, BARE):
        room.stream.take(with_jpeg(1, OWN))
    jpegs = room.newest.jpegs
    assert jpegs[BARE] == OWN
    assert decoded(jpegs[OVERLAY]).shape == (480, 640, 3) and decoded(jpegs[SMALL_BARE]).shape == (
        240,
        320,
        3,
    )


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("ratio", "passed"), [(1.4, True), (1.6, False)])
def test_a_jpeg_much_larger_than_ours_is_encoded_again(room: Room, ratio: float, passed: bool) -> None:
    with watching(room.viewers, BARE):
        room.stream.take(frame(1, 0.0, noise(640, 480)))
        ours = len(room.newest.jpegs[BARE])
        jpeg = bytes(int(ours * ratio))
        for number in (2, 3):
            room.stream.take(with_jpeg(number, jpeg, number / 30))
            assert (room.newest.jpegs[BARE] == jpeg) is passed


@pytest.mark.usefixtures("impatient")
def test_the_sizes_are_compared_again_and_again(room: Room) -> None:
    with watching(room.viewers, BARE):
        for second in range(60):
            jpeg = OWN if second < 20 else bytes(2_000_000)
            room.stream.take(with_jpeg(second, jpeg, float(second)))
    assert decoded(room.newest.jpegs[BARE]).shape == (480, 640, 3)


def test_a_shrunk_frame_is_drawn_with_boxes_of_its_source(room: Room) -> None:
    of = replace(taken(1, flat(640, 480)), source_size=(1280, 960))
    with watching(room.viewers, OVERLAY):
        picture = room.show(of, 800)
    drawn = np.argwhere(np.abs(decoded(picture.jpegs[OVERLAY]).astype(int) - 90).max(axis=2) > 50)
    # The box from (750, 750) to (850, 850) of the source, in half of its pixels.
    assert drawn[:, 1].min() in range(370, 380) and drawn[:, 0].max() in range(420, 430)


# --- frame and reading ---


def test_the_picture_carries_frame_time_consent_epoch_and_its_reading(room: Room) -> None:
    given = taken(7)
    with watching(room.viewers, BARE):
        picture = room.show(given, 100)
    assert (picture.frame, picture.captured, picture.consent_epoch, picture.live) == (
        7,
        given.captured,
        1,
        True,
    )
    own = room.readings.newest()
    assert picture.reading and own and picture.reading.people == own.people
    of = picture.reading.frame
    assert (of.number, of.width, of.height, of.image.size, of.image.base) == (7, 640, 480, 0, None)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame gives up waiting before the test ends."""
    monkeypatch.setattr(reading_matcher, "LONGEST_WAIT_S", 60.0)


@pytest.mark.usefixtures("patient")
def test_a_picture_waits_for_the_reading_of_its_frame() -> None:
    room = Room(make_session("1", needs_consent=False))
    given = taken(7)
    own = reading(given, person(1, face(99, 99, 99), scores(happy=1)))
    with watching(room.viewers, OVERLAY):
        in_threads(lambda: room.stream.take(given), lambda: room.readings.put(own))
    assert room.newest.reading is not None and room.newest.reading.people == own.people
    assert room.jpegs.number == 1


def test_while_vision_is_slower_than_the_camera_no_picture_waits(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching(room.viewers, BARE):
        slow = reading(taken(1), took_s=0.2)
        room.readings.put(slow)
        room.stream.take(slow.frame)
        waits: list[float] = []
        take = room.readings.take

        def watched(after: int, timeout: float) -> tuple[Reading | None, int]:
            waits.append(timeout)
            return take(after, timeout)

        monkeypatch.setattr(room.readings, "take", watched)
        room.stream.take(taken(2))
    assert room.newest.frame == 2
    assert waits == [0.0]


@pytest.mark.parametrize("takes", [[4], [8], [12], [*[1] * 12, 5]], ids=str)
def test_pictures_follow_the_readings_of_a_slow_device(room: Room, takes: list[int]) -> None:
    """`takes`: how many frames each reading takes, in turn, at 30 frames a second."""
    with watching(room.viewers, OVERLAY):
        shown: list[tuple[int, int | None]] = []
        began, read, remaining = time.monotonic() - 60.0, 0, cycle(takes)
        ready = next(remaining)
        for number in range(600):
            if number == ready:
                of = frame(read, began + read / 30, noise(64, 48))
                room.readings.put(reading(of, took_s=(number - read - 0.1) / 30))
                read, ready = number, number + next(remaining)
            before = room.jpegs.number
            room.stream.take(frame(number, began + number / 30, noise(64, 48)))
            if room.jpegs.number > before:
                own = room.newest.reading
                shown.append((room.newest.frame, own.frame.number if own else None))
        late = shown[-20:]
        assert all(number == own for number, own in late)
        assert all(after - earlier in takes for (earlier, _), (after, _) in pairwise(late))
        for number in range(600, 630):  # vision hangs: pictures continue without it
            room.stream.take(frame(number, began + number / 30, noise(64, 48)))
    assert (room.newest.frame, room.newest.reading) == (629, None)


def test_a_viewer_who_returns_gets_the_cameras_rate_at_once(room: Room) -> None:
    began = time.monotonic() - 60.0
    for number in range(120):
        if number:
            of = frame(number - 1, began + (number - 1) / 30, noise(64, 48))
            room.readings.put(reading(of, took_s=0.03))
        given = frame(number, began + number / 30, noise(64, 48))
        if 30 <= number < 90:
            room.stream.take(given)  # no one watches
            continue
        with watching(room.viewers, BARE):
            room.stream.take(given)
        assert room.newest.frame == number


def test_an_older_frame_is_never_shown_after_a_newer_one(room: Room) -> None:
    with watching(room.viewers, OVERLAY):
        first, second = taken(1, age_s=0.1), taken(2)
        room.stream.take(second)
        room.stream.take(first)
    assert room.newest.frame == 2


@pytest.mark.parametrize(("age_s", "shown"), [(0.09, True), (0.11, False)])
def test_a_picture_without_its_own_reading_shows_a_recent_earlier_one(
    room: Room, age_s: float, shown: bool
) -> None:
    with watching(room.viewers, OVERLAY):
        earlier = room.show(taken(1), 100).reading
        assert earlier is not None
        room.stream.take(frame(2, earlier.frame.captured + age_s, noise(640, 480)))
    assert room.newest.frame == 2
    number = room.newest.reading.frame.number if room.newest.reading else None
    assert number == (1 if shown else None)


def test_a_reading_of_a_later_frame_is_never_shown(room: Room) -> None:
    with watching(room.viewers, OVERLAY):
        early, late = taken(1), taken(2)
        room.readings.put(reading(late))
        room.stream.take(early)
        assert room.newest.reading is None
        room.stream.take(late)
        assert room.newest.reading is not None


def test_without_a_reading_the_picture_has_no_boxes(room: Room) -> None:
    with watching(room.viewers, OVERLAY):
        room.stream.take(taken(1, flat()))
    assert room.newest.reading is None
    assert np.abs(decoded(room.newest.jpegs[OVERLAY]).astype(int) - 90).max() <= 2


def test_after_a_change_of_the_consent_no_earlier_reading_is_shown() -> None:
    room = Room(make_session("1"))
    room.session.start("1", "operator")
    with watching(room.viewers, OVERLAY):
        assert room.show(taken(1), 100).reading is not None
        room.session.require_reconfirmation(61.0)  # the device slept: another person may be in view
        room.stream.take(taken(2))
        assert room.newest.frame == 2 and room.newest.reading is None


# --- no live picture ---


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_a_short_gap_while_the_camera_is_open_shows_no_placeholder(delivering: Room, clock: Clock) -> None:
    with watching(delivering.viewers, BARE):
        delivering.show(taken(7))
        clock.now += 0.5
        delivering.stream.idle()
        assert delivering.newest.live
        clock.now += 0.6
        delivering.stream.idle()
        assert not delivering.newest.live


def test_a_lost_camera_shows_a_placeholder_immediately_and_then_every_second(
    delivering: Room, clock: Clock
) -> None:
    with watching(delivering.viewers, OVERLAY), watching(delivering.viewers, BARE):
        delivering.show(taken(7), 100)
        delivering.health.set_camera_state("lost", "unplugged")
        clock.now += 1.0
        delivering.stream.idle()
        picture = delivering.newest
        assert not picture.live and (picture.frame, picture.captured) == (7, clock.now)
        assert set(picture.jpegs) == {OVERLAY, BARE} and picture.reading is None
        assert decoded(picture.jpegs[OVERLAY]).shape == (480, 640, 3), "as large as the last picture"
        number = delivering.jpegs.number
        for half_seconds in range(1, 7):
            clock.now += 0.5
            delivering.stream.idle()
            assert delivering.jpegs.number == number + half_seconds // 2


def test_a_new_reason_shows_a_new_placeholder(room: Room, clock: Clock) -> None:
    pictures = []
    with watching(room.viewers, BARE):
        for reason in ("unplugged", "in use by another program"):
            room.health.set_camera_state("lost", reason)
            clock.now += 2
            room.stream.idle()
            pictures.append(room.newest.jpegs[BARE])
    assert pictures[0] != pictures[1]


def test_nothing_of_an_ended_consent_is_published_or_kept() -> None:
    room = Room(make_session("1"))
    room.session.start("1", "operator")
    with watching(room.viewers, BARE):
        room.show(taken(1))
        room.session.stop("operator")
        room.stream.take(taken(2))
        assert room.jpegs.number == 1
        room.stream.idle()
    assert room.jpegs.newest() is None


@pytest.mark.parametrize("state", ["closed", "open", "lost"])
def test_idle_in_any_state(room: Room, state: str) -> None:
    room.health.set_camera_state(state, "unplugged")
    with watching(room.viewers, BARE):
        room.stream.idle()
    room.session.stop("operator")
    room.stream.idle()
