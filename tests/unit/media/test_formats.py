"""Recognising pictures and videos by their first bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from appliance.media.formats import is_video, picture_format


@pytest.mark.parametrize(
    "head", [b"BMW is a car, not a bitmap", b"P1 is the plan", b"RIFF....AVI ", b"", b"GIF"]
)
def test_other_data_is_not_a_picture(head: bytes) -> None:
    assert picture_format(head) is None


def test_a_video_is_recognised_by_its_content(demo_clip: Path) -> None:
    assert is_video(demo_clip.read_bytes()[:4096])
    packet = b"\x47" + bytes(187)
    for start in (
        b"\0\0\0\x14ftypqt  ",
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\x1a\x45\xdf\xa3",
        b"RIFF\0\0\0\0AVI LIST",
        b"\0\0\1\xba",
        b"\0\0\0\1\x67",
        packet * 6,
        bytes(77) + packet * 6,
        (bytes(4) + packet) * 6,
    ):
        assert is_video(start), start[:12]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"these are words\n" * 300,
        b"ID3\x04",
        b"\0\0\0\x20ftypM4A ",
        b"\0\0\0\x18ftypcrx ",
        b"\0\0\1\0\1\0\x10\x10",
        b"The free software is here",
        b"\0\0\0\x18ftypheic",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"G" * 100,
        random.Random(1).randbytes(4096),
    ],
    ids=lambda head: repr(head[:8]),
)
def test_other_files_are_not_videos(head: bytes) -> None:
    assert not is_video(head)
