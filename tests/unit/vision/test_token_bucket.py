"""The token bucket at any frame rate."""

from __future__ import annotations

import pytest

from appliance.vision.detection.video_search import TokenBucket


@pytest.mark.parametrize(("fps", "each_second"), [(5, 5), (10, 10), (15, 10), (25, 10), (30, 10), (60, 10)])
def test_the_rate_is_the_same_at_every_frame_rate(fps: int, each_second: int) -> None:
    bucket, done = TokenBucket(10.0), 0
    for number in range(10 * fps):
        bucket.refill(100.0 + number / fps)
        if bucket.available:
            bucket.spend()
            done += 1
    assert each_second * 10 <= done <= each_second * 10 + 2


def test_two_of_three_frames_have_a_token_at_fifteen_frames_a_second() -> None:
    bucket = TokenBucket(10.0)
    for number in range(300):
        bucket.refill(number / 15)
        if number % 3:
            assert bucket.available
            bucket.spend()


def test_a_long_wait_saves_two_tokens_at_most() -> None:
    bucket = TokenBucket(10.0)
    bucket.refill(0.0)
    bucket.refill(60.0)
    bucket.spend()
    bucket.spend()
    assert not bucket.available


def test_a_clock_that_goes_back_adds_no_tokens() -> None:
    bucket = TokenBucket(10.0)
    for now in (50.0, 10.0):
        bucket.refill(now)
        bucket.spend()
        bucket.spend()
    assert not bucket.available
