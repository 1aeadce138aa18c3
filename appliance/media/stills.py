"""Reads still pictures with Pillow and pi-heif: an untrusted file reaches only the decoders listed here."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ImageCms, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin
from PIL import Image as Pillow

from appliance.errors import PictureError
from appliance.media.formats import FORMATS, picture_format, read_head
from appliance.system.native import MAX_PIXELS
from appliance.values import Image

EXPECTED = "expected JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC, AVIF, PGM or PPM"

_CUT_SHORT = "is truncated; expected a complete picture, copy it again"

_IN_BOXES = ("AVIF", "HEIF")
"""Formats in the MP4 container."""

_OF_PILLOW = tuple(name for name in FORMATS if name != "HEIF")
"""Pillow's own plugins that a file may reach."""

_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats in which several pictures are a video. In a TIFF they are pages, in a JPEG depth maps."""

_BAND = 64
"""Rows converted at a time: the largest picture must not be in memory three times."""

_BLOCK_BYTES = 1 << 20

_MOST_CHECKED_BYTES = 256 << 20
"""A larger JPEG file is not checked for inner damage: it is a stream of pictures or has an appended video."""

_WHITE = 255
"""Background of transparent areas, as on a page."""

_FULL = 65535
_DEPTHS = (1023, 4095)
"""White in 10 and 12 bits: a 16-bit picture that never exceeds one of these was stored unscaled."""

_WITH_PROFILE = ("RGB", "RGBA", "CMYK")
_SRGB = ImageCms.createProfile("sRGB")

_LOW_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_ORIENTATION, _SUBFILE, _INVERTED, _SAMPLE_BITS, _LARGEST, _DNG = 274, 254, 262, 258, 281, 50706

assert TiffImagePlugin and WebPImagePlugin  # imported to be registered; Pillow does not load them by default
Pillow.MAX_IMAGE_PIXELS = None  # `open_picture` has the limit


@dataclass(frozen=True)
class Still:
    """A decoded picture: uint8 blue-green-red, upright, shape (height, width, 3).

    `notes`: messages for the user: pages that were not read, warnings of the decoder.
    """

    image: Image
    notes: tuple[str, ...] = ()


def read_still(source: Path | BinaryIO, name: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Still:
    """Read a picture and its notes; the first of several frames or pages. Raises `PictureError`.

    `source`: a path or a seekable file; `name`: its name in messages. A picture with more pixels than
    `max_pixels` is refused before it is decoded.
    """
    name = name or str(source)
    with _opened(source, name) as file, picture_errors(file, name) as complaints:
        picture = open_picture(file, max_pixels)
        # Before Pillow decodes it, so that file and decoded picture are never in memory together.
        damage = _jpeg_damage(file) if picture.format in ("JPEG", "MPO") else None
        image = to_bgr(picture, file)
        notes = ["has more than one picture; only the first is read"] if _has_more(picture, file) else []
    return Still(image, (*notes, *map(decoder_note, [*([damage] if damage else []), *complaints])))


def _jpeg_damage(file: BinaryIO) -> str | None:
    """libjpeg's warning about the first picture of a JPEG file, or None.

    Pillow drops libjpeg's warnings, so the file is decoded once more, in grey and at an eighth of its size.
    """
    file.seek(0)
    data = file.read(_MOST_CHECKED_BYTES + 1)
    if len(data) > _MOST_CHECKED_BYTES:
        return None
    try:
        _decode_small(data, strict=True)
    except ValueError as error:
        words = " ".join(str(error).split())
    else:
        return None
    try:
        _decode_small(data, strict=False)
    except ValueError:  # this decoder does not support the file, so it cannot tell whether it is damaged
        return None
    return words


def _decode_small(data: bytes, *, strict: bool) -> None:
    """Decode a JPEG at TurboJPEG's lowest resolution; raises `ValueError`, if `strict` also for a warning."""
    simplejpeg.decode_jpeg(
        data,
        "GRAY",
        fastdct=True,
        fastupsample=True,
        min_height=1,
        min_width=1,
        min_factor=8,
        strict=strict,
    )


def _has_more(picture: Any, file: BinaryIO) -> bool:
    if picture.format == "JPEG":  # a raw stream of JPEGs, as webcams send it
        return _holds(file, b"\xff\xd9\xff\xd8\xff")
    return picture.format != "MPO" and int(getattr(picture, "n_frames", 1)) > 1


def _holds(file: BinaryIO, wanted: bytes) -> bool:
    file.seek(0)
    tail = b""
    while block := file.read(_BLOCK_BYTES):
        if wanted in tail + block:
            return True
        tail = block[-len(wanted) :]
    return False


def decoder_note(text: str) -> str:
    """The note for a message of a decoder."""
    return f"was read, but its decoder reported: {text}"


def is_animation(file: BinaryIO, name: str) -> bool:
    """Whether a picture file is animated: a GIF, WebP, PNG or AVIF with several frames."""
    if picture_format(read_head(file)) not in _ANIMATED:
        return False
    with picture_errors(file, name):
        return int(getattr(open_picture(file), "n_frames", 1)) > 1


@contextmanager
def _opened(source: Path | BinaryIO, name: str) -> Iterator[BinaryIO]:
    if not isinstance(source, Path):
        yield source
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror}); expected a picture") from error
    with file:
        yield file


@contextmanager
def picture_errors(file: BinaryIO, name: str) -> Iterator[list[str]]:
    """Turn Pillow's exceptions into `PictureError`, and collect its warnings in the list."""
    complaints: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield complaints
        except PictureError as error:
            raise PictureError(f"{name}: {error}") from error
        except Exception as error:  # Pillow may raise anything for a damaged file
            raise PictureError(f"{name}: {_fault(error, file)}") from error
        complaints += dict.fromkeys(" ".join(str(each.message).split()) for each in caught)


def _fault(error: Exception, file: BinaryIO) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than is available; expected a smaller picture"
    reason = "" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read ({error.strerror}); expected a picture"
    head = read_head(file)
    kind = picture_format(head)
    if kind is None:
        return f"is empty; {EXPECTED}" if not head else f"is not a picture in a supported format; {EXPECTED}"
    if kind == "AVIF" and not AvifImagePlugin.SUPPORTED:
        return "is AVIF, and this Pillow has no AVIF decoder; install Pillow 11.3 or newer from a wheel"
    if "truncated" in reason.lower():
        return _CUT_SHORT
    why = reason and f" ({reason})"
    return f"is {kind}, truncated or damaged{why}; expected a complete picture"


def open_picture(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> Any:
    """Open a picture with Pillow and check its size; nothing is decoded. Raises `PictureError`."""
    kind = picture_format(read_head(file))
    if kind in _IN_BOXES and _ends_within_a_box(file):
        raise PictureError(_CUT_SHORT)  # libheif would silently omit the missing tiles
    plugins = _with_heif() if kind == "HEIF" else _OF_PILLOW
    file.seek(0)
    picture = Pillow.open(file, formats=plugins)
    if picture.width * picture.height > max_pixels:
        raise PictureError(
            f"has {picture.width}x{picture.height} pixels; expected at most {max_pixels / 1e6:.3g} megapixels"
        )
    if picture.format == "TIFF":
        _refuse_raw(picture)
    return picture


def _with_heif() -> tuple[str, ...]:
    import pi_heif  # slow to load, and needed only for HEIC

    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return FORMATS


def _ends_within_a_box(file: BinaryIO) -> bool:
    """Whether a HEIC or AVIF file ends inside one of its boxes."""
    size, at = file.seek(0, os.SEEK_END), 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: up to the end of the file; others: appended data, not a box
            return False
        at += length
    return at > size


def _refuse_raw(picture: Any) -> None:
    tags = picture.tag_v2
    if _DNG in tags or tags.get(_SUBFILE, 0) & 1:
        raise PictureError(
            "is a camera raw file, of which only a small preview could be read; export it as JPEG"
        )


def to_bgr(picture: Any, file: BinaryIO) -> Image:
    """The current frame of an open picture as uint8 blue-green-red, upright, shape (height, width, 3)."""
    image = _colours(picture, file)
    return np.ascontiguousarray(_upright(image, _orientation(picture)))


def _colours(picture: Any, file: BinaryIO) -> Image:
    if picture.format == "PPM" and picture.tile[0].args == ("RGB", _FULL):
        picture.tile = [picture.tile[0]._replace(codec_name="raw", args="RGB;16B")]
    tiles = list(picture.tile)
    tags = dict(getattr(picture, "tag_v2", {}))
    is_scaled = picture.format == "PPM" and bool(tiles) and tiles[0].codec_name == "ppm"
    picture.load()
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        return _from_deep_grey(picture, tags, is_scaled)
    if picture.mode in ("I", "F", "LAB"):
        raise PictureError(
            f"has an unsupported pixel format ({picture.mode}); expected 8 or 16 bits per channel"
        )
    is_deep = picture.tell() == 0 and any(";16" in str(tile.args) for tile in tiles)
    if is_deep and _largest(picture) <= _DEPTHS[-1] >> 8:
        return _from_deep_colour(picture, _low_bytes(tiles, file))
    return _from_eight_bits(picture)


def _from_eight_bits(picture: Any) -> Image:
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    to_srgb = _colour_transform(picture)
    for top in range(0, picture.height, _BAND):
        below = min(top + _BAND, picture.height)
        band = picture.crop((0, top, picture.width, below))
        band = _on_white(to_srgb.apply(band) if to_srgb else band)
        out[top:below] = np.frombuffer(band.tobytes("raw", "BGR"), np.uint8).reshape(-1, picture.width, 3)
    return out


def _colour_transform(picture: Any) -> Any:
    """The transform from the picture's colour profile to sRGB (phones use Display P3), or None."""
    data = picture.info.get("icc_profile")
    if not data or picture.mode not in _WITH_PROFILE:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        of_file = profile.profile
        if of_file.xcolor_space.strip() not in picture.mode or "sRGB" in (of_file.profile_description or ""):
            return None
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        return ImageCms.buildTransform(profile, _SRGB, picture.mode, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        warnings.warn("the colour profile is damaged, and ignored", stacklevel=2)
        return None


def _on_white(part: Any) -> Any:
    if not part.has_transparency_data:
        return part.convert("RGB")
    page = Pillow.new("RGBA", part.size, (_WHITE, _WHITE, _WHITE, 255))
    page.alpha_composite(part.convert("RGBA"))
    return page.convert("RGB")


def _from_deep_grey(picture: Any, tags: dict[int, Any], is_scaled: bool) -> Image:
    values = np.asarray(picture)
    top = _FULL if is_scaled else _top(int(values.max(initial=0)), tags)
    grey = _eight_bits(values, top)
    if tags.get(_INVERTED) == 0:
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def _from_deep_colour(picture: Any, low: Any) -> Image:
    """A 16-bit colour picture: Pillow keeps the high bytes; `low` is decoded with the bytes swapped."""
    values = (np.asarray(picture).astype(np.uint16) << 8) | np.asarray(low)
    top = _top(int(values.max(initial=0)), {})
    eight = Pillow.fromarray(_eight_bits(values, top), picture.mode)
    eight.info = picture.info
    return _from_eight_bits(eight)


def _low_bytes(tiles: list[Any], file: BinaryIO) -> Any:
    picture = open_picture(file)
    picture.tile = [tile._replace(args=_swapped(tile.args)) for tile in tiles]
    picture.load()
    return picture


def _swapped(args: Any) -> Any:
    if isinstance(args, tuple):
        return (_swapped(args[0]), *args[1:])
    return re.sub(r";16([BLN])", lambda found: f";16{_LOW_BYTE[found[1]]}", args)


def _largest(picture: Any) -> int:
    return int(max(high for _, high in picture.getextrema()))


def _top(largest: int, tags: dict[int, Any]) -> int:
    """The value of white: as stated in the file, else 16 bits unless the picture fits into 10 or 12."""
    said = tags.get(_LARGEST) or 2 ** _first(tags.get(_SAMPLE_BITS, 16)) - 1
    said = _first(said)
    if largest <= said < _FULL:
        return int(said)
    return next((depth for depth in _DEPTHS if largest <= depth), _FULL)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _eight_bits(values: NDArray[Any], top: int) -> NDArray[np.uint8]:
    if top == _FULL:
        return (values >> 8).astype(np.uint8)
    return ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def _orientation(picture: Any) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # only the EXIF data is damaged: the picture itself can be read
        warnings.warn(f"the EXIF orientation cannot be read ({error})", stacklevel=2)
        return 1


def _upright(image: Image, orientation: int) -> Image:
    """The picture rotated and mirrored by its EXIF orientation, 1 to 8; any other value changes nothing."""
    if orientation in (2, 5, 7, 4):  # mirrored first, then turned
        image = image[:, ::-1]
    quarters = {3: 2, 4: 2, 5: 1, 8: 1, 6: 3, 7: 3}.get(orientation, 0)
    return np.rot90(image, quarters)
