"""Inputs: pictures and videos recognised by their content, folders in natural order, and pipes.

The decoders of pictures and of videos are slow to load, so a function imports only those that its file needs.
"""

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
from typing import TYPE_CHECKING, BinaryIO

from appliance.errors import PictureError
from appliance.media.formats import HEAD_BYTES, is_video, picture_format, read_head

if TYPE_CHECKING:
    from appliance.media.animation import Animation
    from appliance.media.stills import Still
    from appliance.media.video import Video

STDIN = Path("/dev/stdin")
"""The path that `-` on the command line means."""

HIDDEN, OTHER, SPECIAL, SUBFOLDER, LINK = (
    "hidden",
    "neither a picture nor a video",
    "not a regular file",
    "sub-folder (--recursive reads it)",
    "link to a folder",
)
"""Reasons for skipping an entry of a folder."""

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
"""A file in a folder with such a name fails, rather than being skipped, if it is neither."""

_IN_MEMORY_BYTES = 64 << 20
_MOST_BYTES = 8 << 30
_BLOCK_BYTES = 1 << 20


@dataclass
class Listing:
    """The files to read, in order; the number of skipped entries by reason; the errors of listing."""

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: list[PictureError] = field(default_factory=list)


def display_name(path: Path) -> str:
    """The name of an input in messages."""
    return "standard input" if path == STDIN else str(path)


def list_inputs(paths: Sequence[Path], *, recursive: bool = False) -> Listing:
    """List the inputs: each path as given, and for a folder its pictures and videos in natural order."""
    listing = Listing()
    for path in paths:
        if os.path.isdir(path):  # without permission it is False, where Path.is_dir raises
            _add_folder(path, recursive, listing)
        else:
            listing.files.append(path)
    return listing


def list_folder(folder: Path, *, recursive: bool = False) -> Listing:
    """List the pictures and videos of a folder in natural order; raises `PictureError` if unreadable."""
    listing = Listing()
    walked = _walk(folder, recursive, listing)
    listing.files += [path for path in walked if _is_input(path, listing)]
    return listing


def natural_key(name: str) -> list[tuple[str, int]]:
    """A sort key: frame2 before frame10, ignoring case."""
    pairs = re.findall(r"([^0-9]*)([0-9]*)", name.casefold())
    return [*((text, int(number or -1)) for text, number in pairs), (name, 0)]


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open an input: a regular file directly; anything else is first read completely. Raises `PictureError`.

    It is kept in memory, or beyond 64 MiB in an unnamed temporary file, which never outlives the process.
    """
    name = display_name(path)
    try:
        if path != STDIN and _is_device(path.stat().st_mode):  # reading one may turn on a camera
            raise PictureError(f"{name}: is a device; {EXPECTED}")
        with open(os.dup(0), "rb") if path == STDIN else path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and file.tell() == 0:
                _refuse_empty(file.peek(1), name)
                yield file
            elif file.isatty():
                raise PictureError(f"{name}: is a terminal; send a picture or a video through a pipe")
            else:
                with _buffered(file, name) as kept:
                    yield kept
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror or error}); {EXPECTED}") from error


def is_picture(path: Path) -> bool:
    """Whether a file is a still picture; an animated one is a video."""
    with open_input(path) as file:
        return is_still(file, display_name(path))


def is_still(file: BinaryIO, name: str) -> bool:
    """As `is_picture`, for an open, seekable file. Raises `PictureError`."""
    if picture_format(read_head(file)) is None:
        return False
    from appliance.media.stills import is_animation

    return not is_animation(file, name)


def open_video(
    file: BinaryIO, name: str, fps: float | None = None, *, live: bool = False
) -> Video | Animation:
    """Open a seekable file that is not a still picture; raises `PictureError`. `fps`, `live`: see `Video`."""
    head = read_head(file)
    if picture_format(head) is not None:
        from appliance.media.animation import Animation

        return Animation(file, name)
    from appliance.media.video import Video

    try:
        return Video(file, fps=fps, name=name, live=live)
    except PictureError as error:
        if is_video(head):
            raise
        raise unreadable_error(name) from error


def read_still_of(path: Path) -> Still:
    """Read a file that must be a picture; raises `PictureError`, also for a video."""
    with open_input(path) as file:
        if is_video(read_head(file)):
            raise PictureError(f"{display_name(path)}: is a video; expected a picture: extract its frames")
        from appliance.media.stills import read_still

        return read_still(file, display_name(path))


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
        listing.failed.append(empty_folder_error(folder, found))


def empty_folder_error(folder: Path, listing: Listing) -> PictureError:
    """The error for a folder without inputs; it names what was skipped."""
    why = f" (skipped: {describe_skipped(listing.skipped)})" if listing.skipped else ""
    return PictureError(f"{folder}: no pictures or videos in this folder{why}; {EXPECTED}")


def unreadable_error(name: str) -> PictureError:
    """The error for an input that is neither a picture nor a video."""
    return PictureError(f"{name}: is neither a picture nor a video in a supported format; {EXPECTED}")


def describe_skipped(skipped: Counter[str]) -> str:
    """The number of skipped entries by reason, in words."""
    return ", ".join(f"{count} {reason}" for reason, count in skipped.items())


def _walk(folder: Path, recursive: bool, listing: Listing) -> Iterator[Path]:
    """All files below a folder in natural order, except links to folders, which may be cyclic."""
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
    """Whether to read an entry of a folder; if not, it is counted as skipped."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            listing.skipped[SPECIAL] += 1
            return False
        if path.name.lower().endswith(_NAMES):
            return True
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return True  # reading it will report the error
    if picture_format(head) or is_video(head):
        return True
    listing.skipped[OTHER] += 1
    return False


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _refuse_empty(data: bytes, name: str) -> None:
    if not data:
        raise PictureError(f"{name}: is empty; {EXPECTED}")


@contextmanager
def _buffered(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    head = stream.read(HEAD_BYTES)
    _refuse_empty(head, name)
    if not (picture_format(head) or is_video(head)):  # it may have no end
        raise unreadable_error(name)
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
