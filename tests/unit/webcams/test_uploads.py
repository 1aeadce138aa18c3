"""The files that programs send as pictures: the five formats, and one clear error for everything else."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from appliance.errors import PictureError, UnsupportedPicture
from appliance.media.jpeg import MOST_SCANS
from appliance.values import Image
from appliance.webcams.uploads import read_upload
from tests.fakes.files import cmyk_jpeg, with_orientation
from tests.fakes.heic import heic
from tests.fakes.parts import picture


def half(width: int = 64, height: int = 48) -> Image:
    """A picture whose left half is dark and whose right half is bright."""
    image = picture(width, height, 30)
    image[:, width // 2 :] = 220
    return image


def saved(image: Image | Pillow.Image, kind: str, **options: Any) -> bytes:
    made = (
        image if isinstance(image, Pillow.Image) else Pillow.fromarray(np.ascontiguousarray(image[..., ::-1]))
    )
    out = io.BytesIO()
    made.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG with a head of this size and hardly any pixels."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(head) + chunk(b"IDAT" + zlib.compress(bytes(99))) + chunk(b"IEND")


def webp(width: int, height: int) -> bytes:
    """A small animated WebP on a canvas of this size."""
    frames = [Pillow.new("RGB", (16, 16), grey) for grey in ("black", "white")]
    data = bytearray(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def many_scans() -> bytes:
    """A small progressive JPEG whose last scan is repeated."""
    data = saved(half(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (MOST_SCANS + 1) + data[-2:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_of_each_format_is_read(kind: str) -> None:
    still = read_upload(saved(half(), kind))
    assert still.image.shape == (48, 64, 3) and still.image.dtype == np.uint8 and still.notes == ()
    assert still.image[:, :24].max() < 70 < 180 < still.image[:, 40:].min()


def test_a_heic_is_read(tmp_path: Path) -> None:
    assert read_upload(heic(tmp_path, half(256, 128))).image.shape == (128, 256, 3)


def test_a_picture_is_turned_upright_as_its_exif_data_say() -> None:
    image = read_upload(with_orientation(saved(half(), "JPEG"), 6)).image
    assert image.shape == (64, 48, 3)
    assert image[:24].max() < 70 < 180 < image[40:].min(), "the left is the top now"


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (cmyk_jpeg((0, 255, 0, 0)), (16, 16, 3)),
        (saved(Pillow.new("L", (20, 10), 90), "JPEG"), (10, 20, 3)),
        (saved(Pillow.fromarray(np.full((10, 20), 30_000, np.uint16)), "PNG"), (10, 20, 3)),
        (saved(Pillow.new("RGBA", (20, 10), (0, 0, 0, 0)), "PNG"), (10, 20, 3)),
        (saved(Pillow.new("P", (20, 10)), "PNG"), (10, 20, 3)),
        (saved(Pillow.new("1", (20, 10)), "PNG"), (10, 20, 3)),
        (saved(Pillow.new("RGB", (1, 1)), "PNG"), (1, 1, 3)),
        (saved(Pillow.new("RGB", (1080, 1920)), "PNG"), (1920, 1080, 3)),
    ],
    ids=["CMYK", "grey JPEG", "16 bits", "transparent", "palette", "one bit", "one pixel", "portrait"],
)
def test_every_kind_of_pixel_becomes_eight_bits_of_blue_green_red(
    data: bytes, shape: tuple[int, ...]
) -> None:
    image = read_upload(data).image
    assert image.shape == shape and image.dtype == np.uint8


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_picture_is_read(kind: str) -> None:
    frames = [Pillow.new("RGB", (32, 24), grey) for grey in ("black", "white", "white")]
    still = read_upload(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    assert still.image.max() < 30
    assert still.notes == ("has more than one picture; only the first is read",)


def test_the_note_of_a_decoder_is_passed_on() -> None:
    data = saved(half(640, 480), "JPEG")
    middle = len(data) // 2
    still = read_upload(data[:middle] + b"\xff\xd5" + data[middle:])
    assert still.image.shape == (480, 640, 3) and "its decoder reported" in still.notes[0]


@pytest.mark.parametrize(
    "data",
    [saved(half(), kind) for kind in ("GIF", "TIFF", "BMP", "PPM")],
    ids=["GIF", "TIFF", "BMP", "PPM"],
)
def test_other_formats_reach_no_decoder(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pillow, "open", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(
        UnsupportedPicture, match=r"^picture: is [A-Z]+; expected JPEG, PNG, WebP, HEIC or AVIF$"
    ):
        read_upload(data)


LARGE = {
    "PNG bomb": png(60_000, 60_000),
    "16-bit PNG bomb": png(60_000, 60_000, depth=16),
    "one row too many": png(1920, 1081),
    "WebP bomb": webp(16_383, 16_383),
    "JPEG": saved(Pillow.new("L", (2000, 2000)), "JPEG"),
    "AVIF": saved(Pillow.new("L", (2000, 1100)), "AVIF", speed=10),
}


@pytest.mark.parametrize("name", LARGE)
def test_too_many_pixels_are_refused_before_they_are_decoded(name: str) -> None:
    before = resident_mb()
    with pytest.raises(
        PictureError, match=r"^picture: has \d+x\d+ pixels; expected at most 2\.07 megapixels$"
    ):
        read_upload(LARGE[name])
    assert resident_mb() - before < 64


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def test_a_heic_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    data = heic(tmp_path, half(256, 128))
    data = data.replace(struct.pack(">II", 256, 128), struct.pack(">II", 20_000, 10_000))
    with pytest.raises(PictureError, match="has 20000x10000 pixels"):
        read_upload(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_truncated_file_is_refused(kind: str) -> None:
    data = saved(half(), kind)
    for length in range(1, len(data) - 20, max(1, len(data) // 60)):  # the last bytes may have no pixels
        with pytest.raises(PictureError, match=r"^picture: .*; expected "):
            read_upload(data[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty; expected JPEG"),
        (b"hello", "is not a picture; expected JPEG"),
        (bytes(100_000), "is not a picture"),
        (b"<html></html>", "is not a picture"),
        (many_scans(), f"has more than {MOST_SCANS} scans"),
        (b"\xff\xd8\xff" + bytes(1000), "is JPEG, truncated or damaged"),
    ],
    ids=["empty", "text", "zeros", "a page", "many scans", "only the first bytes"],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=reason):
        read_upload(data)
