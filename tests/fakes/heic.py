"""HEIC files as phones write them: HEVC tiles in a grid, with the orientation in the container."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from appliance.values import Image
from tests.fakes.videos import video

_HVCC, _TILE_SIZE, _GRID_SIZE, _TURN = 1, 2, 3, 4


def heic(folder: Path, image: Image, *, columns: int = 2, rows: int = 2, quarters: int = 0) -> bytes:
    """A picture cut into separately encoded tiles; shown rotated to the left by this many quarter turns."""
    height, width = image.shape[0] // rows, image.shape[1] // columns
    tiles = [
        np.ascontiguousarray(image[y * height : (y + 1) * height, x * width : (x + 1) * width])
        for y in range(rows)
        for x in range(columns)
    ]
    encoded = [_hevc(folder, tile) for tile in tiles]
    configuration = encoded[0][0]
    samples = [sample for _, sample in encoded]
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width * columns, height * rows)
    properties = [
        configuration,
        _full_box(b"ispe", struct.pack(">II", width, height)),
        _full_box(b"ispe", struct.pack(">II", width * columns, height * rows)),
        _box(b"irot", bytes([quarters])),
    ]
    head = _box(b"ftyp", b"heic\0\0\0\0mif1heic")
    offset = len(head) + len(_meta(properties, samples, grid, 0)) + 8
    return head + _meta(properties, samples, grid, offset) + _box(b"mdat", b"".join(samples))


def _hevc(folder: Path, tile: Image) -> tuple[bytes, bytes]:
    """The box that describes the stream, and a picture in it: MP4 has both in the form that HEIC needs."""
    options = {"x265-params": "log-level=none:info=0:bframes=0", "crf": "8"}
    data = video(folder / "tile.mp4", [tile], codec="libx265", options=options).read_bytes()
    at = data.index(b"hvcC") - 4
    configuration = data[at : at + int.from_bytes(data[at : at + 4], "big")]
    at = data.index(b"mdat") - 4
    return configuration, data[at + 8 : at + int.from_bytes(data[at : at + 4], "big")]


def _meta(properties: list[bytes], samples: list[bytes], grid: bytes, offset: int) -> bytes:
    count = len(samples)
    whole = count + 1
    entries = [
        *(_full_box(b"infe", struct.pack(">HH", n, 0) + b"hvc1\0", 2, 1) for n in range(1, whole)),
        _full_box(b"infe", struct.pack(">HH", whole, 0) + b"grid\0", 2),
    ]
    places = b""
    for number, sample in enumerate(samples, 1):
        places += struct.pack(">HHHHII", number, 0, 0, 1, offset, len(sample))
        offset += len(sample)
    places += struct.pack(">HHHHII", whole, 1, 0, 1, 0, len(grid))
    uses = b"".join(struct.pack(">HBBB", n, 2, 0x80 | _HVCC, _TILE_SIZE) for n in range(1, whole))
    uses += struct.pack(">HBBB", whole, 2, _GRID_SIZE, 0x80 | _TURN)
    tiles = struct.pack(f">HH{count}H", whole, count, *range(1, whole))
    return _full_box(
        b"meta",
        _full_box(b"hdlr", b"\0\0\0\0pict" + bytes(13))
        + _full_box(b"pitm", struct.pack(">H", whole))
        + _full_box(b"iinf", struct.pack(">H", whole) + b"".join(entries))
        + _full_box(b"iloc", struct.pack(">HH", 0x4400, whole) + places, 1)
        + _box(
            b"iprp",
            _box(b"ipco", b"".join(properties)) + _full_box(b"ipma", struct.pack(">I", whole) + uses),
        )
        + _full_box(b"iref", _box(b"dimg", tiles))
        + _box(b"idat", grid),
    )


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + content)
