"""Frames above 1080p are shrunk to its number of pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from appliance.media.shrink import MAX_AREA, frame_of, reduced_size, shrunk_frame, working_size
from appliance.values import Image
from tests.fakes.parts import picture


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (1080, 1920), (1600, 1200)])
def test_a_frame_up_to_1080p_keeps_its_size(size: tuple[int, int]) -> None:
    assert working_size(*size) == reduced_size(*size) == size
    image = picture(*size)
    frame = frame_of(image, b"jpeg")
    assert frame.image is image and frame.jpeg == b"jpeg" and frame.source_size is None and frame.scale == 1


@pytest.mark.parametrize(
    ("size", "working", "reduced"),
    [
        ((3840, 2160), (1920, 1080), (1920, 1080)),
        ((7680, 4320), (1920, 1080), (1920, 1080)),
        ((2160, 3840), (1080, 1920), (1080, 1920)),
        ((2560, 1440), (1920, 1080), (2560, 1440)),
        ((4032, 3024), (1662, 1247), (2016, 1512)),
    ],
)
def test_a_larger_frame_keeps_its_shape(
    size: tuple[int, int], working: tuple[int, int], reduced: tuple[int, int]
) -> None:
    assert working_size(*size) == working and working[0] * working[1] <= MAX_AREA
    assert reduced_size(*size) == reduced


def test_a_shrunk_frame_knows_its_source() -> None:
    image = picture(2560, 1440, 90)
    frame = frame_of(image, b"jpeg")
    assert frame.image.shape == (1080, 1920, 3) and (frame.image == 90).all()
    assert (frame.width, frame.height) == (2560, 1440)
    assert frame.jpeg is None, "the JPEG is another picture now"
    assert frame.full_size is not None and np.array_equal(frame.full_size(), image)


def test_two_threads_never_decode_the_full_picture_at_the_same_time() -> None:
    entered, again, calls = Event(), Event(), []

    def decode() -> Image:
        calls.append(1)
        (again if entered.is_set() else entered).set()
        again.wait(0.3)  # as long as another call can come in
        return picture(2560, 1440)

    frame = shrunk_frame(picture(1920, 1080), (2560, 1440), decode)
    assert frame.full_size is not None
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(frame.full_size)
        assert entered.wait(20.0)
        second = threads.submit(frame.full_size)
        assert first.result() is second.result()
    assert calls == [1]
