"""Still pictures: every common format, depth and orientation, and a clear error for the rest."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import AvifImagePlugin, ImageCms
from PIL import Image as Pillow

from appliance.errors import PictureError
from appliance.media.formats import FORMATS, picture_format
from appliance.media.stills import is_animation, read_still
from appliance.values import Image
from tests.fakes.files import cmyk_jpeg, encoded, tiff_with_directory_in_front, with_orientation
from tests.fakes.heic import heic
from tests.fakes.parts import noise, picture


def smooth(width: int = 64, height: int = 48) -> Image:
    """A picture that survives lossy compression: blue grows to the right, red downwards."""
    image = picture(width, height, 60)
    image[:, :, 0] = np.linspace(0, 255, width)[None, :]
    image[:, :, 2] = np.linspace(0, 255, height)[:, None]
    return image


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def by_pillow(image: Image | Pillow.Image, kind: str, **options: Any) -> bytes:
    """A file as Pillow writes it, of a blue-green-red array or of a Pillow picture."""
    made = (
        image if isinstance(image, Pillow.Image) else Pillow.fromarray(np.ascontiguousarray(image[..., ::-1]))
    )
    out = io.BytesIO()
    made.save(out, kind, **options)
    return out.getvalue()


def read_picture(source: Path | io.BytesIO, name: str | None = None) -> Image:
    return read_still(source, name).image


def distance(image: Image, expected: Any) -> float:
    assert image.shape == expected.shape and image.dtype == np.uint8
    return float(np.abs(image.astype(int) - expected).mean())


# --- formats ---


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_every_kind_of_picture_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    data = encoded(smooth(), suffix)
    assert picture_format(data) in FORMATS
    assert distance(read_picture(saved(tmp_path, "frame.dat", data)), smooth()) < 6


@pytest.mark.parametrize("kind", ["GIF", "AVIF"])
def test_formats_that_opencv_does_not_write(tmp_path: Path, kind: str) -> None:
    data = by_pillow(smooth(), kind)
    assert picture_format(data) == kind
    assert distance(read_picture(saved(tmp_path, "a", data)), smooth()) < 12


def test_unlisted_formats_are_not_decoded(tmp_path: Path) -> None:
    for kind in ("ICO", "TGA", "PCX", "JPEG2000", "SGI"):
        path = saved(tmp_path, "a.jpg", by_pillow(smooth(), kind))
        with pytest.raises(PictureError, match="expected JPEG"):
            read_picture(path)


def test_an_open_file_is_read_like_a_path() -> None:
    file = io.BytesIO(encoded(smooth(), ".png"))
    assert distance(read_picture(file, "standard input"), smooth()) == 0
    with pytest.raises(PictureError, match=r"^standard input: is empty"):
        read_picture(io.BytesIO(b""), "standard input")


# --- depth and channels ---


@pytest.mark.parametrize(
    ("made", "suffix"),
    [
        (smooth()[:, :, 0], ".png"),
        (smooth()[:, :, 0], ".jpg"),
        (smooth()[:, :, 0], ".pgm"),
        (smooth().astype(np.uint16) * 257, ".png"),
        (smooth()[:, :, 0].astype(np.uint16) * 257, ".png"),
        (smooth().astype(np.uint16) * 257, ".tiff"),
        (cv2.merge([smooth(), np.full((48, 64), 255, np.uint8)]), ".webp"),
    ],
    ids=["grey", "grey jpeg", "pgm", "16 bit", "16 bit grey", "16 bit tiff", "alpha webp"],
)
def test_any_depth_and_number_of_channels_becomes_8_bit_colour(
    tmp_path: Path, made: Any, suffix: str
) -> None:
    expected = cv2.merge([smooth()[:, :, 0]] * 3) if made.ndim == 2 else smooth()
    assert distance(read_picture(saved(tmp_path, f"a{suffix}", encoded(made, suffix))), expected) < 6


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm", ".ppm"])
@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("grey", [True, False], ids=["grey", "colour"])
def test_10_and_12_bits_in_a_16_bit_file_have_their_brightness(
    tmp_path: Path, suffix: str, bits: int, grey: bool
) -> None:
    grey = suffix == ".pgm" or (grey and suffix != ".ppm")
    eight = smooth()[:, :, 0] if grey else smooth()
    deep = (eight.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    image = read_picture(saved(tmp_path, "a", encoded(deep, suffix)))
    expected = cv2.merge([eight] * 3) if grey else eight
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_a_16_bit_picture_of_a_dim_room_stays_dim(tmp_path: Path) -> None:
    deep = smooth().astype(np.uint16) * 257 // 4
    image = read_picture(saved(tmp_path, "a.png", encoded(deep, ".png")))
    assert np.abs(image.astype(int) - smooth() / 4).max() <= 1


@pytest.mark.parametrize("largest", [1023, 4095, 16383])
def test_a_declared_largest_value_is_white(tmp_path: Path, largest: int) -> None:
    grey = smooth()[:, :, 0]
    samples = (grey.astype(np.uint32) * largest // 255).astype(">u2")
    pgm = saved(tmp_path, "a.pgm", b"P5 64 48 %d\n" % largest + samples.tobytes())
    tiff = saved(
        tmp_path, "a.tif", by_pillow(Pillow.fromarray(samples.astype("<u2")), "TIFF", tiffinfo={281: largest})
    )
    for path in (pgm, tiff):
        assert np.abs(read_picture(path)[:, :, 0].astype(int) - grey).max() <= 1


@pytest.mark.parametrize(
    ("ink", "blue_green_red"),
    [((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0)), ((0, 255, 255, 0), (0, 0, 255))],
    ids=["no ink", "black", "magenta and yellow"],
)
def test_a_cmyk_jpeg(tmp_path: Path, ink: tuple[int, int, int, int], blue_green_red: Any) -> None:
    image = read_picture(saved(tmp_path, "a.jpg", cmyk_jpeg(ink)))
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - blue_green_red).max() <= 3


def test_a_palette_gives_its_colours(tmp_path: Path) -> None:
    colours = Pillow.new("P", (8, 8), 1)
    colours.putpalette([0, 0, 0, 200, 100, 50])
    for kind in ("PNG", "GIF", "BMP"):
        assert (
            read_picture(saved(tmp_path, "a", by_pillow(colours, kind))).tolist()
            == [[[50, 100, 200]] * 8] * 8
        )


def swapped_profile() -> bytes:
    """A colour profile in which red and blue have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in (
        (b"rXYZ", b"tmp_"),
        (b"bXYZ", b"rXYZ"),
        (b"tmp_", b"bXYZ"),
        (b"\0s\0R\0G\0B", b"\0s\0w\0a\0p"),
    ):
        assert old in profile
        profile = profile.replace(old, new, 1)
    return profile


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_colour_profile_is_applied(tmp_path: Path, kind: str) -> None:
    data = by_pillow(smooth(), kind, icc_profile=swapped_profile())
    assert distance(read_picture(saved(tmp_path, "a", data)), smooth()[..., ::-1]) < 6
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (
        distance(read_picture(saved(tmp_path, "a", by_pillow(smooth(), kind, icc_profile=plain))), smooth())
        < 6
    )


def test_a_damaged_colour_profile_is_ignored_with_a_note(tmp_path: Path) -> None:
    broken = swapped_profile()[:200] + bytes(300)
    for profile in (broken, b"words"):
        still = read_still(saved(tmp_path, "a.png", by_pillow(smooth(), "PNG", icc_profile=profile)))
        assert distance(still.image, smooth()) == 0
        assert "colour profile is damaged" in still.notes[0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_white(tmp_path: Path, kind: str) -> None:
    clear = Pillow.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((10, 20, 30, 255), (0, 0, 4, 8))
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_picture(saved(tmp_path, "a", by_pillow(clear, kind, **options)))
    assert image[0, 0].tolist() == [30, 20, 10] and image[0, 7].tolist() == [255, 255, 255]


def test_unusual_pixel_formats_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.tif", by_pillow(Pillow.new("F", (8, 8), 0.5), "TIFF"))
    with pytest.raises(PictureError, match=r"a\.tif: .*expected 8 or 16 bits"):
        read_picture(path)


# --- which way is up ---


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda i: i),
        (2, lambda i: i[:, ::-1]),
        (3, lambda i: i[::-1, ::-1]),
        (4, lambda i: i[::-1]),
        (5, lambda i: np.swapaxes(i, 0, 1)),
        (6, lambda i: np.rot90(i, -1)),
        (7, lambda i: np.rot90(np.swapaxes(i, 0, 1), 2)),
        (8, np.rot90),
    ],
)
def test_a_picture_is_rotated_by_its_exif_orientation(
    tmp_path: Path, orientation: int, turned: Callable[[Image], Image]
) -> None:
    entry = Pillow.Exif()
    entry[274] = orientation
    expected = turned(smooth())
    files = {"JPEG": with_orientation(encoded(smooth(), ".jpg"), orientation)}
    files |= {
        kind: by_pillow(smooth(), kind, exif=entry.tobytes()) for kind in ("PNG", "WEBP", "AVIF", "TIFF")
    }
    files["TIFF LZW"] = by_pillow(smooth(), "TIFF", exif=entry.tobytes(), compression="tiff_lzw")
    for kind, data in files.items():
        assert distance(read_picture(saved(tmp_path, kind, data)), expected) < 6, kind


@pytest.mark.parametrize(
    "broken",
    [
        b"\xff\xff\xff\x7f" + bytes(20),
        struct.pack("<IHHHI4s", 8, 1, 0x0112, 2, 2, b"x") + bytes(4),
    ],
    ids=["no directory", "the orientation is text"],
)
def test_a_picture_with_damaged_exif_data_is_read_with_a_note(tmp_path: Path, broken: bytes) -> None:
    jpeg, broken = encoded(smooth(), ".jpg"), b"Exif\0\0II*\0" + broken
    data = jpeg[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(broken) + 2) + broken + jpeg[2:]
    still = read_still(saved(tmp_path, "a.jpg", data))
    assert distance(still.image, smooth()) < 6
    [note] = still.notes
    assert "EXIF" in note


# --- HEIC ---


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_tiled_heic_is_read_completely_and_upright(tmp_path: Path, quarters: int) -> None:
    data = heic(tmp_path, smooth(256, 128), quarters=quarters)
    assert picture_format(data) == "HEIF"
    still = read_still(saved(tmp_path, "IMG_0001.HEIC", data))
    assert distance(still.image, np.rot90(smooth(256, 128), quarters)) < 6
    assert still.notes == ()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8, 0.99])
def test_a_truncated_heic_is_not_read_in_part(tmp_path: Path, share: float) -> None:
    data = heic(tmp_path, noise(256, 128))
    with pytest.raises(PictureError, match="truncated"):
        read_picture(saved(tmp_path, "a.heic", data[: int(len(data) * share)]))


def test_a_heic_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    data = heic(tmp_path, smooth(256, 128))
    size, huge = struct.pack(">II", 256, 128), struct.pack(">II", 20_000, 10_000)
    assert size in data
    with pytest.raises(PictureError, match="20000x10000 pixels"):
        read_picture(saved(tmp_path, "a.heic", data.replace(size, huge)))


def test_a_heic_with_an_unsupported_codec(tmp_path: Path) -> None:
    data = heic(tmp_path, smooth(256, 128)).replace(b"hvc1", b"vvc1").replace(b"hvcC", b"vvcC")
    with pytest.raises(PictureError, match=r"a\.heic: .*expected"):
        read_picture(saved(tmp_path, "a.heic", data))


# --- more than one picture in a file ---


def frames(count: int) -> list[Pillow.Image]:
    return [Pillow.new("RGB", (20, 10), (80 * n, 0, 0)) for n in range(count)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_several_frames_are_an_animation(kind: str) -> None:
    first, *others = frames(3)
    many = by_pillow(first, kind, save_all=True, append_images=others, duration=100)
    assert is_animation(io.BytesIO(many), "a")
    assert not is_animation(io.BytesIO(by_pillow(first, kind)), "a")
    still = read_still(io.BytesIO(many), "a")
    assert still.image.shape == (10, 20, 3) and still.notes == (
        "has more than one picture; only the first is read",
    )


def test_pages_are_not_an_animation_but_are_noted(tmp_path: Path) -> None:
    first, *others = frames(2)
    path = saved(tmp_path, "a.tif", by_pillow(first, "TIFF", save_all=True, append_images=others))
    with path.open("rb") as file:
        assert not is_animation(file, "a")
    assert read_still(path).notes == ("has more than one picture; only the first is read",)
    assert read_still(saved(tmp_path, "b.tif", by_pillow(first, "TIFF"))).notes == ()


def test_a_raw_stream_of_jpegs_is_noted(tmp_path: Path) -> None:
    jpeg = encoded(smooth(), ".jpg")
    still = read_still(saved(tmp_path, "a.mjpeg", jpeg * 3))
    assert distance(still.image, smooth()) < 6
    assert still.notes == ("has more than one picture; only the first is read",)


def test_the_second_picture_in_a_phones_jpeg_is_not_a_page(tmp_path: Path) -> None:
    first, *others = frames(2)
    path = saved(tmp_path, "a.jpg", by_pillow(first, "MPO", save_all=True, append_images=others))
    still = read_still(path)
    assert still.notes == () and still.image.shape == (10, 20, 3)


def test_a_picture_with_appended_data(tmp_path: Path) -> None:
    # Phones append a video to their pictures; its bytes may look like the beginning of a scan.
    for suffix, more in ((".jpg", b"ftypmp42 \xff\xda video"), (".png", bytes(5000))):
        data = encoded(smooth(), suffix) + more
        assert distance(read_picture(saved(tmp_path, "a", data)), smooth()) < 6


def test_a_warning_of_the_decoder_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = Pillow.Image.convert

    def complaining(*arguments: Any) -> Pillow.Image:
        warnings.warn("odd\nbytes", stacklevel=2)
        return convert(*arguments)

    monkeypatch.setattr(Pillow.Image, "convert", complaining)
    still = read_still(saved(tmp_path, "a.jpg", encoded(smooth(), ".jpg")))
    assert still.notes == ("was read, but its decoder reported: odd bytes",)


def damaged(jpeg: bytes) -> bytes:
    """The same JPEG without a part of its entropy-coded data; it still has all its markers."""
    middle = (jpeg.index(b"\xff\xda") + len(jpeg)) // 2
    return jpeg[: middle - 32] + jpeg[middle + 32 :]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_a_jpeg_with_inner_damage_is_read_with_a_note(tmp_path: Path, options: dict[str, Any]) -> None:
    data = by_pillow(noise(320, 240), "JPEG", **options)
    assert read_still(saved(tmp_path, "sound.jpg", data)).notes == ()
    still = read_still(saved(tmp_path, "damaged.jpg", damaged(data)))
    assert still.image.shape == (240, 320, 3)
    (note,) = still.notes
    assert note.startswith("was read, but its decoder reported: Corrupt JPEG data: ")


def test_inner_damage_is_noted_in_an_open_file_too(tmp_path: Path) -> None:
    still = read_still(io.BytesIO(damaged(by_pillow(noise(320, 240), "JPEG"))), "standard input")
    assert "Corrupt JPEG data" in still.notes[0]


def test_the_first_picture_of_a_phones_jpeg_is_checked_for_damage(tmp_path: Path) -> None:
    first, second = Pillow.fromarray(noise(320, 240)), Pillow.new("RGB", (32, 24))
    data = by_pillow(first, "MPO", save_all=True, append_images=[second])
    assert read_still(saved(tmp_path, "sound.jpg", data)).notes == ()
    start = data.index(b"\xff\xda") + 5000
    broken = data[:start] + bytes(64) + data[start + 64 :]  # same length: the second picture stays in place
    assert "Corrupt JPEG data" in read_still(saved(tmp_path, "damaged.jpg", broken)).notes[0]


def test_an_intact_jpeg_that_only_the_second_decoder_cannot_read_has_no_note(tmp_path: Path) -> None:
    data = bytearray(cmyk_jpeg((127, 127, 127, 127)))  # 16 blocks that are all the same
    frame = data.index(b"\xff\xc0")
    data[frame + 7 : frame + 9] = struct.pack(">H", 32)
    # A layout that TurboJPEG does not know: eight blocks for each 16 by 16 pixels, so 32 by 16 take all 16.
    for component, sampling in enumerate((0x22, 0x11, 0x11, 0x21)):
        data[frame + 11 + 3 * component] = sampling
    still = read_still(saved(tmp_path, "a.jpg", bytes(data)))
    assert still.image.shape == (16, 32, 3) and still.notes == ()


# --- what cannot be read ---


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF"])
def test_a_truncated_picture(tmp_path: Path, kind: str, share: float) -> None:
    data = by_pillow(noise(64, 48), kind)
    path = saved(tmp_path, "a.jpg", data[: int(len(data) * share)])
    with pytest.raises(PictureError, match="truncated") as caught:
        read_picture(path)
    assert str(caught.value).startswith(f"{path}: ") and "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.4, 0.95])
def test_a_tiff_truncated_after_its_directory(tmp_path: Path, share: float) -> None:
    data = tiff_with_directory_in_front(noise(64, 48))
    assert read_picture(saved(tmp_path, "whole.tif", data)).shape == (48, 64, 3)
    with pytest.raises(PictureError, match="truncated"):
        read_picture(saved(tmp_path, "cut.tif", data[: int(len(data) * share)]))


def test_a_truncated_progressive_jpeg(tmp_path: Path) -> None:
    data = by_pillow(noise(64, 48), "JPEG", progressive=True)
    with pytest.raises(PictureError, match="truncated"):
        read_picture(saved(tmp_path, "a.jpg", data[: len(data) // 2]))


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"", "is empty"), (b"this is no picture", "not a picture"), (b"\xff\xd8", "truncated")],
    ids=["empty", "text", "two bytes"],
)
def test_a_file_that_is_not_a_picture(tmp_path: Path, content: bytes, named: str) -> None:
    path = saved(tmp_path, "a.jpg", content)
    with pytest.raises(PictureError, match=named) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.jpg", "folder.jpg"])
def test_a_picture_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / name)


def png_head(width: int, height: int) -> bytes:
    """The head of a PNG that states this size, with almost nothing after it."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR" + head) + chunk(b"IDAT" + zlib.compress(bytes(99)))


def bmp_head(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "data",
    [png_head(60_000, 60_000), png_head(16_001, 10_000), bmp_head(30_000, 30_000), b"P5 20000 9000 255\n"],
    ids=["png", "just over the limit", "bmp", "pgm"],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PictureError, match=r"a\.png: has \d+x\d+ pixels; expected at most 160 megapixels"):
        read_picture(saved(tmp_path, "a.png", data))


def test_a_large_picture_below_the_limit_has_no_note(tmp_path: Path) -> None:
    assert (
        read_still(saved(tmp_path, "a.png", by_pillow(Pillow.new("1", (12_000, 9_000)), "PNG"))).notes == ()
    )


def test_avif_without_a_decoder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, "a.avif", by_pillow(smooth(), "AVIF"))
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(PictureError, match="no AVIF decoder; install Pillow"):
        read_picture(path)


def test_a_cameras_raw_file_is_not_read_as_its_preview(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.nef", by_pillow(smooth(), "TIFF", tiffinfo={254: 1}))
    with pytest.raises(PictureError, match="raw file"):
        read_picture(path)
