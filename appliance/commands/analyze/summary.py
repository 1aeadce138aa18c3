"""How long each person in a video was in view, and each label's share of that time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.commands.analyze.output import csv_line
from appliance.system.terminal import escape_controls
from appliance.values import EMOTIONS, NOT_READABLE, UNSURE, Reading

SCHEMA = 1

LABELS = (*EMOTIONS, UNSURE, NOT_READABLE)
COLUMNS = ("source", "length_s", "id", "frames", "seen_s", "first_s", "last_s", *LABELS)
"""Columns of a person in CSV; the label columns are shares of the time in view, 0 to 1."""


@dataclass
class _Seen:
    first_s: float
    last_s: float = 0.0
    frames: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class Summary:
    """Sums up the readings of one file. A frame lasts until the next one that was read."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._people: dict[int, _Seen] = {}
        self._last: Reading | None = None
        self._step_s = 0.0
        self._end_s = 0.0

    @property
    def has_readings(self) -> bool:
        """Whether any reading was added."""
        return self._last is not None

    def add(self, reading: Reading) -> None:
        """Add the next reading of the file."""
        time_s = reading.frame.time_s
        if self._last is not None:
            self._step_s = time_s - self._last.frame.time_s
            self._count(self._last, self._step_s)
        for person in reading.people:
            seen = self._people.setdefault(person.id, _Seen(first_s=time_s))
            seen.last_s = time_s
            seen.frames[person.label] += 1
        self._last = reading

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each person, by id; one row whose `id` is None if there is no face. Call it once."""
        if self._last is not None:
            self._count(self._last, self._step_s)  # the last frame lasts as long as the previous one
            self._end_s = self._last.frame.time_s + self._step_s
        common = {"schema": SCHEMA, "source": self._source, "length_s": round(self._end_s, 3)}
        for number, seen in sorted(self._people.items()):
            yield {
                **common,
                "id": number,
                "frames": seen.frames.total(),
                "seen_s": round(sum(seen.seconds.values()), 3),
                "first_s": round(seen.first_s, 3),
                "last_s": round(seen.last_s, 3),
                "labels": _shares(seen),
            }
        if not self._people:
            empty = dict.fromkeys(("id", "first_s", "last_s", "labels"))
            yield {**common, **empty, "frames": 0, "seen_s": 0.0}

    def _count(self, reading: Reading, seconds: float) -> None:
        for person in reading.people:
            self._people[person.id].seconds[person.label] += seconds


def _shares(seen: _Seen) -> dict[str, float]:
    # A still picture has no duration.
    weights: Mapping[str, float] = seen.seconds if sum(seen.seconds.values()) else seen.frames
    total = sum(weights.values())
    return {label: round(weights.get(label, 0) / total, 4) for label in LABELS}


def as_text(row: dict[str, Any]) -> str:
    """A row as text."""
    source, length = escape_controls(row["source"]), f"{row['length_s']:.1f} s"
    if row["id"] is None:
        return f"{source}: no face"
    found = sorted(row["labels"].items(), key=lambda item: -item[1])
    shares = ", ".join(f"{label} {100 * share:.0f} %" for label, share in found if share)
    seen = f"seen for {row['seen_s']:.1f} of {length}, " if row["length_s"] else ""
    return f"{source} person {row['id']}: {seen}labelled {shares}"


def as_csv(row: dict[str, Any]) -> str:
    """A row as one line of CSV."""
    flat = {**row, **(row["labels"] or {})}
    return csv_line(flat.get(name) for name in COLUMNS)
