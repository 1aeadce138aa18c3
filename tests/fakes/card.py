"""A card for a state directory that turns read-only like a worn one: the kernel finds it damaged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machine import can_mount_image


@dataclass(frozen=True)
class Card:
    """A separate file system, mounted on a folder from a loop device."""

    device: str

    def turn_read_only(self) -> None:
        """Turn it read-only at once, even with files open for writing."""
        Path(f"/sys/fs/ext4/{Path(self.device).name}/trigger_fs_error").write_text("1")


@contextmanager
def mounted(folder: Path, image: Path) -> Iterator[Card]:
    """A card on an existing folder, removed afterwards; skips if it cannot be mounted. `image`: its file."""
    if not can_mount_image():
        pytest.skip("no right to mount an image")
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    _must("mkfs.ext4", "-q", str(image))
    _must("mount", "-o", "loop,errors=remount-ro", str(image), str(folder))
    try:
        yield Card(_must("findmnt", "--noheadings", "--output", "SOURCE", str(folder)).strip())
    finally:
        _must("umount", "--lazy", str(folder))


def _must(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
