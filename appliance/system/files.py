"""Writes files atomically, and checks folders."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from appliance.errors import StoreError

PRIVATE = 0o600


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically, synced to the disk, readable by its owner only; raises `StoreError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path, PRIVATE) as file:
            file.write(data)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); free some disk space or correct its permissions"
        ) from error


@contextmanager
def atomic_write(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file that replaces `path` at the end of the block, synced to the disk.

    If anything fails, it is removed and `path` is unchanged. `mode`: its permissions, minus the umask.
    Raises `OSError`.
    """
    partial = partial_path(path)
    partial.unlink(missing_ok=True)  # one left by a power cut may have other permissions
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def check_writable(folder: Path) -> None:
    """Raises `StoreError` if a state directory cannot be written; leaves nothing behind.

    A full disk is not an error here: it only stops recording.
    """
    made: list[Path] = []
    try:
        for place in reversed([folder, *folder.parents]):
            if not place.is_dir():
                place.mkdir(0o700)
                made.append(place)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        raise StoreError(
            f"state directory {folder}: cannot be written ({error.strerror}); expected a folder that this"
            " user may write; correct its permissions or its disk, or choose another with --data-dir"
        ) from error
    finally:
        for place in reversed(made):
            with contextlib.suppress(OSError):
                place.rmdir()


def partial_path(path: Path) -> Path:
    """The path at which a file is written before it replaces `path`; a power cut may leave it behind."""
    return path.with_name(path.name + ".part")


def sync_directory(folder: Path) -> None:
    """Make created, renamed and removed entries of a directory durable; raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
