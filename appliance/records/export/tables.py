"""A session as JSON and CSV. Every export says under which notice, on how many frames, and until when."""

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
from appliance.records import Kept, Second, Session
from appliance.records.store.rows import COLUMNS

SCHEMA = 1

NOT_FEELINGS = (
    "An expression is not a feeling: a scowl often means something else than anger, and a smile is not "
    "happiness. These numbers say what a face looked like to a small model, which is often wrong. They are "
    "no verdict on anybody and no ground for a decision about anybody."
)
SAMPLING = (
    "Each value is the mean of the calibrated values of one person within one second. 'scored' is how many "
    "frames are behind it, 'frames' in how many the person was seen, 'skipped' how many frames of the camera "
    "were never looked at. No pictures were kept."
)

_DIGITS = 4


def listed(kept: Kept) -> dict[str, Any]:
    """A session in a list, as JSON."""
    return {
        "id": kept.id,
        "label": kept.label,
        "note": kept.note,
        "started": iso(kept.started),
        "recorded": iso(kept.recorded),
        "ended": iso(kept.ended),
        "ending": kept.ending,
        "clock_set": kept.clock_set,
        "seconds": kept.seconds,
        "people": kept.people,
        "persons": kept.persons,
        "source": kept.source,
        "notice": {"version": kept.notice_version, "hash": kept.notice_hash},
        "deleted_about": iso(kept.expires),
        "delete_copies_by": delete_copies_by(kept),
    }


def as_json(session: Session, *, indent: int | None = 2) -> Iterator[str]:
    """A session with everything that is kept of it, as pieces of JSON; no `indent`: one line, ASCII only.

    Raises `StoreError`, also between two pieces: then the document has no end.
    """
    table = {
        "schema": SCHEMA,
        "about": NOT_FEELINGS,
        "sampling": SAMPLING,
        "deletion": deletion(session.kept),
        "session": listed(session.kept),
        "markers": [{"at": round(each.at, 3), "text": each.text} for each in session.markers],
        "persons": _LazyList(_persons(session)),
    }
    separators = (",", ":") if indent is None else None
    encoder = json.JSONEncoder(ensure_ascii=indent is None, indent=indent, separators=separators)
    yield from encoder.iterencode(table)
    yield "\n"


def as_csv(session: Session) -> Iterator[str]:
    """One line a person and second, below lines that begin with # and say what it is, as pieces of text.

    Raises `StoreError`, also between two pieces.
    """
    kept, out = session.kept, io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    facts = {
        "session": kept.id,
        "label": kept.label,
        "note": kept.note,
        "agreed": iso(kept.started),
        "recorded": iso(kept.recorded),
        "ended": iso(kept.ended),
        "notice version": kept.notice_version,
        "notice hash": kept.notice_hash,
        "deletion": deletion(kept),
        "sampling": SAMPLING,
        "about": NOT_FEELINGS,
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


def deletion(kept: Kept) -> str:
    """When the device erases the session, in words."""
    if kept.expires is None:
        return "It is still being recorded."
    erased = f"The device erases this session by itself about {local(kept.expires)}; earlier when asked to."
    if not is_for_hiring(kept.notice_version):
        return erased
    by = delete_copies_by(kept)
    when = f"by {by}" if by else f"within {DELETE_DAYS} days after the session"
    return f"{erased} Every copy, this one included, is to be deleted {when}: hiring, 820 ILCS 42/15."


def delete_copies_by(kept: Kept) -> str | None:
    """The day by which exports of a session for hiring are to be deleted: as if asked for at its end.

    None where no law says so, while it is recorded, and where the device's clock was never set.
    """
    if kept.ended is None or not kept.clock_set or not is_for_hiring(kept.notice_version):
        return None
    return local(kept.ended + DELETE_DAYS * 86_400)[:10]


def iso(unix: float | None) -> str | None:
    """Unix seconds as UTC in words that sort, None for None."""
    if unix is None:
        return None
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(unix: float | None) -> str:
    """Unix seconds on the device's own clock, for people; - for None."""
    if unix is None:
        return "-"
    return datetime.fromtimestamp(unix, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M")


def lasted(seconds: int) -> str:
    """A length as minutes and seconds."""
    return f"{seconds // 60}:{seconds % 60:02d}"


class _LazyList(list[Any]):
    """Items made while they are written. JSON takes lists only, and asks first whether one is empty."""

    def __init__(self, items: Iterator[Any]) -> None:
        super().__init__(islice(items, 1))
        self._rest = items

    def __iter__(self) -> Iterator[Any]:
        return chain(super().__iter__(), self._rest)


def _persons(session: Session) -> Iterator[dict[str, Any]]:
    by_person = groupby(session.seconds, lambda second: second.person)
    for figures, (_person, seconds) in zip(session.seconds.figures(), by_person, strict=True):
        yield {**_rounded(asdict(figures)), "timeline": _LazyList(map(_second, seconds))}


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
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
