"""A drive with a write cache that a power cut empties: a plugin for nbdkit, which serves it to the machine.

`nbdkit python drive.py image=FILE seed=N told=FILE`. What is written is only in this process's memory, as in
the memory of a drive, until the machine requests a flush. Meanwhile a few sectors, chosen at random, reach
the image in any order. So after a cut the disk has the flushed state with any of the later writes, and not a
state that ever existed. SIGKILL is the power cut: the cache is lost; `told` has the number of lost sectors.
Runs in nbdkit's own Python, with the standard library only.

Killing the emulator alone is not enough: it loses the machine's memory, but with any cache mode of the
emulator, what the machine wrote to its disk is in the host's memory and survives. `cache=unsafe` is no model
either: there a flush means nothing, so no program could pass.

Not used: dm-flakey and dm-log-writes (modules that the host may lack, and they drop writes of one device, not
the memory of the machine), and a snapshot at the moment of the cut (the host's view, where every write counts
as done).
"""

from __future__ import annotations

import os
import random
from typing import Any

import nbdkit

API_VERSION = 2
SECTOR = 512
SHARE = 0.05
"""The share of the cached sectors that reaches the image with each write."""

settings: dict[str, str] = {}
cached: dict[int, bytes] = {}
chance = random.Random()


def config(key: str, value: str) -> None:
    settings[key] = value


def get_ready() -> None:
    chance.seed(int(settings["seed"]))


def open(readonly: bool) -> Any:
    return os.open(settings["image"], os.O_RDWR), os.open(settings["told"], os.O_RDWR | os.O_CREAT, 0o600)


def get_size(handle: Any) -> int:
    return os.fstat(handle[0]).st_size


def can_multi_conn(handle: Any) -> bool:
    return True


def can_fua(handle: Any) -> int:
    return int(nbdkit.FUA_EMULATE)


def block_size(handle: Any) -> tuple[int, int, int]:
    return SECTOR, 4096, 0xFFFFFFFF


def pread(handle: Any, buffer: Any, offset: int, flags: int) -> None:
    """The newest content of every sector, cached or not."""
    buffer[:] = os.pread(handle[0], len(buffer), offset)
    first = offset // SECTOR
    for number in range(len(buffer) // SECTOR):
        newer = cached.get(first + number)
        if newer is not None:
            buffer[number * SECTOR : (number + 1) * SECTOR] = newer


def pwrite(handle: Any, buffer: Any, offset: int, flags: int) -> None:
    """Write to the cache; then write a few random sectors of it to the image."""
    data, first = bytes(buffer), offset // SECTOR
    for number in range(len(data) // SECTOR):
        cached[first + number] = data[number * SECTOR : (number + 1) * SECTOR]
    for sector in chance.sample(sorted(cached), int(len(cached) * SHARE)):
        os.pwrite(handle[0], cached.pop(sector), sector * SECTOR)
    _write_count(handle)


def flush(handle: Any, flags: int) -> None:
    """Write the cache to the image. From then on a power cut loses none of it."""
    for sector in sorted(cached):
        os.pwrite(handle[0], cached[sector], sector * SECTOR)
    cached.clear()
    _write_count(handle)


def _write_count(handle: Any) -> None:
    os.pwrite(handle[1], b"%12d" % len(cached), 0)
