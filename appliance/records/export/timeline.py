"""A session's time as polygons of a chart, and whom a page or a document has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from appliance.records import Figures, Piece, Session

MOST_PIECES = 240
"""Pieces of a chart at most: about what a page has room for."""

MOST_LISTED = 3000
"""Persons whose figures a page or a PDF lists at most; JSON and CSV hold everybody."""

MOST_CHARTS = 100
"""Persons who get a chart at most, those seen longest: a chart takes much more room than figures."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Shown:
    """Whom a page or a document shows, in the order of their numbers; `charted`: the persons with a chart."""

    figures: list[Figures]
    charted: frozenset[int]
    left_out: int

    def summary(self) -> str:
        """What is not shown, in words; "" when everybody is."""
        words = []
        if len(self.charted) < len(self.figures):
            words.append(f"Charts are drawn for the {len(self.charted)} who were seen longest.")
        if self.left_out:
            words.append(f"{self.left_out} more persons are in the JSON and CSV exports.")
        return " ".join(words)


def shown(session: Session) -> Shown:
    """Whom to show of a session. Raises `StoreError`."""
    figures = list(islice(session.seconds.figures(), MOST_LISTED))
    longest = nlargest(MOST_CHARTS, figures, key=lambda each: each.seconds)
    charted = frozenset(each.person for each in longest)
    return Shown(figures, charted, max(0, session.kept.persons - len(figures)))


def pieces(session: Session, person: int, most: int = MOST_PIECES) -> list[Piece]:
    """One person's seconds in at most `most` pieces of equal length. Raises `StoreError`."""
    step = max(1, -(-session.kept.seconds // most))
    return session.seconds.pieces(person, step)


def areas(
    parts: Sequence[Piece], emotion: str, length: int, width: float, height: float
) -> list[list[Point]]:
    """Polygons of one expression over time, y downwards, in a box of this size; gaps where nothing was."""
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
