"""The pictures that programs send as files: which formats reach a decoder."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from appliance.errors import PictureError, UnsupportedPicture
from appliance.media.formats import HEAD_BYTES, picture_format
from appliance.webcams.pictures import MOST_PIXELS

if TYPE_CHECKING:
    from appliance.media.stills import Still

MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic", "image/heif", "image/avif")
"""The media types of the formats that are read."""

EXPECTED = "expected JPEG, PNG, WebP, HEIC or AVIF"

_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF")
_NAME = "picture"


def read_upload(data: bytes) -> Still:
    """The picture in a file, recognised by its content; the first of several. Nothing touches the disk.

    Raises `UnsupportedPicture` for a picture of another format, and `PictureError` for what is no picture, is
    damaged, or has more than `MOST_PIXELS` pixels, before those are decoded.
    """
    kind = picture_format(data[:HEAD_BYTES])
    if kind is None:
        raise PictureError(f"{_NAME}: is {'not a picture' if data else 'empty'}; {EXPECTED}")
    if kind not in _FORMATS:
        raise UnsupportedPicture(f"{_NAME}: is {kind}; {EXPECTED}")
    from appliance.media.jpeg import (
        MOST_SCANS,
        has_too_many_scans,
    )  # few need them
    from appliance.media.stills import read_still

    if kind == "JPEG" and has_too_many_scans(data):
        raise PictureError(f"{_NAME}: has more than {MOST_SCANS} scans; expected a usual JPEG")
    return read_still(io.BytesIO(data), _NAME, max_pixels=MOST_PIXELS)
