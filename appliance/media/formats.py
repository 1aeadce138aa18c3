"""Recognises pictures and videos by their first bytes, without loading any decoder."""

from __future__ import annotations

import re
from typing import BinaryIO

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "HEIF")
"""All formats of pictures, by the names of Pillow's plugins."""

HEAD_BYTES = 4096
"""Bytes that `picture_format` and `is_video` need."""

_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
}
_NETPBM = re.compile(rb"P[1-6]\s+(#[^\n]*\n\s*)*\d")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)

_OTHER_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"crx ")
"""Brands of sound and of camera raw pictures, in the MP4 container."""

_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x1f\x07\0",  # DV
    b"YUV4MPEG2",
    b"DKIF",
)
_TS_PACKETS, _TS_IN_A_ROW = (188, 192, 204), 5


def read_head(file: BinaryIO) -> bytes:
    """The first `HEAD_BYTES` of a file; rewinds it."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


def picture_format(head: bytes) -> str | None:
    """The format, one of `FORMATS`, of a file that starts with these `HEAD_BYTES`; None for any other."""
    if head.startswith(b"\xff\xd8\xff") or head == b"\xff\xd8":
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if _NETPBM.match(head):
        return "PPM"
    return _brand(head)


def is_video(head: bytes) -> bool:
    """Whether a file with these first bytes is a video of a supported format."""
    if head[4:8] in _MOV_BOXES and (head[0] == 0 or head[4:8] == b"mdat"):  # any other box begins with a zero
        return head[8:12] not in _OTHER_BRANDS and picture_format(head) is None
    if start := re.match(rb"\x00{2,3}\x01", head):
        return head[start.end() : start.end() + 1] not in (b"", b"\0")  # an icon file has a zero there
    is_avi = head.startswith(b"RIFF") and head[8:12] == b"AVI "
    return is_avi or head.startswith(_VIDEO_STARTS) or _is_transport_stream(head)


def _brand(head: bytes) -> str | None:
    """HEIF or AVIF by the major brand; mif1 and msf1 can mean either."""
    if head[4:8] != b"ftyp":
        return None
    main, others = head[8:12], head[16 : int.from_bytes(head[:4], "big")]
    if main in (b"mif1", b"msf1"):
        return "AVIF" if b"avif" in others or b"avis" in others else "HEIF"
    return next((name for name, brands in _BRANDS.items() if main in brands), None)


def _is_transport_stream(head: bytes) -> bool:
    """Whether the sync bytes of packets follow each other; the file may begin within a packet."""
    return any(
        all(head[start + n * length : start + n * length + 1] == b"\x47" for n in range(_TS_IN_A_ROW))
        for length in _TS_PACKETS
        for start in range(length)
    )
