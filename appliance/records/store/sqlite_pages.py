"""Reads the rows of each page of a SQLite file separately, so that damage elsewhere does not matter.

SQLite finds a page through its parent page; if the parent is damaged, all pages below it are lost. Here every
page is read independently, in the file and then in its write-ahead log. The format:
https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = 4096
"""Bytes of a page: the default of SQLite, which the records have always used."""

_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 0x0D, 0x0A, 0x02
_WAL_HEADER, _FRAME_HEADER = 32, 24
_FILE_HEADER = 100  # on the first page, before its tree

Record = tuple[bool, list[Any]]
"""Whether it belongs to a table with row ids (not to an index or a table without them), and its values."""


def records(path: Path) -> Iterator[list[Record]]:
    """The records of each page, first of the file, then of its log. Raises `OSError`."""
    with path.open("rb") as file:
        number = 0
        while page := file.read(PAGE):
            yield list(_records(page.ljust(PAGE, b"\0"), _FILE_HEADER if number == 0 else 0, path))
            number += 1
    log = path.with_name(path.name + "-wal")
    if log.is_file():
        with log.open("rb") as file:
            salts = file.read(_WAL_HEADER)[16:24]
            while len(frame := file.read(_FRAME_HEADER + PAGE)) == _FRAME_HEADER + PAGE:
                if frame[8:16] == salts:  # otherwise it belongs to an earlier log
                    first = int.from_bytes(frame[:4], "big") == 1
                    yield list(_records(frame[_FRAME_HEADER:], _FILE_HEADER if first else 0, path))


def _records(page: bytes, start: int, path: Path) -> Iterator[Record]:
    kind = page[start]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    cells = start + (12 if kind == _INDEX_INNER else 8)
    for place in range(cells, min(cells + 2 * count, PAGE - 1), 2):
        at = int.from_bytes(page[place : place + 2], "big")
        try:
            yield kind == _TABLE_LEAF, _cell(page, at, kind, path)
        except (IndexError, ValueError, OSError, struct.error):
            continue  # this one is damaged


def _cell(page: bytes, at: int, kind: int, path: Path) -> list[Any]:
    if kind == _INDEX_INNER:
        at += 4
    size, at = _varint(page, at)
    if kind == _TABLE_LEAF:
        _, at = _varint(page, at)
    if size > 2**20:
        raise ValueError("the row is longer than any row of the appliance")
    local = _local_bytes(size, kind == _TABLE_LEAF)
    payload = page[at : at + local]
    if local < size:
        payload += _overflow(path, int.from_bytes(page[at + local : at + local + 4], "big"), size - local)
    if len(payload) != size:
        raise ValueError("the row extends beyond its page")
    return _values(payload)


def _local_bytes(size: int, is_table: bool) -> int:
    most = PAGE - 35 if is_table else (PAGE - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (PAGE - 12) * 32 // 255 - 23
    local = least + (size - least) % (PAGE - 4)
    return local if local <= most else least


def _overflow(path: Path, number: int, size: int) -> bytes:
    """The rest of a long row, only from the file: its pages in the log are not searched."""
    content = b""
    with path.open("rb") as file:
        while number and len(content) < size:
            file.seek((number - 1) * PAGE)
            page = file.read(PAGE)
            if len(page) < PAGE:
                raise ValueError("the row extends beyond the file")
            number, content = int.from_bytes(page[:4], "big"), content + page[4:]
    return content[:size]


def _values(payload: bytes) -> list[Any]:
    length, at = _varint(payload, 0)
    place, found = length, []
    while at < length:
        kind, at = _varint(payload, at)
        value, place = _value(payload, kind, place)
        found.append(value)
    if at != length or place != len(payload):
        raise ValueError("the header does not match the length")
    return found


def _value(payload: bytes, kind: int, at: int) -> tuple[Any, int]:
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in (0, 8, 9):
        return (None, 0, 1)[max(0, kind - 7)], at
    if kind < 7:
        size = (0, 1, 2, 3, 4, 6, 8)[kind]
        return int.from_bytes(payload[at : at + size], "big", signed=True), at + size
    if kind < 12:
        raise ValueError(f"a value of kind {kind}")
    size = (kind - 12) // 2
    raw = payload[at : at + size]
    return (raw.decode("utf-8", "replace") if kind % 2 else raw), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number in range(9):
        byte = data[at + number]
        if number == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    raise ValueError("not a number")
