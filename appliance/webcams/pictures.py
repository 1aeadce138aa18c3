"""The pictures that a webcam client sends: their limits, and how they are decoded."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode

from appliance.errors import PictureError, PictureTooLarge
from appliance.values import Image

MOST_BYTES = 1_000_000
"""Of one JPEG."""

MOST_PIXELS = 1920 * 1080
"""Of one picture, upright or not."""

_PREFIX = re.compile(r"data:image/[a-z0-9.+-]{1,32};base64,")
_PREFIX_BYTES = len("data:image/;base64,") + 32

MOST_MESSAGE_BYTES = _PREFIX_BYTES + 4 * ((MOST_BYTES + 2) // 3)
"""Of one message: a picture of `MOST_BYTES` as a data URL."""


def decode_message(message: bytes | str) -> Image:
    """The picture in a message: a JPEG, or a text with a `data:image/…;base64,` URL of one.

    uint8 blue-green-red, shape (height, width, 3). Raises `PictureTooLarge` or `PictureError`.
    """
    from appliance.media.jpeg import decode_within  # loads a library that only pictures of clients need

    data = _from_url(message) if isinstance(message, str) else message
    if len(data) > MOST_BYTES:
        raise PictureTooLarge(f"a picture of {len(data)} bytes; expected at most {MOST_BYTES}")
    return decode_within(data, MOST_PIXELS)


def _from_url(text: str) -> bytes:
    prefix = _PREFIX.match(text)
    if prefix is None:
        raise PictureError("a text that is no picture; expected a data:image/jpeg;base64,… URL")
    try:
        return b64decode(text[prefix.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError(f"a data URL that is not base64: {error}") from error
