"""Files put in place whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, partial: str = ".{}.new") -> Iterator[Path]:
    """A name beside `path` for what takes its place at the end of the block.

    If anything fails, nothing of it stays and `path` is as it was. `partial`: its name, {} for `path`'s.
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
