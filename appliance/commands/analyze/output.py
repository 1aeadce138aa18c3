"""Readings in words and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from appliance.system.terminal import escape_controls
from appliance.values import EMOTIONS

_BOX = ("box_x", "box_y", "box_width", "box_height")
_POSE = ("yaw", "pitch", "roll")
_MOVEMENT = ("head", "body", "nods", "shakes")
_OF_FRAME = ("source", "frame", "time_s", "width", "height")
_OF_FACE = ("id", "score", "analysed", "readable", "reason", "label", "dominant")

COLUMNS = (
    *_OF_FRAME,
    "id",
    *_BOX,
    *_OF_FACE[1:],
    *EMOTIONS,
    *(f"{name}_raw" for name in EMOTIONS),
    *_POSE,
    *_MOVEMENT,
)
"""The columns of a face in CSV. They keep their names and order; new ones are added at the end."""


def in_words(found: dict[str, Any]) -> str:
    """A reading, as `wire.reading_json` gives it, in one line to read."""
    faces = ", ".join(_face_in_words(face) for face in found["faces"])
    return f"{escape_controls(found['source'])} {found['time_s']:.2f} s: {faces or 'no face'}"


def as_rows(found: dict[str, Any]) -> Iterator[str]:
    """A reading as lines of CSV: one for each face, or one that has only the columns of the frame."""
    frame = {name: found[name] for name in _OF_FRAME}
    for face in found["faces"] or [{}]:
        row = frame | _flat(face)
        yield csv_line(_cell(row.get(name)) for name in COLUMNS)


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as one line of CSV, without its end; none of them is a formula to a spreadsheet."""
    out = io.StringIO()
    plain = [_plain(each) if isinstance(each, str) else each for each in cells]
    csv.writer(out, lineterminator="").writerow(plain)
    return out.getvalue()


def _flat(face: dict[str, Any]) -> dict[str, Any]:
    if not face:
        return {}
    raw = face["emotions_raw"] or {}
    return {
        **{name: face[name] for name in _OF_FACE},
        **dict(zip(_BOX, face["box"], strict=True)),
        **(face["emotions"] or {}),
        **{f"{name}_raw": value for name, value in raw.items()},
        **(face["pose"] or {}),
        **(face["movement"] or {}),
    }


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _plain(text: str) -> str:
    text = escape_controls(text)  # a line break in a file's name would begin a row
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _face_in_words(face: dict[str, Any]) -> str:
    if face["reason"]:
        return f"{face['id']} {face['label']} ({face['reason']})"
    return f"{face['id']} {face['label']} {max(face['emotions'].values()):.2f}"
