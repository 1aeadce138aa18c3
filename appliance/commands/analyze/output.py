"""Readings as text and as CSV."""

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
_REST = ("strength", "baseline")
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
    *_REST,
)
"""Columns of a face in CSV. Names and order are stable; new columns are added at the end."""


def as_text(found: dict[str, Any]) -> str:
    """A reading, as from `reading_json`, as one line of text."""
    faces = ", ".join(_face_text(face) for face in found["faces"])
    return f"{escape_controls(found['source'])} {found['time_s']:.2f} s: {faces or 'no face'}"


def as_csv(found: dict[str, Any]) -> Iterator[str]:
    """A reading as lines of CSV: one for each face, or one with only the frame's columns."""
    frame = {name: found[name] for name in _OF_FRAME}
    for face in found["faces"] or [{}]:
        row = frame | _flat(face)
        yield csv_line(_cell(row.get(name)) for name in COLUMNS)


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as one line of CSV without a line break; a spreadsheet takes no cell for a formula."""
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
        **{name: face[name] for name in _REST},
    }


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _plain(text: str) -> str:
    text = escape_controls(text)  # a line break in a file name would start a row
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _face_text(face: dict[str, Any]) -> str:
    if face["reason"]:
        return f"{face['id']} {face['label']} ({face['reason']})"
    return f"{face['id']} {face['label']} {max(face['emotions'].values()):.2f}"
