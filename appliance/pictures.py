"""Reading pictures and videos from files, with a clear error for whatever is not one."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from appliance.environment import MAX_PIXELS
from appliance.errors import PictureError
from appliance.values import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""Files that are taken as pictures."""

_DEFAULT_FPS = 25.0
_MISSING_S, _MISSING_SHARE = 1.0, 0.05


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


class Clip:
    """A video file, frame by frame."""

    def __init__(self, path: Path) -> None:
        """Opens the file; raises `PictureError` when it is missing, empty or not a video."""
        self.path = path
        if not path.is_file():
            raise PictureError(
                f"{path}: there is no such file; expected a picture, a video or a folder of pictures"
            )
        if not os.access(path, os.R_OK):
            raise PictureError(f"{path}: cannot be read (permission denied); expected a video")
        if path.stat().st_size == 0:
            raise PictureError(f"{path}: is empty; expected a video")
        if _is_text(path):  # the decoder would draw it, letter by letter, as a film
            raise PictureError(f"{path}: is not a video but text; expected MP4, MKV, AVI or WebM")
        # One decoding thread: more of them cost memory and processor time, and frames come one at a time.
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self._capture.isOpened():
            raise PictureError(f"{path}: is not a video that can be decoded; expected MP4, MKV, AVI or WebM")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= 240 else _DEFAULT_FPS
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """How many frames the file promises; 0 when it does not say."""

    def __iter__(self) -> Iterator[Image]:
        """The frames as blue-green-red pictures."""
        while self._capture.isOpened():
            done, image = self._capture.read()
            if not done:
                return
            yield np.asarray(image, np.uint8)

    def is_cut_short(self, count: int) -> bool:
        """Whether `count` frames are clearly fewer than the file promises.

        Whole files miss a few: containers round, and an edit list may hide the first ones.
        """
        return self.frames - count > max(self.fps * _MISSING_S, self.frames * _MISSING_SHARE)

    def close(self) -> None:
        """Let the file go."""
        self._capture.release()


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


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4096)
    try:
        # Incremental: a letter of several bytes may lie across the end of what was read.
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False


def _limits() -> str:
    return f"expected JPEG, PNG, BMP, WebP or TIFF of at most {MAX_PIXELS // 1_000_000} megapixels"
