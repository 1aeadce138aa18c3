"""Which files are pictures and videos, by their content; folders in natural order; pipes."""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from appliance.errors import PictureError
from appliance.media.animation import Animation
from appliance.media.stills import HEAD_BYTES, Still, is_animation, picture_format, read_head, read_still
from appliance.media.video import Video

STDIN = Path("/dev/stdin")
"""What `-` on the command line stands for."""

HIDDEN, OTHER, SPECIAL, SUBFOLDER, LINK = (
    "hidden",
    "neither a picture nor a video",
    "not a regular file",
    "sub-folder (--recursive reads it)",
    "link to a folder",
)
"""Why an entry of a folder is skipped."""

EXPECTED = (
    "expected a picture (JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC, AVIF)"
    " or a video (MP4, MOV, MKV, WebM, AVI, MPEG)"
)

_NAMES = (
    *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"),
    *(".pgm", ".ppm", ".pbm", ".pnm"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".dv"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".h264", ".h265", ".hevc"),
)
"""In a folder a file with such a name that is neither is a failed input, not a skipped one."""

_OTHER_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"crx ")
"""Sound, and a camera's raw pictures, in the container of MP4."""

_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x1f\x07\0",  # DV
    b"YUV4MPEG2",
    b"DKIF",
)
_TS_PACKETS, _TS_IN_A_ROW = (188, 192, 204), 5

_IN_MEMORY_BYTES = 64 << 20
_MOST_BYTES = 8 << 30
_BLOCK_BYTES = 1 << 20


@dataclass
class Listing:
    """The files to read, in order; how many entries were skipped, by reason; what could not be listed."""

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: list[PictureError] = field(default_factory=list)


def name_of(path: Path) -> str:
    """What a message calls an input."""
    return "standard input" if path == STDIN else str(path)


def list_inputs(paths: Sequence[Path], *, recursive: bool = False) -> Listing:
    """Each path as it is given; instead of a folder the pictures and videos in it, in natural order."""
    listing = Listing()
    for path in paths:
        if os.path.isdir(path):  # unlike Path.is_dir it is False, not an error, where nothing may be seen
            _add_folder(path, recursive, listing)
        else:
            listing.files.append(path)
    return listing


def list_folder(folder: Path, *, recursive: bool = False) -> Listing:
    """The pictures and videos of a folder in natural order; raises `PictureError` when it cannot be read."""
    listing = Listing()
    walked = _walk(folder, recursive, listing)
    listing.files += [path for path in walked if _is_input(path, listing)]
    return listing


def is_video(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a video of a kind that can be read."""
    if head[4:8] in _MOV_BOXES and (head[0] == 0 or head[4:8] == b"mdat"):  # no other box begins as text does
        return head[8:12] not in _OTHER_BRANDS and picture_format(head) is None
    if start := re.match(rb"\x00{2,3}\x01", head):
        return head[start.end() : start.end() + 1] not in (b"", b"\0")  # an icon has a zero there
    is_avi = head.startswith(b"RIFF") and head[8:12] == b"AVI "
    return is_avi or head.startswith(_VIDEO_STARTS) or _is_transport_stream(head)


def natural_key(name: str) -> list[tuple[str, int]]:
    """Sorts frame2 before frame10, and capital letters among the small ones."""
    pairs = re.findall(r"([^0-9]*)([0-9]*)", name.casefold())
    return [*((text, int(number or -1)) for text, number in pairs), (name, 0)]


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file as it is; anything else is kept until its end is reached. Raises `PictureError`.

    It is kept in memory, and beyond 64 MiB in a temporary file that has no name and ends with the process.
    """
    name = name_of(path)
    try:
        if path != STDIN and _is_device(path.stat().st_mode):  # reading one may switch a camera on
            raise PictureError(f"{name}: is a device; {EXPECTED}")
        with open(os.dup(0), "rb") if path == STDIN else path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and file.tell() == 0:
                _refuse_empty(file.peek(1), name)
                yield file
            elif file.isatty():
                raise PictureError(f"{name}: is a terminal; send a picture or a video through a pipe")
            else:
                with _kept(file, name) as kept:
                    yield kept
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror or error}); {EXPECTED}") from error


def is_picture(path: Path) -> bool:
    """Whether a file is a picture that can be read; an animated one is a video."""
    with opened(path) as file:
        return picture_format(read_head(file)) is not None and not is_animation(file, name_of(path))


def open_video(file: BinaryIO, name: str, fps: float | None = None) -> Video | Animation:
    """A seekable file that is no still picture, as a video; raises `PictureError`. `fps` as in `Video`."""
    head = read_head(file)
    if picture_format(head) is not None:
        return Animation(file, name)
    try:
        return Video(file, fps=fps, name=name)
    except PictureError as error:
        if is_video(head):
            raise
        raise neither(name) from error


def read_still_of(path: Path) -> Still:
    """A file that must be a picture; raises `PictureError`, for a video too."""
    with opened(path) as file:
        if is_video(read_head(file)):
            raise PictureError(f"{name_of(path)}: is a video; expected a picture, take frames out of it")
        return read_still(file, name_of(path))


def _add_folder(folder: Path, recursive: bool, listing: Listing) -> None:
    try:
        found = list_folder(folder, recursive=recursive)
    except PictureError as error:
        listing.failed.append(error)
        return
    listing.files += found.files
    listing.skipped += found.skipped
    listing.failed += found.failed
    if not found.files and not found.failed:
        listing.failed.append(nothing_in(folder, found))


def nothing_in(folder: Path, listing: Listing) -> PictureError:
    """That a folder has nothing to read, and what it has instead."""
    why = f" (skipped: {skipped_words(listing.skipped)})" if listing.skipped else ""
    return PictureError(f"{folder}: no pictures and no videos in this folder{why}; {EXPECTED}")


def neither(name: str) -> PictureError:
    """That an input is nothing that can be read."""
    return PictureError(f"{name}: is neither a picture nor a video that can be read; {EXPECTED}")


def skipped_words(skipped: Counter[str]) -> str:
    """How many were skipped, by reason."""
    return ", ".join(f"{count} {reason}" for reason, count in skipped.items())


def _walk(folder: Path, recursive: bool, listing: Listing) -> Iterator[Path]:
    """Every file below, in natural order. Links to folders may lead round in a circle, or to anywhere."""
    waiting = _entries(folder)[::-1]
    while waiting:
        path = waiting.pop()
        if path.name.startswith("."):
            listing.skipped[HIDDEN] += 1
        elif not os.path.isdir(path):
            yield path
        elif path.is_symlink():
            listing.skipped[LINK] += 1
        elif not recursive:
            listing.skipped[SUBFOLDER] += 1
        else:
            try:
                waiting += _entries(path)[::-1]
            except PictureError as error:
                listing.failed.append(error)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read ({error.strerror}); expected a folder") from error


def _is_input(path: Path, listing: Listing) -> bool:
    """Whether to read an entry of a folder; counts it as skipped if not."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            listing.skipped[SPECIAL] += 1
            return False
        if path.name.lower().endswith(_NAMES):
            return True
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return True  # reading it will say why it cannot be read
    if picture_format(head) or is_video(head):
        return True
    listing.skipped[OTHER] += 1
    return False


def _is_transport_stream(head: bytes) -> bool:
    """Whether marks of packets follow each other; the first may lie anywhere, as in what was cut out."""
    return any(
        all(head[start + n * length : start + n * length + 1] == b"\x47" for n in range(_TS_IN_A_ROW))
        for length in _TS_PACKETS
        for start in range(length)
    )


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _refuse_empty(data: bytes, name: str) -> None:
    if not data:
        raise PictureError(f"{name}: is empty; {EXPECTED}")


@contextmanager
def _kept(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    head = stream.read(HEAD_BYTES)
    _refuse_empty(head, name)
    if not (picture_format(head) or is_video(head)):  # it may have no end
        raise neither(name)
    kept: BinaryIO = io.BytesIO()
    try:
        block = head
        while block:
            size = kept.tell() + len(block)
            if size > _MOST_BYTES:
                raise PictureError(f"{name}: is longer than {_MOST_BYTES >> 30} GiB; save it as a file")
            if size > _IN_MEMORY_BYTES and isinstance(kept, io.BytesIO):
                held = kept
                kept = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
                kept.write(held.getbuffer())
            kept.write(block)
            block = stream.read(_BLOCK_BYTES)
        kept.seek(0)
        yield kept
    finally:
        kept.close()
