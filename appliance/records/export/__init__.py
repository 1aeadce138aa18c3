"""A recorded session as the content of a file: CSV, JSON or PDF.

The page, the data subject's link and the command line give the same content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.records import SessionRecord
from appliance.records.export.tables import as_csv, as_json

KINDS = ("csv", "json", "pdf")
"""The formats of an export."""

BLOCK_BYTES = 65536


def export_session(session: SessionRecord, kind: str) -> Iterator[bytes]:
    """A session as one of `KINDS`, in blocks: a day of eight people is a gigabyte of JSON.

    Raises `StoreError`, also between two blocks: the blocks before it are then no complete export.
    """
    if kind == "csv":
        return join_blocks(as_csv(session))
    if kind == "json":
        return join_blocks(as_json(session))
    from appliance.records.export.pdf import as_pdf  # slow to import, and rarely needed

    return iter([as_pdf(session)])


def join_blocks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Join many small pieces of text into few blocks of UTF-8."""
    held, size = list[str](), 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
