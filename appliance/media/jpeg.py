"""Decodes the JPEG pictures of a camera, and makes them fit for browsers without encoding them again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import simplejpeg

from appliance.errors import PictureError, PictureTooLarge
from appliance.media.shrink import frame_of, reduced_size, shrink, shrunk_frame
from appliance.system.native import MAX_PIXELS
from appliance.values import Frame, Image

ALWAYS_DAMAGED = 10
"""After this many damaged pictures in a row they are shown: its encoder is at fault, not the cable."""

MOST_SCANS = 32
"""Of a picture that a client sent: each may take as long to decode as a picture, and encoders make ten."""

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF0, _SOF2, _DHT, _SOS = 0xC0, 0xC2, 0xC4, 0xDA
_APP0, _APP14, _LAST_APP, _COM = 0xE0, 0xEE, 0xEF, 0xFE


class JpegDecoder:
    """Decodes the pictures of one camera, without those that were damaged on their way."""

    def __init__(self) -> None:
        self._damaged = 0

    def decode(self, data: bytes) -> Frame:
        """A frame without number and time; raises `PictureError` if the picture is damaged.

        libjpeg fills what is missing with grey and only warns, so a warning counts as damage. A camera whose
        pictures all cause warnings is shown nevertheless, see `ALWAYS_DAMAGED`.
        """
        try:
            frame = _decode(data, strict=True)
        except ValueError as error:
            self._damaged += 1
            if self._damaged < ALWAYS_DAMAGED:
                raise _damage(error) from error
        else:
            self._damaged = 0
            return frame
        try:
            return replace(_decode(data, strict=False), jpeg=None)
        except ValueError as error:
            raise _damage(error) from error


def check_jpeg(data: bytes, max_pixels: int) -> None:
    """Check a picture that a client sent from its header, before anything is decoded.

    Raises `PictureTooLarge`, or `PictureError` for what is no JPEG or has more than `MOST_SCANS` scans.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise PictureError(f"not a JPEG picture: {' '.join(str(error).split())}") from error
    if width * height > max_pixels:
        raise PictureTooLarge(f"{width}x{height} pixels; expected at most {max_pixels} in all")
    if has_too_many_scans(data):
        raise PictureError(f"a JPEG of more than {MOST_SCANS} scans; expected a usual one")


def decode_within(data: bytes, max_pixels: int) -> Image:
    """The pixels of a picture that a client sent, uint8 blue-green-red, shape (height, width, 3).

    Raises as `check_jpeg`, and `PictureError` for what libjpeg does not decode without a warning.
    """
    check_jpeg(data, max_pixels)
    try:
        image: Image = simplejpeg.decode_jpeg(data, "BGR")
    except ValueError as error:
        raise PictureError(f"a damaged JPEG picture: {' '.join(str(error).split())}") from error
    return image


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG may take far longer to decode than its size suggests, see `MOST_SCANS`."""
    return data.count(bytes((0xFF, _SOS))) > MOST_SCANS  # within a scan this pair of bytes cannot occur


def intact_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a picture that libjpeg decodes without a warning, else None."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, fastupsample=True, min_width=1, min_height=1)
    except ValueError:
        return None
    return width, height


def fit_for_browsers(data: bytes) -> bytes | None:
    """The picture without what a viewer need not see; the same object if there is nothing to change.

    Drops comments, the data of applications (Exif could rotate the picture in a browser, but not here), and
    what follows its end. Adds the standard Huffman tables, which many cameras leave out. None unless it is a
    baseline or progressive JPEG with colours.
    """
    end = data.rfind(_EOI) + len(_EOI)
    parts, at, has_tables = [_SOI], len(_SOI), False
    while at + 4 <= end and data[at] == 0xFF:
        marker, after = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # padding
            at += 1
            continue
        if _SOF0 <= marker <= _SOF2 and data[at + 9] != 3:
            return None
        if _SOF2 < marker < 0xD0 and marker != _DHT:
            return None
        has_tables |= marker == _DHT
        if marker == _SOS:
            kept = parts if has_tables else [*parts, _standard_tables()]
            fit = b"".join([*kept, data[at:end]])
            return data if fit == data else fit
        if not (_APP0 < marker <= _LAST_APP and marker != _APP14) and marker != _COM:
            parts.append(data[at:after])
        at = after
    return None


def _decode(data: bytes, *, strict: bool) -> Frame:
    """A frame with its JPEG, or a shrunk one; raises `ValueError`."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=strict)
    except KeyError:  # without `strict`, for a header that it cannot read
        raise ValueError("its header is incomplete") from None
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels; expected at most {MAX_PIXELS}")

    def pixels(least_width: int, least_height: int) -> Image:
        image: Image = simplejpeg.decode_jpeg(
            data, "BGR", min_width=least_width, min_height=least_height, strict=strict
        )
        return image

    size, reduced = (width, height), reduced_size(width, height)
    if reduced == size:
        return frame_of(pixels(*size), fit_for_browsers(data))
    return shrunk_frame(shrink(pixels(*reduced), size), size, lambda: pixels(*size))


def _damage(error: ValueError) -> PictureError:
    return PictureError(f"damaged JPEG picture: {' '.join(str(error).split())}")


@cache
def _standard_tables() -> bytes:
    """The segments of the Huffman tables of ITU-T T.81, annex K.3, as libjpeg writes them."""
    data: bytes = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8), colorspace="BGR")
    parts, at = [], len(_SOI)
    while data[at + 1] != _SOS:
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _DHT:
            parts.append(data[at:after])
        at = after
    return b"".join(parts)
