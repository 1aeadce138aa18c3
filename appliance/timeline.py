"""A session cut into few pieces of time, for figures and charts. Means of means weigh by their frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.store import REASONS, Second, Session
from appliance.values import EMOTIONS

MOST_PIECES = 240
"""Pieces of a chart at most: about what a page has room for."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Piece:
    """What was read of one person within some seconds; `means` is None when nothing was readable."""

    start: int
    length: int
    means: dict[str, float] | None
    frames: int
    scored: int


@dataclass(frozen=True)
class Figures:
    """One person over the whole session. Nothing here sums the seven up into one number."""

    person: int
    seconds: int
    frames: int
    scored: int
    skipped: int
    unreadable: dict[str, int]
    means: dict[str, float] | None
    nods: int
    shakes: int


def persons(session: Session) -> list[int]:
    """The numbers of those who were seen."""
    return sorted({second.person for second in session.seconds})


def of(session: Session, person: int) -> list[Second]:
    """The seconds of one person, in order."""
    return [second for second in session.seconds if second.person == person]


def figures(seconds: Sequence[Second]) -> Figures:
    """One person's seconds in a few numbers."""
    counts = {name: sum(getattr(each, name) for each in seconds) for name in REASONS}
    return Figures(
        person=seconds[0].person,
        seconds=len(seconds),
        frames=sum(each.frames for each in seconds),
        scored=sum(each.scored for each in seconds),
        skipped=sum(each.skipped for each in seconds),
        unreadable={name: count for name, count in counts.items() if count},
        means=_means(seconds),
        nods=sum(each.nods for each in seconds),
        shakes=sum(each.shakes for each in seconds),
    )


def pieces(seconds: Iterable[Second], length: int, most: int = MOST_PIECES) -> list[Piece]:
    """One person's seconds in pieces of equal length that cover the session's `length` seconds."""
    step = max(1, -(-length // most))
    groups: dict[int, list[Second]] = {}
    for second in seconds:
        groups.setdefault(second.second // step, []).append(second)
    return [
        Piece(
            start=number * step,
            length=step,
            means=_means(group),
            frames=sum(each.frames for each in group),
            scored=sum(each.scored for each in group),
        )
        for number, group in sorted(groups.items())
    ]


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


def _means(seconds: Sequence[Second]) -> dict[str, float] | None:
    scored = sum(each.scored for each in seconds)
    if scored == 0:
        return None
    readable = [(each.scored, each.means) for each in seconds if each.means]
    return {name: sum(count * means[name] for count, means in readable) / scored for name in EMOTIONS}
