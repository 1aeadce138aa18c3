"""Sets up native libraries before they are loaded, and keeps them quiet."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_PIXELS = 160_000_000
"""Larger pictures are refused before decoding: one of this size needs over a gigabyte."""

_MOST_HEARD = 4096
_M_ARENA_MAX = -8  # of malloc.h

_FOR_OPENCV = {
    "OPENCV_LOG_LEVEL": "OFF",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",
}


_MODULE = (
    "import sys; sys.path[:] = filter(None, sys.path); del sys.argv[0]; import runpy;"
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def self_command(module: str, *words: str) -> list[str]:
    """A command line that runs a module of this program, never one of the current folder."""
    return [sys.executable, "-c", _MODULE, module, *words]


def prepare() -> None:
    """Set what OpenCV reads only while it is loaded: limits, and no messages on standard error."""
    for name, value in _FOR_OPENCV.items():
        os.environ.setdefault(name, value)


def use_one_arena() -> None:
    """Let all threads allocate from one heap; before they start.

    The C library gives each thread its own, which keeps what the thread once used: several pictures each.
    Does nothing where the library has no such option.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def open_streams() -> bool:
    """Connect closed standard streams to the null device; returns whether standard output was open.

    Otherwise the next file or connection would get the number of a closed stream, and what native code and
    Python write to that stream.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    was_open = sys.stdout is not None
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    return was_open


@contextmanager
def native_limit(seconds: float) -> Iterator[None]:
    """If the block takes longer than `seconds`, print the stack of every thread and exit with 1.

    For vendors' calls that hold Python's global lock: while one hangs, no Python thread can detect it.
    """
    loud = os.dup(2)  # works while native output is quiet, too
    faulthandler.dump_traceback_later(seconds, exit=True, file=loud)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        os.close(loud)


@contextmanager
def quiet_native_output() -> Iterator[list[str]]:
    """Keep the output of native code off standard error; afterwards its lines are in the list.

    It silences the entire process meanwhile, so use it only while one thread runs: when loading a model or
    decoding a file of `analyze`.
    """
    sys.stderr.flush()
    lines: list[str] = []
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+", errors="replace") as heard:
        try:
            os.dup2(heard.fileno(), 2)
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.lseek(heard.fileno(), 0, os.SEEK_SET)
            lines += heard.read(_MOST_HEARD).splitlines()


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """As root, act as the owner of a state directory: the service must be able to read what is written."""
    if os.geteuid() != 0 or not folder.exists() or folder.stat().st_uid == 0:
        yield
        return
    owner, group = folder.stat(), os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
