"""Small files written whole or not at all, for their owner only."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import StoreError

PRIVATE = 0o600


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once, synced to the disk, with rights for its owner alone; raises `StoreError`."""
    partial = partial_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, PRIVATE)  # one left behind by a power cut may have had other rights
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); make room or correct its rights"
        ) from error


def partial_of(path: Path) -> Path:
    """Where a file is written before it gets its name; a power cut may leave it there."""
    return path.with_name(path.name + ".part")


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it stays so after a power cut; raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
