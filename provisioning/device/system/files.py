"""Atomic replacement of files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, partial: str = ".{}.new") -> Iterator[Path]:
    """Yield a path next to `path`; what is written there replaces `path` at the end of the block.

    On an error it is removed and `path` is unchanged. `partial`: its name, with {} for that of `path`.
    """
    new = path.with_name(partial.format(path.name))
    new.unlink(missing_ok=True)
    try:
        yield new
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
