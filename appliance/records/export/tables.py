"""A session as JSON and CSV, and the words that every export must contain."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import chain, groupby, islice
from typing import Any

from appliance.consent.law import DELETE_DAYS
from appliance.consent.terms import is_for_hiring
from appliance.records import Second, SessionRecord, SessionSummary
from appliance.records.store.rows import COLUMNS

SCHEMA = 1

DISCLAIMER = (
    "An expression is not a feeling: a scowl often means something other than anger, and a smile is not "
    "proof of happiness. These numbers show what a face looked like to a small computer model, which is "
    "often wrong. They say how sure the model was of a word, not how strong the expression was. They do not "
    "judge anyone. Do not base a decision about a person on them."
)
SAMPLING_TEXT = (
    "Each score, from 0 to 1, is the mean (the average) within one second. A frame is one picture from the "
    "camera: 'frames' is the number in which the person was seen, 'scored' the number in the mean, and "
    "'skipped' the number that were not analysed. No pictures were kept."
)

_DIGITS = 4


def summary_json(summary: SessionSummary) -> dict[str, Any]:
    """A session without its rows, as JSON."""
    return {
        "id": summary.id,
        "label": summary.label,
        "note": summary.note,
        "started": format_utc(summary.started),
        "recorded": format_utc(summary.recorded),
        "ended": format_utc(summary.ended),
        "ending": summary.ending,
        "clock_set": summary.clock_set,
        "seconds": summary.seconds,
        "people": summary.people,
        "persons": summary.persons,
        "source": summary.source,
        "notice": {"version": summary.notice_version, "hash": summary.notice_hash},
        "deleted_about": format_utc(summary.expires),
        "delete_copies_by": delete_copies_by(summary),
    }


def as_json(session: SessionRecord, *, indent: int | None = 2) -> Iterator[str]:
    """A session with all its rows, as pieces of JSON; without `indent` one line, ASCII only.

    Raises `StoreError`, also between two pieces: then the document has no end.
    """
    table = {
        "schema": SCHEMA,
        "about": DISCLAIMER,
        "sampling": SAMPLING_TEXT,
        "deletion": deletion_text(session.summary),
        "session": summary_json(session.summary),
        "markers": [{"at": round(each.at, 3), "text": each.text} for each in session.markers],
        "persons": _LazyList(_persons(session)),
    }
    separators = (",", ":") if indent is None else None
    encoder = json.JSONEncoder(ensure_ascii=indent is None, indent=indent, separators=separators)
    yield from encoder.iterencode(table)
    yield "\n"


def as_csv(session: SessionRecord) -> Iterator[str]:
    """One line for each person and second, after a header of lines that begin with #, as pieces of text.

    Raises `StoreError`, also between two pieces.
    """
    summary, out = session.summary, io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    facts = {
        "session": summary.id,
        "label": summary.label,
        "note": summary.note,
        "agreed": format_utc(summary.started),
        "recorded": format_utc(summary.recorded),
        "ended": format_utc(summary.ended),
        "notice version": summary.notice_version,
        "notice hash": summary.notice_hash,
        "deletion": deletion_text(summary),
        "sampling": SAMPLING_TEXT,
        "about": DISCLAIMER,
    }
    writer.writerows([f"# {name}", _plain(value)] for name, value in facts.items() if value)
    writer.writerows(["# marker", f"{each.at:.1f}", _plain(each.text)] for each in session.markers)
    writer.writerow(COLUMNS)
    yield out.getvalue()
    for second in session.seconds:
        out.seek(0)
        out.truncate()
        writer.writerow([_short(getattr(second, name)) for name in COLUMNS])
        yield out.getvalue()


def deletion_text(summary: SessionSummary) -> str:
    """When the device erases the session, in words."""
    if summary.expires is None:
        return "This session is still being recorded."
    erased = (
        f"The device erases this session automatically around {format_local(summary.expires)}, "
        "or earlier on request."
    )
    if not is_for_hiring(summary.notice_version):
        return erased
    by = delete_copies_by(summary)
    when = f"by {by}" if by else f"within {DELETE_DAYS} days after the session"
    law = "law of Illinois on hiring, 820 ILCS 42/15"
    return f"{erased} Every copy, including this one, must be deleted {when} ({law})."


def delete_copies_by(summary: SessionSummary) -> str | None:
    """The day by which exports of a session for hiring must be deleted, counted from its end.

    None if no law requires it, while it is recorded, and if the device's clock was never set.
    """
    if summary.ended is None or not summary.clock_set or not is_for_hiring(summary.notice_version):
        return None
    return format_local(summary.ended + DELETE_DAYS * 86_400)[:10]


def format_utc(unix: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC; None for None."""
    if unix is None:
        return None
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_local(unix: float | None) -> str:
    """Unix seconds in the device's time zone, for people; - for None."""
    if unix is None:
        return "-"
    return datetime.fromtimestamp(unix, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M")


def format_length(seconds: int) -> str:
    """Seconds as minutes and seconds."""
    return f"{seconds // 60}:{seconds % 60:02d}"


class _LazyList(list[Any]):
    """A list that makes its items while `json` writes them. `json` first asks whether it is empty."""

    def __init__(self, items: Iterator[Any]) -> None:
        super().__init__(islice(items, 1))
        self._rest = items

    def __iter__(self) -> Iterator[Any]:
        return chain(super().__iter__(), self._rest)


def _persons(session: SessionRecord) -> Iterator[dict[str, Any]]:
    by_person = groupby(session.seconds, lambda second: second.person)
    for totals, (_person, seconds) in zip(session.seconds.totals(), by_person, strict=True):
        yield {**_rounded(asdict(totals)), "timeline": _LazyList(map(_second, seconds))}


def _second(second: Second) -> dict[str, Any]:
    return {
        "second": second.second,
        "emotions": _rounded(second.means) if second.means else None,
        "frames": second.frames,
        "scored": second.scored,
        "skipped": second.skipped,
        "not_readable": second.unreadable,
        "box": [round(side, 1) for side in (second.x, second.y, second.width, second.height)],
        "pose": _rounded({name: getattr(second, name) for name in ("yaw", "pitch", "roll")}),
        "movement": _rounded({name: getattr(second, name) for name in ("head", "body", "nods", "shakes")}),
    }


def _rounded(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value) if isinstance(value, dict) else _short(value) for name, value in table.items()
    }


def _short(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value


def _plain(text: str) -> str:
    """A cell that a spreadsheet does not read as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
