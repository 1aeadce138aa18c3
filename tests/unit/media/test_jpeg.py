"""A camera's JPEG: decoded, checked for damage, made fit for browsers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg

from appliance.errors import PictureError
from appliance.media.jpeg import ALWAYS_DAMAGED, JpegDecoder, fit_for_browsers, intact_size
from appliance.values import Image
from tests.fakes.files import (
    cmyk_jpeg,
    encoded,
    segments,
    with_orientation,
    with_segment,
    without_segments,
)
from tests.fakes.videos import moving

IMAGE = moving(1, 320, 240)[0]
CMYK, GREY = cmyk_jpeg((9, 9, 9, 9)), encoded(IMAGE[:, :, 0], ".jpg")
JPEG: bytes = simplejpeg.encode_jpeg(IMAGE, 90, "BGR", "422")
DHT, APP1, APP4, COM = 0xC4, 0xE1, 0xE4, 0xFE


def decoded(jpeg: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_the_pixels_are_those_of_other_decoders() -> None:
    frame = JpegDecoder().decode(JPEG)
    assert np.array_equal(frame.image, decoded(JPEG))
    assert frame.jpeg is JPEG, "untouched"
    assert (frame.width, frame.height, frame.source_size, frame.full_size) == (320, 240, None, None)


@pytest.mark.parametrize(
    "jpeg", [JPEG[: len(JPEG) // 2], JPEG[:-1], JPEG[:2000] + JPEG[2600:], b"", b"no JPEG"]
)
def test_a_damaged_picture_is_an_error(jpeg: bytes) -> None:
    with pytest.raises(PictureError, match="damaged JPEG picture: "):
        JpegDecoder().decode(jpeg)
    assert intact_size(jpeg) is None


def test_a_camera_whose_pictures_all_cause_warnings_is_shown_without_its_jpeg() -> None:
    decoder, damaged = JpegDecoder(), JPEG[:-40] + JPEG[-2:]
    for _ in range(2):
        for _ in range(ALWAYS_DAMAGED - 1):
            with pytest.raises(PictureError):
                decoder.decode(damaged)
        assert decoder.decode(JPEG).jpeg == JPEG, "an intact one between them: the cable is at fault"
    for _ in range(ALWAYS_DAMAGED - 1):
        with pytest.raises(PictureError):
            decoder.decode(damaged)
    for _ in range(3):
        assert decoder.decode(damaged).jpeg is None


def test_the_size_of_an_intact_picture_is_known() -> None:
    assert intact_size(JPEG) == (320, 240)


def test_standard_tables_are_added_where_the_camera_leaves_them_out() -> None:
    bare = without_segments(JPEG, DHT)
    fit = fit_for_browsers(bare)
    assert fit is not None and [kind for kind, _ in segments(fit)].count(DHT) == 4
    assert np.array_equal(decoded(fit), decoded(JPEG))
    assert JpegDecoder().decode(bare).jpeg == fit


def test_the_end_of_the_buffer_is_cut_off() -> None:
    assert fit_for_browsers(JPEG + bytes(500)) == JPEG


@pytest.mark.parametrize(
    "extended",
    [with_orientation(JPEG, 6), with_segment(JPEG, APP4, b"x" * 9000), with_segment(JPEG, COM, b"serial 17")],
    ids=["a rotation", "another stream", "a comment"],
)
def test_what_viewers_need_not_see_is_left_out(extended: bytes) -> None:
    assert extended != JPEG and fit_for_browsers(extended) == JPEG


def test_padding_between_segments_is_accepted() -> None:
    padded = JPEG[:2] + b"\xff\xff" + JPEG[2:]
    fit = fit_for_browsers(padded)
    assert fit is not None and np.array_equal(decoded(fit), decoded(JPEG))


@pytest.mark.parametrize(
    "jpeg", [cmyk_jpeg((9, 9, 9, 9)), encoded(IMAGE[:, :, 0], ".jpg")], ids=["CMYK", "grey"]
)
def test_a_jpeg_of_other_colours_is_not_passed_on(jpeg: bytes) -> None:
    assert fit_for_browsers(jpeg) is None


def test_a_large_picture_is_shrunk_while_it_is_decoded() -> None:
    image = cv2.resize(IMAGE, (3840, 2160), interpolation=cv2.INTER_CUBIC)
    frame = JpegDecoder().decode(encoded(np.asarray(image, np.uint8), ".jpg"))
    assert frame.image.shape == (1080, 1920, 3) and frame.jpeg is None
    assert (frame.width, frame.height, frame.scale) == (3840, 2160, 2.0)
    assert frame.full_size is not None
    full = frame.full_size()
    assert full.shape == (2160, 3840, 3) and frame.full_size() is full, "decoded once"
    shrunk = cv2.resize(full, (1920, 1080), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - frame.image).mean() < 1


def test_a_picture_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.media.jpeg.MAX_PIXELS", 1000)
    with pytest.raises(PictureError, match="320x240 pixels; expected at most 1000"):
        JpegDecoder().decode(JPEG)
