"""Reading pictures from files, with a clear error for whatever is not one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from appliance.environment import MAX_PIXELS
from appliance.errors import PictureError
from appliance.values import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""Files that are taken as pictures."""


def is_picture(path: Path) -> bool:
    """Whether the file's name says that it is a picture."""
    return path.suffix.lower() in SUFFIXES


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name; raises `PictureError` when there are none."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and is_picture(path))
    if not found:
        raise PictureError(
            f"{folder}: no pictures in this folder; expected files like {', '.join(SUFFIXES[:4])}"
        )
    return found


def read_picture(path: Path) -> Image:
    """A picture as 8-bit blue-green-red, turned upright by its EXIF entry; raises `PictureError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}); expected a picture") from error
    if not data:
        raise PictureError(f"{path}: is empty; expected a picture")
    if _cut_short(data):
        raise PictureError(f"{path}: is cut short; expected a whole picture, copy it again")
    return decode_picture(np.frombuffer(data, np.uint8), str(path))


def decode_picture(data: Image, name: str) -> Image:
    """An encoded picture as 8-bit blue-green-red; `name` is what an error calls it."""
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise PictureError(f"{name}: cannot be decoded ({error.err}); {_limits()}") from error
    if image is None:
        raise PictureError(f"{name}: is not a picture that can be decoded, or too large; {_limits()}")
    return np.asarray(image, np.uint8)


def _cut_short(data: bytes) -> bool:
    # A decoder fills the missing part of a JPEG with grey and says nothing.
    if data.startswith(b"\xff\xd8"):
        return data.find(b"\xff\xd9", _first_scan(data)) < 0
    return data.startswith(b"\x89PNG") and b"IEND" not in data


def _first_scan(data: bytes) -> int:
    """Where a JPEG's first scan begins: past all segments with a length, in which a thumbnail may hide."""
    at = 2
    while data[at : at + 1] == b"\xff" and (marker := data[at + 1 : at + 2]) != b"\xda":
        is_fill = marker == b"\xff"
        at += 1 if is_fill else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _limits() -> str:
    return f"expected JPEG, PNG, BMP, WebP or TIFF of at most {MAX_PIXELS // 1_000_000} megapixels"
