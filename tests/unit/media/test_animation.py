"""Animated pictures: frames in order, with the times that a browser would use."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image as Pillow

from appliance.errors import PictureError
from appliance.media.animation import Animation


def animated(kind: str, durations: Any, count: int = 4, **options: Any) -> io.BytesIO:
    """Grey frames, each brighter than the one before."""
    first, *others = [Pillow.new("RGB", (40, 30), (60 * n,) * 3) for n in range(count)]
    out = io.BytesIO()
    first.save(out, kind, save_all=True, append_images=others, duration=durations, **options)
    return out


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_frames_have_their_own_times(kind: str) -> None:
    animation = Animation(animated(kind, [100, 40, 400, 100]), "a")
    assert animation.frames == 4 and animation.rate == pytest.approx(10)
    frames = list(animation)
    assert [round(frame.time_s, 3) for frame in frames] == [0, 0.1, 0.14, 0.54]
    for number, frame in enumerate(frames):
        assert frame.image.shape == (30, 40, 3)
        assert abs(int(frame.image[5, 5, 0]) - 60 * number) <= 3, number
    assert (animation.lost, animation.cut_short, animation.defects) == (0, False, "")
    animation.close()


def test_frames_without_a_time_are_shown_for_a_tenth_of_a_second() -> None:
    assert [round(frame.time_s, 3) for frame in Animation(animated("GIF", 0), "a")] == [0, 0.1, 0.2, 0.3]


def test_a_truncated_animation() -> None:
    whole = animated("WEBP", 100, lossless=True).getvalue()
    with pytest.raises(PictureError, match=r"^a: .*truncated"):
        list(Animation(io.BytesIO(whole[:-20]), "a"))
