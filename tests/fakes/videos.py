"""Videos of all kinds, made with PyAV from moving pictures."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from appliance.values import Image
from tests.fakes.files import encoded


def moving(count: int, width: int = 160, height: int = 96) -> list[Image]:
    """A bright square that moves to the right over a grey gradient, below a blue and a red corner."""
    slope = np.linspace(40, 120, width).astype(np.uint8)
    images = []
    for number in range(count):
        image = np.repeat(np.repeat(slope[None, :, None], height, 0), 3, 2)
        image[: height // 4, : width // 4] = (230, 30, 30)
        image[-height // 4 :, : width // 4] = (30, 30, 230)
        left = width // 3 + 2 * number % (width // 3)
        image[height // 3 : 2 * height // 3, left : left + width // 5] = 235
        images.append(image)
    return images


def video(
    path: Path,
    images: Sequence[Image],
    *,
    codec: str = "libx264",
    rate: Fraction | int = 25,
    times: Iterable[float] | None = None,
    tick: Fraction = Fraction(1, 90_000),
    pixels: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    kind: str | None = None,
    aspect: Fraction | None = None,
    key_every: int = 0,
    muxing: Mapping[str, str] | None = None,
) -> Path:
    """Write a video; `times` in seconds, or `rate` frames a second; `kind` if the name does not show it."""
    with av.open(str(path), "w", format=kind, options=dict(muxing or {})) as container:
        add_stream(
            container, images, times, codec, rate, pixels, dict(options or {}), aspect, key_every, tick
        )
    return path


@contextlib.contextmanager
def _same_scheduling() -> Iterator[None]:
    """Restore the scheduling policy: SVT-AV1, run by root, takes the highest real-time priority.

    Every later program of the tests would inherit it, and starve the others.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@_same_scheduling()
def add_stream(
    container: Any,
    images: Sequence[Image],
    times: Iterable[float] | None = None,
    codec: str = "libx264",
    rate: Fraction | int = 25,
    pixels: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    aspect: Fraction | None = None,
    key_every: int = 0,
    tick: Fraction = Fraction(1, 90_000),
) -> Any:
    """Encode the pictures as an additional stream of a container."""
    stream = container.add_stream(codec, rate=rate, options=dict(options or {}))
    stream.height, stream.width = images[0].shape[:2]
    stream.pix_fmt = pixels
    if aspect is not None:
        stream.codec_context.sample_aspect_ratio = aspect
    if key_every:
        stream.codec_context.gop_size = key_every
    tick = 1 / Fraction(rate) if times is None else tick
    stream.codec_context.time_base = tick
    when = [number * tick for number in range(len(images))] if times is None else times
    for number, (image, seconds) in enumerate(zip(images, when, strict=True)):
        frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixels)
        frame.pts, frame.time_base = round(seconds / tick), tick
        if key_every and number % key_every == 0:
            frame.pict_type = PictureType.I
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)
    return stream


def woven(images: Sequence[Image]) -> list[Image]:
    """Two pictures in each frame: even lines of one and odd lines of the next, like interlaced cameras."""
    frames = []
    for even, odd in zip(images[::2], images[1::2], strict=True):
        frame = even.copy()
        frame[1::2] = odd[1::2]
        frames.append(frame)
    return frames


def combing(image: Image) -> float:
    """How much more neighbouring lines differ than lines two apart: large between two fields."""
    grey = image.astype(float).mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() - np.abs(grey[2:] - grey[:-2]).mean() / 2)


def with_matrix(data: bytes, matrix: Sequence[int]) -> bytes:
    """An MP4 whose first track has this display matrix: a, b, c and d, each -1, 0 or 1."""
    a, b, c, d = (each << 16 for each in matrix)
    at = data.index(b"tkhd") + 4 + 40
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :]


def trimmed(data: bytes, *, skip_s: float = 0, last_s: float) -> bytes:
    """An MP4 whose edit list hides its start and end, as phones and players trim without encoding."""
    at = data.index(b"elst") + 12
    _, start, _ = struct.unpack(">Iii", data[at : at + 12])
    movie = struct.unpack(">I", data[(of := data.index(b"mvhd") + 16) : of + 4])[0]
    track = struct.unpack(">I", data[(of := data.index(b"mdhd") + 16) : of + 4])[0]
    edit = struct.pack(">Ii", round(last_s * movie), start + round(skip_s * track))
    return data[:at] + edit + data[at + 8 :]


def frames_as_mjpeg(film: Path, path: Path) -> Path:
    """The frames of a film as one JPEG after the other, which Chromium plays as its camera."""
    with av.open(str(film)) as container, path.open("wb") as file:
        for frame in container.decode(video=0):
            file.write(encoded(frame.to_ndarray(format="bgr24"), ".jpg"))
    return path
