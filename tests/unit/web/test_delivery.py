"""What a viewer gets over links of different speed; link and clock are simulated."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

import pytest

from appliance.web.delivery import Delivery, RateLimit

WIDTH = 1280
FULL_BYTES = 85_000
CAMERA_S = 1 / 30
DECODE_S = 0.02


@dataclass(frozen=True)
class Shown:
    """A picture on the viewer's screen: when, how old, how wide."""

    at: float
    age: float
    width: int


class Link:
    """A link with a bandwidth and a round trip; pictures wait in it for each other."""

    def __init__(
        self, bits_per_s: float, round_trip_s: float = 0.04, *, asks_fps: float | None = None
    ) -> None:
        self.bits_per_s, self.round_trip_s = bits_per_s, round_trip_s
        self.now = 100.0
        self.delivery = Delivery(self.now, fps=asks_fps)
        self.shown: list[Shown] = []
        self._frame = 0
        self._free_at = 0.0
        self._arriving: deque[tuple[float, int, float, int]] = deque()
        self._acknowledged: deque[tuple[float, int]] = deque()
        self._measured_at = self.now + round_trip_s

    def run(self, seconds: float, *, source: int = WIDTH) -> list[Shown]:
        """What was shown in these seconds."""
        first, end = len(self.shown), self.now + seconds
        while self.now < end:
            self.now += CAMERA_S
            self._frame += 1
            self._deliver()
            if self.delivery.may_send(self.now):
                width = min(self.delivery.max_width or source, source)
                size = 8 * FULL_BYTES * (width / WIDTH) ** 1.5
                self._free_at = max(self._free_at, self.now) + size / self.bits_per_s
                self._arriving.append(
                    (self._free_at + self.round_trip_s / 2 + DECODE_S, self._frame, self.now, width)
                )
                self.delivery.sent(self._frame, source, self.now)
        return self.shown[first:]

    def _deliver(self) -> None:
        if self._measured_at <= self.now:
            self.delivery.set_round_trip(self.round_trip_s)
        while self._arriving and self._arriving[0][0] <= self.now:
            at, frame, captured, width = self._arriving.popleft()
            self.shown.append(Shown(at, at - captured, width))
            self._acknowledged.append((at + self.round_trip_s / 2, frame))
        while self._acknowledged and self._acknowledged[0][0] <= self.now:
            at, frame = self._acknowledged.popleft()
            self.delivery.shown(frame, at)


def oldest(pictures: list[Shown]) -> float:
    return max(each.age for each in pictures)


@pytest.mark.parametrize("round_trip_s", [0.001, 0.1, 0.3])
def test_a_fast_link_gets_every_picture_in_full_width(round_trip_s: float) -> None:
    link = Link(1e9, round_trip_s)
    link.run(4)
    pictures = link.run(4)
    assert {each.width for each in pictures} == {WIDTH}
    assert len(pictures) >= 110
    assert oldest(pictures) < round_trip_s / 2 + 0.1


def test_the_first_picture_is_small_and_the_full_width_comes_within_a_second() -> None:
    link = Link(1e9, 0.005)
    assert link.run(0.05)[0].width == 320
    assert link.run(1)[-1].width == WIDTH


@pytest.mark.parametrize(
    ("bits_per_s", "widest", "least"), [(1e6, 640, 4), (400e3, 320, 3), (3e6, 1280, 4), (250e3, 320, 2)]
)
def test_a_slow_link_gets_fewer_and_narrower_pictures_that_are_never_old(
    bits_per_s: float, widest: int, least: int
) -> None:
    link = Link(bits_per_s)
    first = link.run(5)
    later = link.run(60)
    assert oldest(first) < 1
    assert oldest(later) < 0.7
    assert max(each.width for each in later[-20:]) <= widest
    assert len(later) / 60 >= least


@pytest.mark.parametrize("bits_per_s", [1e6, 400e3])
def test_a_link_that_becomes_slow_has_fresh_pictures_again_soon_and_recovers(bits_per_s: float) -> None:
    link = Link(1e9, 0.02)
    link.run(5)
    link.bits_per_s = bits_per_s
    link.run(6)
    assert oldest(link.run(20)) < 0.7
    link.bits_per_s = 1e9
    link.run(35)
    pictures = link.run(2)
    assert {each.width for each in pictures} == {WIDTH}
    assert len(pictures) >= 55


def test_a_width_that_did_not_last_is_tried_more_and_more_seldom() -> None:
    link = Link(1.4e6)  # 960 pixels seem to fit at times, and do not
    widths = [each.width for each in link.run(120)]
    changes = sum(before != after for before, after in itertools.pairwise(widths))
    assert changes < 25


def test_a_viewer_that_acknowledges_nothing_gets_one_picture() -> None:
    delivery = Delivery(0.0)
    delivery.sent(1, WIDTH, 0.0)
    assert not any(delivery.may_send(second) for second in range(1, 60))
    delivery.shown(1, 60.0)
    assert delivery.may_send(60.0)


def test_an_acknowledgement_of_a_later_picture_is_one_of_the_earlier_too() -> None:
    delivery = Delivery(0.0)
    for frame in (4, 5, 7):
        delivery.sent(frame, WIDTH, 0.0)
    delivery.shown(5, 0.1)
    assert delivery.under_way == 1
    delivery.shown(3, 0.2)
    assert delivery.under_way == 1


def test_pictures_with_one_number_are_acknowledged_one_by_one() -> None:
    delivery = Delivery(0.0)
    for _ in range(2):
        delivery.sent(4, WIDTH, 0.0)
    delivery.shown(4, 0.1)
    assert delivery.under_way == 1


def test_a_small_camera_has_no_width_to_choose() -> None:
    link = Link(400e3)
    assert {each.width for each in link.run(10, source=320)} == {320}
    assert link.delivery.max_width is None


def test_the_width_asked_for_is_the_widest() -> None:
    delivery = Delivery(0.0, max_width=320)
    assert delivery.max_width == 320
    delivery.set_round_trip(0.01)
    for frame in range(1, 40):
        delivery.sent(frame, WIDTH, frame / 30)
        delivery.shown(frame, frame / 30 + 0.01)
    assert delivery.max_width == 320


@pytest.mark.parametrize(("fps", "expected"), [(10, 10), (20, 20), (7, 7), (60, 30), (None, 30)])
def test_no_more_pictures_a_second_than_asked_for(fps: float | None, expected: int) -> None:
    link = Link(1e9, 0.001, asks_fps=fps)
    link.run(2)
    assert len(link.run(10)) == pytest.approx(10 * expected, abs=10)


def test_a_late_picture_does_not_delay_the_later_ones() -> None:
    limit = RateLimit(10)
    for now in (0.0, 0.13, 0.23, 0.33):
        assert limit.allows(now)
        limit.sent(now)
    assert not limit.allows(0.38)
