"""How often something may be done, at any frame rate."""

from __future__ import annotations

import pytest

from appliance.vision.detection.rate_limit import Pace


@pytest.mark.parametrize(("fps", "each_second"), [(5, 5), (10, 10), (15, 10), (25, 10), (30, 10), (60, 10)])
def test_as_often_at_every_frame_rate(fps: int, each_second: int) -> None:
    pace, done = Pace(10.0), 0
    for number in range(10 * fps):
        pace.tell(100.0 + number / fps)
        if pace.due:
            pace.done()
            done += 1
    assert each_second * 10 <= done <= each_second * 10 + 2


def test_two_in_a_row_of_three_at_fifteen_frames_a_second() -> None:
    pace = Pace(10.0)
    for number in range(300):
        pace.tell(number / 15)
        if number % 3:
            assert pace.due
            pace.done()


def test_a_long_wait_is_not_made_up_for() -> None:
    pace = Pace(10.0)
    pace.tell(0.0)
    pace.tell(60.0)
    pace.done()
    pace.done()
    assert not pace.due


def test_a_clock_that_goes_back_saves_nothing() -> None:
    pace = Pace(10.0)
    for now in (50.0, 10.0):
        pace.tell(now)
        pace.done()
        pace.done()
    assert not pace.due
