"""A recorded session as the content of a file: the same from the page, the person's link and the shell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.records import Session
from appliance.records.export.tables import as_csv, as_json

KINDS = ("csv", "json", "pdf")
"""What a session can be exported as."""

BLOCK_BYTES = 65536


def exported(session: Session, kind: str) -> Iterator[bytes]:
    """A session as one of `KINDS`, in blocks: a day of eight people is a gigabyte of JSON.

    Raises `StoreError`, also between two blocks: what came before is no export then.
    """
    if kind == "csv":
        return in_blocks(as_csv(session))
    if kind == "json":
        return in_blocks(as_json(session))
    from appliance.records.export.pdf import as_pdf  # heavy, and few ask for it

    return iter([as_pdf(session)])


def in_blocks(pieces: Iterable[str]) -> Iterator[bytes]:
    """Many small pieces of text as few blocks of UTF-8."""
    held, size = list[str](), 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()
