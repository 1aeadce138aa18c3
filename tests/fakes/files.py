"""Pictures that no available encoder writes: CMYK JPEG, EXIF orientation, TIFF with its directory first."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from appliance.values import Image


def encoded(image: Image, suffix: str, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, options)
    assert done
    return bytes(data)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def cmyk_jpeg(ink: tuple[int, int, int, int], blocks: int = 2) -> bytes:
    """A baseline JPEG of one colour in cyan, magenta, yellow, black (0 to 255), inverted as Adobe does."""
    side = 8 * blocks
    lengths = bytes([0, 0, 0, 9, *[0] * 12])  # nine codes of four bits: the size of each difference
    components = bytes([4]) + b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3, 4))
    head = b"".join(
        [
            b"\xff\xd8",
            _segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)),
            _segment(0xDB, bytes([0]) + bytes([8] * 64)),
            _segment(0xC0, struct.pack(">BHH", 8, side, side) + components),
            _segment(0xC4, bytes([0x00]) + lengths + bytes(range(9))),
            _segment(0xC4, bytes([0x10, 1, *[0] * 15, 0])),  # one code of one bit: the end of the block
            _segment(0xDA, bytes([4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0])),
        ]
    )
    bits = ""
    for index in range(blocks * blocks):
        for value in ink:
            difference = (255 - value) - 128 if index == 0 else 0
            size = abs(difference).bit_length()
            coded = difference if difference >= 0 else difference + (1 << size) - 1
            bits += f"{size:04b}" + (f"{coded:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    return head + data + b"\xff\xd9"


def segments(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Marker and bytes of each segment; the last one is the scan, with everything after it."""
    found, at = [], 2
    while jpeg[at + 1] != 0xDA:
        after = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        found.append((jpeg[at + 1], jpeg[at:after]))
        at = after
    return [*found, (0xDA, jpeg[at:])]


def without_segments(jpeg: bytes, marker: int) -> bytes:
    """The same JPEG without one kind of segment."""
    return jpeg[:2] + b"".join(part for kind, part in segments(jpeg) if kind != marker)


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """The same JPEG with one more segment."""
    return jpeg[:2] + _segment(marker, content) + jpeg[2:]


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The same JPEG with an EXIF orientation."""
    entry = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + _segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry) + jpeg[2:]


def tiff_with_directory_in_front(image: Image) -> bytes:
    """An uncompressed TIFF whose pixels come last: if truncated, its directory is still complete."""
    height, width = image.shape[:2]
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8 + 2 + 12 * 9 + 4),
        (277, 3, 1, 1),
        (278, 3, 1, height),
        (279, 4, 1, width * height),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    grey = np.ascontiguousarray(image[:, :, 0])
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + grey.tobytes()
