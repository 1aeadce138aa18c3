"""A session over time as the polygons of a chart, and which people a page or a document shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from appliance.records import PersonTotals, SessionRecord, TimelinePiece

MOST_PIECES = 240
"""The most pieces of a chart: about as many as fit on a page."""

MOST_LISTED = 3000
"""The most people whose totals a page or a PDF lists; JSON and CSV contain everyone."""

MOST_CHARTS = 100
"""The most people with a chart, those seen longest: a chart needs much more space than totals."""

Point = tuple[float, float]


@dataclass(frozen=True)
class TimelineView:
    """The people that a page or a document shows, by number; `charted`: those with a chart."""

    totals: list[PersonTotals]
    charted: frozenset[int]
    left_out: int

    def summary(self) -> str:
        """What is not shown, in words; "" if everything is shown."""
        words = []
        if len(self.charted) < len(self.totals):
            words.append(f"Charts are drawn for the {len(self.charted)} people who were seen longest.")
        if self.left_out:
            words.append(f"{self.left_out} more people are in the JSON and CSV exports.")
        return " ".join(words)


def view(session: SessionRecord) -> TimelineView:
    """The people of a session to show. Raises `StoreError`."""
    totals = list(islice(session.seconds.totals(), MOST_LISTED))
    longest = nlargest(MOST_CHARTS, totals, key=lambda each: each.seconds)
    charted = frozenset(each.person for each in longest)
    return TimelineView(totals, charted, max(0, session.summary.persons - len(totals)))


def pieces(session: SessionRecord, person: int, most: int = MOST_PIECES) -> list[TimelinePiece]:
    """One person's seconds in at most `most` pieces of equal length. Raises `StoreError`."""
    step = max(1, -(-session.summary.seconds // most))
    return session.seconds.pieces(person, step)


def areas(
    parts: Sequence[TimelinePiece], emotion: str, length: int, width: float, height: float
) -> list[list[Point]]:
    """Polygons of one expression over time, y downwards, in a box of this size; gaps for missing readings."""
    found: list[list[Point]] = []
    scale = width / max(1, length)
    end = -1
    for part in parts:
        if part.means is None:
            continue
        left, right = part.start * scale, min(width, (part.start + part.length) * scale)
        top = height * (1 - part.means[emotion])
        if part.start == end:
            found[-1][-1:] = [(left, top), (right, top), (right, height)]
        else:
            found.append([(left, height), (left, top), (right, top), (right, height)])
        end = part.start + part.length
    return found
